import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';

export interface TurnsOptions {
  /** At once: one that is looked at, and the next, so that nobody waits for the way between the processes. */
  readonly atOnce: number;
  readonly mostWaiting: number;
}

/** What an image is expected to take before the first one is done. */
const FIRST_GUESS_MS = 500;
/** Weight of the newest image in the mean. */
const NEWEST = 0.2;
const RETRY_AFTER_S = { min: 1, max: 60 };

interface Waiting {
  readonly enter: () => void;
}

/**
 * Images of requests come before the vision process one by one, in the order they came, and only so many that a
 * scheduled frame, which goes before all that wait there, waits for so many at most. Bounded; nobody is displaced.
 */
export class AdmissionQueue {
  readonly #options: TurnsOptions;
  readonly #clock: Clock;
  readonly #queue: Waiting[] = [];
  #inHand = 0;
  #meanMs = FIRST_GUESS_MS;

  constructor(options: TurnsOptions, deps: { readonly clock: Clock }) {
    this.#options = options;
    this.#clock = deps.clock;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** When a request that is refused now may come again, s: the time that the queue takes, 1 to 60. */
  retryAfterS(): number {
    const aheadMs = ((this.#queue.length + this.#inHand) * this.#meanMs) / this.#options.atOnce;
    return Math.min(RETRY_AFTER_S.max, Math.max(RETRY_AFTER_S.min, Math.ceil(aheadMs / 1000)));
  }

  /** The work, when its turn has come. Rejects with `vision_busy` when the queue is full, or with the signal's reason. */
  async take<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#enter(signal);
    const startedMs = this.#clock.monoMs();
    try {
      return await work();
    } finally {
      this.#meanMs += NEWEST * (this.#clock.monoMs() - startedMs - this.#meanMs);
      this.#inHand -= 1;
      this.#next();
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#queue.length >= this.#options.mostWaiting)
      throw this.busy(`${this.#queue.length} images wait already`);
    if (this.#queue.length === 0 && this.#inHand < this.#options.atOnce) {
      this.#inHand += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const mine: Waiting = {
        enter: () => {
          signal.removeEventListener('abort', leave);
          this.#inHand += 1;
          resolve();
        },
      };
      const leave = (): void => {
        this.#queue.splice(this.#queue.indexOf(mine), 1);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#queue.push(mine);
    });
  }

  #next(): void {
    while (this.#inHand < this.#options.atOnce && this.#queue.length > 0) this.#queue.shift()?.enter();
  }

  /** A refusal that says when to come again. */
  busy(message: string): AgentError {
    return new AgentError('vision_busy', message, { context: { retryAfterS: this.retryAfterS() } });
  }
}
