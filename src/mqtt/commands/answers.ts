import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { CommandReceipt, CommandResult } from '../../contract/command.ts';
import type { Link } from '../types.ts';

/** Where the answers to one message go. */
export interface Requester {
  /** The topic of the answers, relative to the topic of the device. */
  readonly topic: string;
  readonly correlationData: Uint8Array | null;
  /** False: send only the final answer; default true. */
  readonly wantsReceipt?: boolean;
}

export const isSameRequester =
  (a: Requester) =>
  (b: Requester): boolean =>
    a.topic === b.topic &&
    Buffer.compare(a.correlationData ?? Buffer.alloc(0), b.correlationData ?? Buffer.alloc(0)) === 0;

/** `id` is null when the message contains no valid id. */
export const createReceipt = (id: string | null): CommandReceipt => ({
  id,
  status: 'accepted',
  reason: null,
});

export function toWireError(error: AgentError): NonNullable<CommandResult['error']> {
  // The message of an unexpected error may contain paths and internals. Only the log contains it.
  const message = error.code === 'internal' ? 'unexpected error' : error.message;
  return { code: error.code, message, hint: error.hint };
}

export const interruptedError = (): AgentError =>
  new AgentError('command_interrupted', 'the agent stopped before the command finished');

/** Returns the result. When it exceeds the payload limit of the link, returns a failure `mqtt_too_large` instead. */
export function limitResultSize(
  result: CommandResult,
  requesters: readonly Requester[],
  maxPayloadBytes: number,
): CommandResult {
  const correlationBytes = Math.max(...requesters.map(({ correlationData }) => correlationData?.length ?? 0));
  const sizeBytes = Buffer.byteLength(JSON.stringify(result)) + correlationBytes;
  if (sizeBytes <= maxPayloadBytes) return result;
  const { id, duration_ms } = result;
  const error = toWireError(new AgentError('mqtt_too_large', `the answer has ${sizeBytes} bytes`));
  return { id, status: 'failed', error, duration_ms };
}

export interface AnswerSenderOptions {
  /** Maximum number of answers that are being sent or wait for a connection; further answers are dropped. */
  readonly maxPending?: number;
  /** Maximum total size of these answers, bytes. */
  readonly maxPendingBytes?: number;
  /** How long an answer waits for a connection, ms. */
  readonly linkTimeoutMs?: number;
}

export interface AnswerSenderDeps {
  readonly link: Link;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** An answer was dropped: too many answers were pending, or a low-priority answer was not delivered in time. */
  readonly onDropped: (requester: Requester) => void;
}

const LINK_POLL_MS = 500;
/**
 * Low-priority answers (`bulk`) may use this share of the limits, so that a flood of them leaves room for the others.
 */
const BULK_SHARE = 0.5;
const BULK_LINK_TIMEOUT_MS = 10_000;

/** Sends answers. While there is no connection, keeps a limited number of them for a limited time. */
export class AnswerSender {
  readonly #maxPending: number;
  readonly #maxPendingBytes: number;
  readonly #linkTimeoutMs: number;
  readonly #deps: AnswerSenderDeps;
  #pending = 0;
  #pendingBytes = 0;
  #idle: PromiseWithResolvers<undefined> | null = null;

  constructor(options: AnswerSenderOptions, deps: AnswerSenderDeps) {
    this.#maxPending = options.maxPending ?? 1024;
    this.#maxPendingBytes = options.maxPendingBytes ?? 4_194_304;
    this.#linkTimeoutMs = options.linkTimeoutMs ?? 300_000;
    this.#deps = deps;
  }

  /**
   * Resolves when the answer is delivered or dropped; never rejects. `bulk` means low priority: the link
   * sends such an answer only while no other message waits.
   */
  send(requester: Requester, message: object, bulk = false): Promise<void> {
    const payload = JSON.stringify(message);
    const sizeBytes = 2 * payload.length + (requester.correlationData?.length ?? 0);
    const share = bulk ? BULK_SHARE : 1;
    // A single answer may exceed the byte limit: otherwise it could never be sent.
    const isTooLarge = this.#pending > 0 && this.#pendingBytes + sizeBytes > this.#maxPendingBytes * share;
    if (isTooLarge || this.#pending >= this.#maxPending * share) {
      this.#deps.onDropped(requester);
      return Promise.resolve();
    }
    this.#pending += 1;
    this.#pendingBytes += sizeBytes;
    return this.#deliver(requester, payload, bulk).finally(() => {
      this.#pending -= 1;
      this.#pendingBytes -= sizeBytes;
      if (this.#pending > 0) return;
      this.#idle?.resolve(undefined);
      this.#idle = null;
    });
  }

  /** Resolves when no answer is being sent or waits. */
  async settled(): Promise<void> {
    if (this.#pending === 0) return;
    this.#idle ??= Promise.withResolvers();
    await this.#idle.promise;
  }

  async #deliver(requester: Requester, payload: string, bulk: boolean): Promise<void> {
    const { topic, correlationData } = requester;
    const { link, clock, log, signal, onDropped } = this.#deps;
    const timeoutMs = bulk ? Math.min(BULK_LINK_TIMEOUT_MS, this.#linkTimeoutMs) : this.#linkTimeoutMs;
    const deadlineMonoMs = clock.monoMs() + timeoutMs;
    for (;;) {
      try {
        await link.publish(topic, payload, {
          qos: 1,
          retain: false,
          ...(correlationData === null ? {} : { correlationData }),
          ...(bulk ? { bulk } : {}),
        });
        return;
      } catch (thrown) {
        const { code, retryable } = asAgentError(thrown);
        if (!retryable || signal.aborted || clock.monoMs() > deadlineMonoMs) {
          // Low-priority answers are only counted, so that a flood of invalid commands does not flood the log.
          if (bulk) onDropped(requester);
          else log.warn({ topic, code }, 'dropped the answer to a command: it could not be sent');
          return;
        }
      }
      if (!(await this.#waitForLink(deadlineMonoMs))) return;
    }
  }

  /** Waits until there is a connection or the deadline has passed. Returns false when the agent stops. */
  async #waitForLink(deadlineMonoMs: number): Promise<boolean> {
    const { link, clock, signal } = this.#deps;
    do await clock.sleep(LINK_POLL_MS, signal).catch(() => undefined);
    while (!link.connected && !signal.aborted && clock.monoMs() <= deadlineMonoMs);
    return !signal.aborted;
  }
}
