import type { Clock } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import type { CronTimes } from './cron-times.ts';
import { missedSlots } from './missed.ts';
import { StepWatch } from './step-watch.ts';
import type { Schedule, Slot } from './types.ts';

export interface CronOptions {
  /** With jitter and sun window applied. */
  readonly times: CronTimes;
  readonly description: string;
}

const DAY_MS = 86_400_000;
/** How far ahead the next run is looked for. */
const HORIZON_MS = 4 * DAY_MS;
/** The longest sleep: how late a step of the clock is noticed. */
const LOOK_EVERY_MS = 10_000;
/** The most that a run may be late; half the way to the next run, if that is less. */
const TOLERANCE_MS = 30_000;
/** After a step back by no more than this, times that were served already are not served again. */
const SMALL_STEP_BACK_MS = 60_000;

/**
 * Slots at times of the wall clock. A step forward over slots is told as one lost slot (`clock_step`); after a step
 * back the times come again, but for a small one.
 */
export class CronSchedule implements Schedule {
  readonly description: string;
  readonly #times: CronTimes;
  readonly #clock: Clock;
  /** Every slot up to this wall time has been dealt with. */
  #servedMs: number;
  /** The first slot after `#servedMs`; undefined when it has to be looked for. */
  #next: number | null | undefined;

  constructor(options: CronOptions, deps: { readonly clock: Clock }) {
    this.#times = options.times;
    this.#clock = deps.clock;
    this.description = options.description;
    this.#servedMs = deps.clock.nowMs();
  }

  async *slots(signal: AbortSignal): AsyncGenerator<Slot, undefined> {
    const clock = this.#clock;
    const watch = new StepWatch(clock);
    this.#served(clock.nowMs());
    for (;;) {
      const stepMs = watch.stepMs();
      const nowMs = clock.nowMs();
      if (stepMs < 0) this.#steppedBack(nowMs);
      const run = yield* this.#due(nowMs, stepMs > 0 ? 'clock_step' : 'late');
      if (run !== null) {
        yield { dueAtMs: run, skipped: null };
        const stepAtWorkMs = watch.stepMs();
        const freeMs = clock.nowMs();
        if (stepAtWorkMs < 0) this.#steppedBack(freeMs);
        else yield* stepAtWorkMs === 0 ? this.#lost(freeMs, 'overlap') : this.#steppedOver(freeMs);
        continue;
      }
      try {
        signal.throwIfAborted();
        const waitMs = (this.#nextAfterServed(nowMs) ?? Infinity) - nowMs;
        await clock.sleep(Math.min(Math.max(waitMs, 0), LOOK_EVERY_MS), signal);
      } catch (error) {
        if (isAbort(error) || signal.aborted) return undefined;
        throw error;
      }
    }
  }

  /** Tells what was lost up to now, and returns the slot that is to run now, if there is one. */
  *#due(nowMs: number, reason: 'late' | 'clock_step'): Generator<Slot, number | null> {
    const newest = this.#newest(nowMs);
    const following = newest === null ? null : this.#firstAfter(newest);
    const gapMs = newest === null || following === null ? HORIZON_MS : following - newest;
    const inTime = newest !== null && nowMs - newest <= Math.min(TOLERANCE_MS, gapMs / 2);
    const lostUntilMs = inTime ? newest - 1 : nowMs;
    if (reason === 'clock_step') yield* this.#steppedOver(lostUntilMs);
    else if (newest !== null) yield* this.#lost(lostUntilMs, 'late');
    if (!inTime) return null;
    this.#served(newest);
    return newest;
  }

  *#lost(untilMs: number, reason: 'overlap' | 'late'): Generator<Slot> {
    if (untilMs <= this.#servedMs) return;
    const fromMs = this.#servedMs;
    this.#served(untilMs);
    yield* missedSlots(this.#times(fromMs, untilMs), reason);
  }

  #steppedBack(nowMs: number): void {
    if (this.#servedMs - nowMs > SMALL_STEP_BACK_MS) this.#served(nowMs);
  }

  *#steppedOver(untilMs: number): Generator<Slot> {
    if (untilMs <= this.#servedMs) return;
    // A step over many days is told without a search: at worst one slot too many is said to be lost.
    const last = this.#newest(untilMs) ?? (untilMs - this.#servedMs > 2 * HORIZON_MS ? untilMs : null);
    this.#served(untilMs);
    if (last !== null) yield { dueAtMs: last, skipped: 'clock_step' };
  }

  /** The newest slot in (served, until], looked for over two horizons at most. */
  #newest(untilMs: number): number | null {
    const next = this.#nextAfterServed(untilMs);
    if (next !== null && next > untilMs) return null;
    let newest: number | null = null;
    for (const at of this.#times(Math.max(this.#servedMs, untilMs - 2 * HORIZON_MS), untilMs)) newest = at;
    return newest;
  }

  #nextAfterServed(nowMs: number): number | null {
    // Nothing was found within the horizon: look again a day later.
    const stale =
      this.#next === null && nowMs - this.#servedMs > DAY_MS && nowMs - this.#servedMs < HORIZON_MS;
    if (stale) this.#served(nowMs);
    if (this.#next === undefined) this.#next = this.#firstAfter(this.#servedMs);
    return this.#next;
  }

  #firstAfter(afterMs: number): number | null {
    return this.#times(afterMs, afterMs + HORIZON_MS).next().value ?? null;
  }

  #served(atMs: number): void {
    this.#servedMs = atMs;
    this.#next = undefined;
  }

  nextRunAtMs(): number | null {
    const nowMs = this.#clock.nowMs();
    if (typeof this.#next === 'number' && this.#next >= nowMs) return this.#next;
    return this.#firstAfter(nowMs);
  }
}
