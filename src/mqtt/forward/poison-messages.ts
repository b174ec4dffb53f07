import type { AgentError } from '../../base/errors.ts';
import type { EventDraft } from '../../contract/states.ts';
import type { OutboxEntry } from '../../store/types.ts';

/** Losses of the link over the same message, sent alone, before the message is rejected. */
const MAX_STRIKES = 5;

interface Suspicion {
  readonly strikes: number;
  /** The number of the link that the last strike was counted for. */
  readonly link: number;
}

/**
 * Messages that were in flight when the link was lost: one of them may be the cause. The forwarder sends each alone
 * until it is acknowledged or has its strikes.
 */
export class PoisonMessages {
  readonly #suspicions = new Map<number, Suspicion>();

  isSuspect(rowId: number): boolean {
    return this.#suspicions.has(rowId);
  }

  /**
   * Records a loss of the link over a message; true when the message must be rejected. Counts one strike for each link
   * on which the message was alone, because a link that is closing can refuse it several times.
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

/** Contains the `seq` of the message, so that a consumer knows that this number will not arrive. */
export const rejectionEvent = (
  { topic, stream, seq, payload }: OutboxEntry,
  code: AgentError['code'],
  reason: string,
): EventDraft => ({
  type: 'outbox_rejected',
  severity: 'warning',
  code,
  message: 'The broker does not accept a message. The agent set it aside.',
  context: { topic, stream, seq, reason, size_bytes: payload.length },
});
