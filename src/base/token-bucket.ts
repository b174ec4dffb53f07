import type { Clock } from './clock.ts';

/** A rate of records, or of bytes, that is kept over time: what a late timer missed is made up for, within one burst. */
export class Pace {
  readonly #gapMs: number;
  readonly #burst: number;
  readonly #clock: Clock;
  #freeAtMs = -Infinity;

  /** `perS` 0: no limit. */
  constructor(options: { readonly perS: number; readonly burst: number }, clock: Clock) {
    this.#gapMs = options.perS === 0 ? 0 : 1000 / options.perS;
    this.#burst = options.burst;
    this.#clock = clock;
  }

  /** How long the next has to wait, ms. */
  waitMs(): number {
    return this.#gapMs === 0 ? 0 : Math.max(0, this.#freeAtMs - this.#clock.monoMs());
  }

  took(amount = 1): void {
    if (this.#gapMs === 0) return;
    const earliestMs = this.#clock.monoMs() - this.#burst * this.#gapMs;
    this.#freeAtMs = Math.max(this.#freeAtMs, earliestMs) + amount * this.#gapMs;
  }
}
