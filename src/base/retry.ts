import type { Clock } from './clock.ts';

export interface BackoffOptions {
  readonly minMs: number;
  readonly maxMs: number;
  /** A run without failure of at least this time resets the delays. */
  readonly resetAfterMs: number;
}

/**
 * Exponential backoff with full jitter: each delay is uniform in [0, min(max, min * 2^n)], but at least minMs / 2, so that
 * a failing part does not run in a tight loop.
 * Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  #attempt = 0;
  #startedMs: number | null = null;

  constructor(options: BackoffOptions, deps: { clock: Clock; random?: () => number }) {
    this.#options = options;
    this.#clock = deps.clock;
    this.#random = deps.random ?? Math.random;
  }

  /** To be called when the part that is retried runs again. */
  started(): void {
    this.#startedMs = this.#clock.monoMs();
  }

  /** Delay before the next attempt, ms. To be called once per failure. */
  nextMs(): number {
    const { minMs, maxMs, resetAfterMs } = this.#options;
    if (this.#startedMs !== null && this.#clock.monoMs() - this.#startedMs >= resetAfterMs) this.#attempt = 0;
    this.#startedMs = null;
    const ceiling = Math.min(maxMs, minMs * 2 ** Math.min(this.#attempt, 30));
    this.#attempt += 1;
    return Math.max(minMs / 2, this.#random() * ceiling);
  }

  /** Failures since the last reset. */
  get attempts(): number {
    return this.#attempt;
  }
}
