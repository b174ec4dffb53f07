import type { Clock } from '../base/clock.ts';
import type { KeyValue } from './types.ts';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** No record of this agent is older: an earlier date is that of a board whose clock is not set. */
export const PLAUSIBLE_MS = Date.UTC(2024, 0, 1);
/** A start so long after the last one may be a wrong clock. */
const LONG_ABSENCE_MS = 30 * DAY_MS;
const KEY = 'retention.last_wall_ms';

/**
 * Tells how old "too old" is, and keeps a wrong clock from deleting everything: after a forward step of more than a
 * day, or a start a month after the last one, nothing is deleted for its age until the clock has run on for a day, and
 * as long as the system says that nothing has set the clock. The bounds on size and count hold all the while.
 */
export class AgeGuard {
  readonly #deps: { memory: KeyValue; clock: Clock; synced: () => boolean | null };
  #last: { wallMs: number; monoMs: number } | null = null;
  #savedMonoMs = -Infinity;
  #holdUntilMonoMs = -Infinity;

  /** A leap that nothing has confirmed yet. */
  #doubtful = false;

  /** `synced`: whether something keeps the clock right; null where that is not known. */
  constructor(deps: { memory: KeyValue; clock: Clock; synced?: () => boolean | null }) {
    this.#deps = { synced: () => null, ...deps };
  }

  /** Call once per round, before `cutoffMs`. */
  observe(): void {
    const { clock, memory } = this.#deps;
    const now = { wallMs: clock.nowMs(), monoMs: clock.monoMs() };
    const before = this.#last;
    this.#last = now;
    if (before) {
      const stepMs = now.wallMs - before.wallMs - (now.monoMs - before.monoMs);
      if (stepMs > DAY_MS) this.#leapt(now.monoMs);
      if (stepMs < -DAY_MS) this.#holdUntilMonoMs = -Infinity;
      if (stepMs < -DAY_MS || this.#deps.synced() === true) this.#doubtful = false;
    } else {
      const saved = Number(memory.get(KEY) ?? Number.NaN);
      if (now.wallMs - saved > LONG_ABSENCE_MS) this.#leapt(now.monoMs);
    }
    if (this.#trusted(now) && now.monoMs - this.#savedMonoMs > HOUR_MS) {
      memory.set(KEY, String(Math.round(now.wallMs)));
      this.#savedMonoMs = now.monoMs;
    }
  }

  /** Wall clock before which a record is older than `days`; null while the clock is not trusted. */
  cutoffMs(days: number): number | null {
    const now = this.#last;
    return now && this.#trusted(now) ? now.wallMs - days * DAY_MS : null;
  }

  #leapt(monoMs: number): void {
    this.#holdUntilMonoMs = monoMs + DAY_MS;
    this.#doubtful = true;
  }

  #trusted(now: { wallMs: number; monoMs: number }): boolean {
    if (this.#doubtful && this.#deps.synced() === false) return false;
    return now.wallMs > PLAUSIBLE_MS && now.monoMs >= this.#holdUntilMonoMs;
  }
}
