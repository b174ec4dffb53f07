import type { AgentError } from '../../base/errors.ts';
import type { EventDraft } from '../../contract/states.ts';
import type { OutboxEntry } from '../../store/types.ts';

/** A message is rejected after the connection was lost this many times while only this message was in flight. */
const MAX_STRIKES = 5;

interface Suspicion {
  readonly strikes: number;
  /** The number of the connection for which the last strike was counted. */
  readonly link: number;
}

/**
 * Messages that were in flight when the connection was lost: one of them may be the cause. The forwarder sends each of
 * them alone until the broker acknowledges it, or until it has `MAX_STRIKES` strikes and is rejected.
 */
export class PoisonMessages {
  readonly #suspicions = new Map<number, Suspicion>();

  isSuspect(rowId: number): boolean {
    return this.#suspicions.has(rowId);
  }

  /**
   * Call it when the connection was lost while this message was in flight. Returns true when the message must be
   * rejected. Counts at most one strike for each connection, and only if the message was alone: a connection that is
   * closing can report the failure of the same message several times.
   */
  addLoss(rowId: number, sent: { readonly isAlone: boolean; readonly link: number }): boolean {
    const before = this.#suspicions.get(rowId) ?? { strikes: 0, link: 0 };
    const counts = sent.isAlone && sent.link !== before.link;
    const strikes = before.strikes + (counts ? 1 : 0);
    this.#suspicions.set(rowId, { strikes, link: counts ? sent.link : before.link });
    return strikes >= MAX_STRIKES;
  }

  clear(rowId: number): void {
    this.#suspicions.delete(rowId);
  }
}

/** The event contains the `seq` of the rejected message, so that a consumer knows that this number will not arrive. */
export const rejectionEvent = (
  { topic, stream, seq, payload }: OutboxEntry,
  code: AgentError['code'],
  reason: string,
): EventDraft => ({
  type: 'outbox_rejected',
  severity: 'warning',
  code,
  message: 'The broker does not accept a message. The agent moved the message to the rejected messages.',
  context: { topic, stream, seq, reason, size_bytes: payload.length },
});
