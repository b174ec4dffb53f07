import type { Clock } from '../base/clock.ts';
import type { KeyValue } from './types.ts';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** The agent has no older records. A record with an earlier date was made before the clock was set. */
export const MIN_PLAUSIBLE_MS = Date.UTC(2024, 0, 1);
/** A start this long after the previous one may have a wrong clock. */
const MAX_ABSENCE_MS = 30 * DAY_MS;
const KEY = 'retention.last_wall_ms';

/**
 * Computes age limits, and keeps a wrong clock from deleting everything. After a forward step of more than a day, or a
 * start a month after the previous one, it suspends age limits until the clock has run for a day. It also suspends them
 * while the system reports that the clock is not synchronized. Limits on size and count stay in force.
 */
export class AgeGuard {
  readonly #deps: { keyValue: KeyValue; clock: Clock; isSynced: () => boolean | null };
  #last: { wallMs: number; monoMs: number } | null = null;
  #savedMonoMs = -Infinity;
  #suspendedUntilMonoMs = -Infinity;
  /** True after a leap that no synchronization has confirmed yet. */
  #isLeapUnconfirmed = false;

  /** `isSynced`: whether the clock is synchronized; null when unknown. */
  constructor(deps: { keyValue: KeyValue; clock: Clock; isSynced: () => boolean | null }) {
    this.#deps = deps;
  }

  /** Reads the clocks. Call it once in each round of retention, before `cutoffMs`. */
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

  /** The wall clock before which a record is older than `days`; null while the clock is not trusted. */
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
