import type { Clock } from '../clock.ts';
import { asAgentError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Link } from './types.ts';

/** Where an answer goes. */
export interface Answer {
  /** Relative to the device. */
  readonly topic: string;
  readonly correlationData: Uint8Array | null;
}

export interface AnswersOptions {
  /** Answers under way or waiting for a link; more are dropped, for their sender can ask again by the same id. */
  readonly limit?: number;
  /** How long an answer waits for the link to come back, ms. */
  readonly patienceMs?: number;
}

export interface AnswersDeps {
  readonly link: Link;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

const LINK_POLL_MS = 500;

/** Sends answers, and waits for the link where it is down. */
export class Answers {
  readonly #limit: number;
  readonly #patienceMs: number;
  readonly #deps: AnswersDeps;
  #pending = 0;

  constructor(options: AnswersOptions, deps: AnswersDeps) {
    this.#limit = options.limit ?? 64;
    this.#patienceMs = options.patienceMs ?? 300_000;
    this.#deps = deps;
  }

  /** Returns at once. */
  send(answer: Answer, message: object): void {
    if (this.#pending >= this.#limit) {
      this.#deps.log.warn({ topic: answer.topic }, 'answer dropped: too many are waiting');
      return;
    }
    this.#pending += 1;
    void this.#deliver(answer, JSON.stringify(message)).finally(() => (this.#pending -= 1));
  }

  async #deliver({ topic, correlationData }: Answer, payload: string): Promise<void> {
    const { link, clock, log, signal } = this.#deps;
    const untilMonoMs = clock.monoMs() + this.#patienceMs;
    for (;;) {
      try {
        await link.publish(topic, payload, {
          qos: 1,
          retain: false,
          ...(correlationData === null ? {} : { correlationData }),
        });
        return;
      } catch (thrown) {
        const { code, retryable } = asAgentError(thrown);
        if (!retryable || signal.aborted || clock.monoMs() > untilMonoMs) {
          log.warn({ topic, code }, 'answer not delivered');
          return;
        }
      }
      await this.#linkBack(untilMonoMs);
    }
  }

  async #linkBack(untilMonoMs: number): Promise<void> {
    const { link, clock, signal } = this.#deps;
    do await clock.sleep(LINK_POLL_MS, signal).catch(() => undefined);
    while (!link.connected && !signal.aborted && clock.monoMs() <= untilMonoMs);
  }
}
