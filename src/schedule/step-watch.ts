import type { Clock } from '../base/clock.ts';

/** Smaller differences are slewing, and the time between two readings. */
const MIN_STEP_MS = 2000;

/** Compares the wall clock with the monotonic one. */
export class StepWatch {
  readonly #clock: Clock;
  #aheadMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#aheadMs = clock.nowMs() - clock.monoMs();
  }

  /** By how much the wall clock was set since the last call, ms: positive forward, 0 for not at all. */
  stepMs(): number {
    const aheadMs = this.#clock.nowMs() - this.#clock.monoMs();
    const stepMs = aheadMs - this.#aheadMs;
    this.#aheadMs = aheadMs;
    return Math.abs(stepMs) < MIN_STEP_MS ? 0 : stepMs;
  }
}
