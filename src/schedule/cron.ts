import type { Clock } from '../base/clock.ts';
import type { CronTimes } from './cron-times.ts';
import { skippedSlots, sleepUnlessAborted } from './slots.ts';
import type { Schedule, Slot } from './types.ts';

export interface CronOptions {
  /** The times of the slots, after jitter and sun window. */
  readonly times: CronTimes;
  readonly description: string;
}

const DAY_MS = 86_400_000;
/** The search for the next slot looks this far into the future. */
const HORIZON_MS = 4 * DAY_MS;
/** Longest sleep, so that a step of the clock is noticed within this time. */
const MAX_SLEEP_MS = 10_000;
/** A slot may start this late, or half the time to the next slot if that is less; otherwise it counts as lost. */
const MAX_LATE_MS = 30_000;
/** After the clock was set back by at most this, slots that already ran do not run again. */
const MAX_SMALL_STEP_MS = 60_000;
/** A smaller change is no step of the clock: the clock is being adjusted slowly, or time passed between two readings. */
const MIN_STEP_MS = 2000;

/**
 * Yields slots at times of the wall clock. When the clock is set forward past slots, yields one lost slot (`clock_step`).
 * When the clock is set back, the repeated times run again, unless the step is small.
 */
export class CronSchedule implements Schedule {
  readonly description: string;
  readonly #times: CronTimes;
  readonly #clock: Clock;
  #wakeMonoMs: number | null = null;
  /** Every slot up to this wall time has run or was reported as lost. */
  #servedMs: number;
  /** The first slot after `#servedMs`; null when there is none within the horizon, undefined before the search. */
  #next: number | null | undefined;

  constructor(options: CronOptions, deps: { readonly clock: Clock }) {
    this.#times = options.times;
    this.#clock = deps.clock;
    this.description = options.description;
    this.#servedMs = deps.clock.nowMs();
  }

  async *slots(signal: AbortSignal): AsyncGenerator<Slot, undefined> {
    const clock = this.#clock;
    const takeStepMs = clockStepMeter(clock);
    this.#setServed(clock.nowMs());
    for (;;) {
      const stepMs = takeStepMs();
      const nowMs = clock.nowMs();
      if (stepMs < 0) this.#handleStepBack(nowMs);
      const dueAtMs = yield* this.#takeDueSlot(nowMs, stepMs > 0 ? 'clock_step' : 'late');
      if (dueAtMs !== null) {
        yield { dueAtMs, skipped: null };
        const stepDuringWorkMs = takeStepMs();
        const finishedMs = clock.nowMs();
        if (stepDuringWorkMs < 0) this.#handleStepBack(finishedMs);
        else if (stepDuringWorkMs > 0) yield* this.#skipSteppedOver(finishedMs);
        else yield* this.#skipUntil(finishedMs, 'overlap');
        continue;
      }
      const untilNextMs = (this.#nextAfterServed(nowMs) ?? Infinity) - nowMs;
      const waitMs = Math.min(Math.max(untilNextMs, 0), MAX_SLEEP_MS);
      this.#wakeMonoMs = clock.monoMs() + waitMs;
      if (!(await sleepUnlessAborted(clock, waitMs, signal))) return undefined;
    }
  }

  /** Yields the slots that were lost up to now, and returns the time of the slot to run now, or null. */
  *#takeDueSlot(nowMs: number, reason: 'late' | 'clock_step'): Generator<Slot, number | null> {
    const newest = this.#newestUntil(nowMs);
    const following = newest === null ? null : this.#firstAfter(newest);
    const gapMs = newest === null || following === null ? HORIZON_MS : following - newest;
    const isInTime = newest !== null && nowMs - newest <= Math.min(MAX_LATE_MS, gapMs / 2);
    const lostUntilMs = isInTime ? newest - 1 : nowMs;
    if (reason === 'clock_step') yield* this.#skipSteppedOver(lostUntilMs);
    else if (newest !== null) yield* this.#skipUntil(lostUntilMs, 'late');
    if (!isInTime) return null;
    this.#setServed(newest);
    return newest;
  }

  *#skipUntil(untilMs: number, reason: 'overlap' | 'late'): Generator<Slot> {
    if (untilMs <= this.#servedMs) return;
    const fromMs = this.#servedMs;
    this.#setServed(untilMs);
    yield* skippedSlots(this.#times(fromMs, untilMs), reason);
  }

  #handleStepBack(nowMs: number): void {
    if (this.#servedMs - nowMs > MAX_SMALL_STEP_MS) this.#setServed(nowMs);
  }

  *#skipSteppedOver(untilMs: number): Generator<Slot> {
    if (untilMs <= this.#servedMs) return;
    // Only the last days of a very long step are searched. If they contain no slot, one is reported lost anyway.
    const last = this.#newestUntil(untilMs) ?? (untilMs - this.#servedMs > 2 * HORIZON_MS ? untilMs : null);
    this.#setServed(untilMs);
    if (last !== null) yield { dueAtMs: last, skipped: 'clock_step' };
  }

  /** The newest slot after `#servedMs` and up to `untilMs`, at most two horizons back; null when there is none. */
  #newestUntil(untilMs: number): number | null {
    const next = this.#nextAfterServed(untilMs);
    if (next !== null && next > untilMs) return null;
    let newest: number | null = null;
    for (const at of this.#times(Math.max(this.#servedMs, untilMs - 2 * HORIZON_MS), untilMs)) newest = at;
    return newest;
  }

  #nextAfterServed(nowMs: number): number | null {
    // The last search found nothing within the horizon: search again a day later.
    const isStale =
      this.#next === null && nowMs - this.#servedMs > DAY_MS && nowMs - this.#servedMs < HORIZON_MS;
    if (isStale) this.#setServed(nowMs);
    if (this.#next === undefined) this.#next = this.#firstAfter(this.#servedMs);
    return this.#next;
  }

  #firstAfter(afterMs: number): number | null {
    return this.#times(afterMs, afterMs + HORIZON_MS).next().value ?? null;
  }

  #setServed(atMs: number): void {
    this.#servedMs = atMs;
    this.#next = undefined;
  }

  get wakeMonoMs(): number | null {
    return this.#wakeMonoMs;
  }

  nextRunAtMs(): number | null {
    const nowMs = this.#clock.nowMs();
    if (typeof this.#next === 'number' && this.#next >= nowMs) return this.#next;
    return this.#firstAfter(nowMs);
  }
}

/** Each call returns how far the wall clock was set since the call before, ms: positive forward, 0 for no step. */
function clockStepMeter(clock: Clock): () => number {
  let wallAheadMs = clock.nowMs() - clock.monoMs();
  return () => {
    const previousMs = wallAheadMs;
    wallAheadMs = clock.nowMs() - clock.monoMs();
    const stepMs = wallAheadMs - previousMs;
    return Math.abs(stepMs) < MIN_STEP_MS ? 0 : stepMs;
  };
}
