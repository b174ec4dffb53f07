import type { Clock } from '../base/clock.ts';
import { skippedSlots, sleepUnlessAborted } from './slots.ts';
import type { SunWindow } from './sun.ts';
import type { Schedule, Slot } from './types.ts';

export interface IntervalOptions {
  readonly periodMs: number;
  /** Delay of the first slot. */
  readonly offsetMs: number;
  /** The sun window; null when slots run all day. */
  readonly window: SunWindow | null;
  readonly description: string;
}

const DAY_MS = 86_400_000;
/** Step of the search for the next opening of the sun window. Only close to the poles are windows shorter than this. */
const SCAN_STEP_MS = 5 * 60_000;

/** Slots at a fixed distance on the monotonic clock, independent of steps of the wall clock. */
export class IntervalSchedule implements Schedule {
  readonly description: string;
  readonly #options: IntervalOptions;
  readonly #clock: Clock;
  #dueMonoMs: number | null = null;
  #wakeMonoMs: number | null = null;

  constructor(options: IntervalOptions, deps: { readonly clock: Clock }) {
    this.#options = options;
    this.#clock = deps.clock;
    this.description = options.description;
  }

  async *slots(signal: AbortSignal): AsyncGenerator<Slot, undefined> {
    const { periodMs, offsetMs } = this.#options;
    const clock = this.#clock;
    let dueMonoMs = clock.monoMs() + offsetMs;
    for (;;) {
      this.#dueMonoMs = dueMonoMs;
      this.#wakeMonoMs = Math.max(dueMonoMs, clock.monoMs());
      if (!(await sleepUnlessAborted(clock, Math.max(0, dueMonoMs - clock.monoMs()), signal)))
        return undefined;
      const nowMonoMs = clock.monoMs();
      // A timer may fire a little early.
      if (nowMonoMs < dueMonoMs) continue;
      const newestMonoMs = dueMonoMs + Math.floor((nowMonoMs - dueMonoMs) / periodMs) * periodMs;
      const isInTime = nowMonoMs - newestMonoMs <= Math.max(1000, periodMs / 2);
      const nextRunMonoMs = isInTime ? newestMonoMs : newestMonoMs + periodMs;
      yield* skippedSlots(this.#dueTimes(dueMonoMs, nextRunMonoMs), 'late');
      dueMonoMs = nextRunMonoMs;
      if (!isInTime) continue;

      const [dueAtMs] = this.#dueTimes(dueMonoMs, dueMonoMs + periodMs);
      dueMonoMs += periodMs;
      this.#dueMonoMs = dueMonoMs;
      if (dueAtMs === undefined) continue;
      yield { dueAtMs, skipped: null };
      const finishedMonoMs = clock.monoMs();
      yield* skippedSlots(this.#dueTimes(dueMonoMs, finishedMonoMs), 'overlap');
      dueMonoMs += Math.max(0, Math.ceil((finishedMonoMs - dueMonoMs) / periodMs)) * periodMs;
    }
  }

  /** Wall clock times of the slots within the window that are planned in [from, to) of the monotonic clock. */
  *#dueTimes(fromMonoMs: number, toMonoMs: number): Generator<number> {
    const { periodMs, window } = this.#options;
    const wallAheadMs = this.#clock.nowMs() - this.#clock.monoMs();
    for (let dueMonoMs = fromMonoMs; dueMonoMs < toMonoMs; dueMonoMs += periodMs) {
      const dueAtMs = dueMonoMs + wallAheadMs;
      if (window === null || window(dueAtMs)) yield dueAtMs;
    }
  }

  get wakeMonoMs(): number | null {
    return this.#wakeMonoMs;
  }

  nextRunAtMs(): number | null {
    const { periodMs, offsetMs, window } = this.#options;
    const nowMonoMs = this.#clock.monoMs();
    const nowMs = this.#clock.nowMs();
    const dueMonoMs = this.#dueMonoMs ?? nowMonoMs + offsetMs;
    const missed = Math.max(0, Math.ceil((nowMonoMs - dueMonoMs) / periodMs));
    let dueAtMs = nowMs + dueMonoMs + missed * periodMs - nowMonoMs;
    if (window === null || window(dueAtMs)) return dueAtMs;
    const slotsPerStep = Math.max(1, Math.floor(SCAN_STEP_MS / periodMs));
    for (const untilMs = dueAtMs + 2 * DAY_MS; dueAtMs < untilMs; dueAtMs += slotsPerStep * periodMs)
      if (window(dueAtMs + slotsPerStep * periodMs))
        for (let slot = 1; slot <= slotsPerStep; slot += 1)
          if (window(dueAtMs + slot * periodMs)) return dueAtMs + slot * periodMs;
    return null;
  }
}
