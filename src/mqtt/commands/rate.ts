import type { Clock } from '../../base/clock.ts';

export interface CommandRateOptions {
  readonly perS: number;
  /** So many at once after a quiet time. */
  readonly burst: number;
}

/** A token bucket. */
export class CommandRate {
  readonly #options: CommandRateOptions;
  readonly #clock: Clock;
  #tokens: number;
  #filledMonoMs: number;

  constructor(options: CommandRateOptions, deps: { readonly clock: Clock }) {
    this.#options = options;
    this.#clock = deps.clock;
    this.#tokens = options.burst;
    this.#filledMonoMs = deps.clock.monoMs();
  }

  /** Takes one if there is one. */
  take(): boolean {
    const { perS, burst } = this.#options;
    const nowMs = this.#clock.monoMs();
    this.#tokens = Math.min(burst, this.#tokens + ((nowMs - this.#filledMonoMs) / 1000) * perS);
    this.#filledMonoMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
