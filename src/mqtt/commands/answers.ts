import type { Clock } from '../../base/clock.ts';
import { asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Link } from '../types.ts';

/** Where an answer goes. */
export interface Answer {
  /** Relative to the device. */
  readonly topic: string;
  readonly correlationData: Uint8Array | null;
}

/** Two askers who would get the same message at the same place. */
export const sameAnswer = (a: Answer, b: Answer): boolean =>
  a.topic === b.topic &&
  Buffer.compare(a.correlationData ?? Buffer.alloc(0), b.correlationData ?? Buffer.alloc(0)) === 0;

export interface AnswersOptions {
  /** Answers under way or waiting for a link, and their bytes; what is above is dropped. */
  readonly limit?: number;
  readonly limitBytes?: number;
  /** How long an answer waits for the link to come back, ms. */
  readonly patienceMs?: number;
}

export interface AnswersDeps {
  readonly link: Link;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** An answer was dropped: too many wait, or it was bulk and the link did not come back. */
  readonly onDropped: (answer: Answer) => void;
}

const LINK_POLL_MS = 500;
const BULK_SHARE = 0.5;
const BULK_PATIENCE_MS = 10_000;

/** Sends answers, and waits for the link where it is down. */
export class Answers {
  readonly #limit: number;
  readonly #limitBytes: number;
  readonly #patienceMs: number;
  readonly #deps: AnswersDeps;
  #pending = 0;
  #pendingBytes = 0;

  constructor(options: AnswersOptions, deps: AnswersDeps) {
    this.#limit = options.limit ?? 1024;
    this.#limitBytes = options.limitBytes ?? 4_194_304;
    this.#patienceMs = options.patienceMs ?? 300_000;
    this.#deps = deps;
  }

  /**
   * Resolves when it was delivered, or cannot be; never rejects. A `bulk` answer waits until nothing else wants to be sent,
   * and half of the room is kept free of them.
   */
  send(answer: Answer, message: object, bulk = false): Promise<void> {
    const payload = JSON.stringify(message);
    const sizeBytes = 2 * payload.length + (answer.correlationData?.length ?? 0);
    // Whoever sends nonsense must not take the place of the other answers.
    const share = bulk ? BULK_SHARE : 1;
    // One that is large by itself may always go, else it never could.
    const full = this.#pending > 0 && this.#pendingBytes + sizeBytes > this.#limitBytes * share;
    if (full || this.#pending >= this.#limit * share) {
      this.#deps.onDropped(answer);
      return Promise.resolve();
    }
    this.#pending += 1;
    this.#pendingBytes += sizeBytes;
    return this.#deliver(answer, payload, bulk).finally(() => {
      this.#pending -= 1;
      this.#pendingBytes -= sizeBytes;
    });
  }

  async #deliver(answer: Answer, payload: string, bulk: boolean): Promise<void> {
    const { topic, correlationData } = answer;
    const { link, clock, log, signal, onDropped } = this.#deps;
    const patienceMs = bulk ? Math.min(BULK_PATIENCE_MS, this.#patienceMs) : this.#patienceMs;
    const untilMonoMs = clock.monoMs() + patienceMs;
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
        if (!retryable || signal.aborted || clock.monoMs() > untilMonoMs) {
          // A flood of nonsense must not become a flood of lines.
          if (bulk) onDropped(answer);
          else log.warn({ topic, code }, 'answer not delivered');
          return;
        }
      }
      if (!(await this.#mayTryAgain(untilMonoMs))) return;
    }
  }

  /** Waits until the link is back, or it is too late for it. False when all ends. */
  async #mayTryAgain(untilMonoMs: number): Promise<boolean> {
    const { link, clock, signal } = this.#deps;
    do await clock.sleep(LINK_POLL_MS, signal).catch(() => undefined);
    while (!link.connected && !signal.aborted && clock.monoMs() <= untilMonoMs);
    return !signal.aborted;
  }
}
