import type { CaptureSlowdown } from '../types.ts';

/** A board that is still under stress after this time observes half as often again. */
const STEP_UP_MS = 120_000;
/** A board without stress for this time observes twice as often again. */
const STEP_DOWN_MS = 300_000;

/**
 * `heat` and `low_power`: the board is under stress. `warm`: it is neither under stress nor clearly without it, and the
 * slowdown stays as it is. `calm`: no stress.
 */
export type BoardStress = 'heat' | 'low_power' | 'warm' | 'calm';

/**
 * How much longer the interval between observations becomes: doubled at once under stress, doubled again every two minutes
 * up to the limit, and halved after every five minutes without stress.
 */
export class SlowdownRule {
  #state: CaptureSlowdown = { factor: 1, reason: null };
  #steppedMs = -Infinity;
  #calmSinceMs: number | null = null;

  get state(): CaptureSlowdown {
    return this.#state;
  }

  /** Returns the state after this sample. `maxFactor` 1 means that observations are never left out. */
  update(stress: BoardStress, maxFactor: number, monoMs: number): CaptureSlowdown {
    if (this.#state.factor > maxFactor) this.#setFactor(maxFactor, monoMs);
    if (stress !== 'calm') this.#calmSinceMs = null;
    switch (stress) {
      case 'heat':
      case 'low_power':
        if (monoMs - this.#steppedMs >= STEP_UP_MS || this.#state.factor === 1)
          this.#setFactor(Math.min(this.#state.factor * 2, maxFactor), monoMs);
        if (this.#state.factor > 1) this.#state = { ...this.#state, reason: stress };
        break;
      case 'calm':
        this.#calmSinceMs ??= monoMs;
        if (this.#state.factor > 1 && monoMs - this.#calmSinceMs >= STEP_DOWN_MS) {
          this.#setFactor(Math.floor(this.#state.factor / 2), monoMs);
          this.#calmSinceMs = monoMs;
        }
        break;
      case 'warm':
        break;
    }
    return this.#state;
  }

  #setFactor(factor: number, monoMs: number): void {
    this.#steppedMs = monoMs;
    this.#state = factor > 1 ? { ...this.#state, factor } : { factor: 1, reason: null };
  }
}
