import type { Clock } from '../base/clock.ts';
import type { KeyValue } from './types.ts';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** No record of the agent is older than this. A record with an earlier date was made before the clock was set. */
export const MIN_PLAUSIBLE_MS = Date.UTC(2024, 0, 1);
/** If the agent starts this long after its previous run, its clock may be wrong. */
const MAX_ABSENCE_MS = 30 * DAY_MS;
const KEY = 'retention.last_wall_ms';

/**
 * Computes the limits on the age of records, such that a wrong clock does not delete everything. After the clock was
 * set forward by more than a day, or when the agent starts more than a month after its previous run, age limits are
 * suspended for a day, and for longer while the system reports that the clock is not synchronised. Limits on size and
 * count stay in force.
 */
export class AgeGuard {
  readonly #deps: { keyValue: KeyValue; clock: Clock; isSynced: () => boolean | null };
  #last: { wallMs: number; monoMs: number } | null = null;
  #savedMonoMs = -Infinity;
  #suspendedUntilMonoMs = -Infinity;
  /** True after a large forward step of the clock, until a synchronisation confirms the time. */
  #isLeapUnconfirmed = false;

  /** `isSynced` returns whether the clock is synchronised; null when this is unknown. */
  constructor(deps: { keyValue: KeyValue; clock: Clock; isSynced: () => boolean | null }) {
    this.#deps = deps;
  }

  /** Reads the wall clock and the monotonic clock. Call it once in each round of retention, before `cutoffMs`. */
  observe(): void {
    const { clock, keyValue } = this.#deps;
    const now = { wallMs: clock.nowMs(), monoMs: clock.monoMs() };
    const before = this.#last;
    this.#last = now;
    if (before) {
      const stepMs = now.wallMs - before.wallMs - (now.monoMs - before.monoMs);
      if (stepMs > DAY_MS) this.#suspend(now.monoMs);
      if (stepMs < -DAY_MS) this.#suspendedUntilMonoMs = -Infinity;
      if (stepMs < -DAY_MS || this.#deps.isSynced() === true) this.#isLeapUnconfirmed = false;
    } else {
      const saved = Number(keyValue.get(KEY) ?? Number.NaN);
      if (now.wallMs - saved > MAX_ABSENCE_MS) this.#suspend(now.monoMs);
    }
    if (this.#isTrusted(now) && now.monoMs - this.#savedMonoMs > HOUR_MS) {
      keyValue.set(KEY, String(Math.round(now.wallMs)));
      this.#savedMonoMs = now.monoMs;
    }
  }

  /** A record with an earlier wall-clock time is older than `days`. Null while the clock is not trusted. */
  cutoffMs(days: number): number | null {
    const now = this.#last;
    return now && this.#isTrusted(now) ? now.wallMs - days * DAY_MS : null;
  }

  #suspend(monoMs: number): void {
    this.#suspendedUntilMonoMs = monoMs + DAY_MS;
    this.#isLeapUnconfirmed = true;
  }

  #isTrusted(now: { wallMs: number; monoMs: number }): boolean {
    if (this.#isLeapUnconfirmed && this.#deps.isSynced() === false) return false;
    return now.wallMs > MIN_PLAUSIBLE_MS && now.monoMs >= this.#suspendedUntilMonoMs;
  }
}
