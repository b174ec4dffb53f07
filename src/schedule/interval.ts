import type { Clock } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import { missedSlots } from './missed.ts';
import type { SunWindow } from './sun.ts';
import type { Schedule, Slot } from './types.ts';

export interface IntervalOptions {
  readonly periodMs: number;
  /** Delay of the first slot. */
  readonly offsetMs: number;
  /** Null: open all day. */
  readonly window: SunWindow | null;
  readonly description: string;
}

const DAY_MS = 86_400_000;
/** No window between two events of the sun is shorter, but close to the poles. */
const SCAN_MS = 5 * 60_000;

/** Slots at a fixed distance on the monotonic clock: steps of the wall clock do not concern them. */
export class IntervalSchedule implements Schedule {
  readonly description: string;
  readonly #options: IntervalOptions;
  readonly #clock: Clock;
  #dueMonoMs: number | null = null;

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
      try {
        signal.throwIfAborted();
        await clock.sleep(Math.max(0, dueMonoMs - clock.monoMs()), signal);
      } catch (error) {
        if (isAbort(error) || signal.aborted) return undefined;
        throw error;
      }
      const nowMonoMs = clock.monoMs();
      // A timer may fire a little early.
      if (nowMonoMs < dueMonoMs) continue;
      const newestMonoMs = dueMonoMs + Math.floor((nowMonoMs - dueMonoMs) / periodMs) * periodMs;
      const inTime = nowMonoMs - newestMonoMs <= Math.max(1000, periodMs / 2);
      const firstToRunMonoMs = inTime ? newestMonoMs : newestMonoMs + periodMs;
      yield* missedSlots(this.#dues(dueMonoMs, firstToRunMonoMs), 'late');
      dueMonoMs = firstToRunMonoMs;
      if (!inTime) continue;

      const [dueAtMs] = this.#dues(dueMonoMs, dueMonoMs + periodMs);
      dueMonoMs += periodMs;
      this.#dueMonoMs = dueMonoMs;
      if (dueAtMs === undefined) continue;
      yield { dueAtMs, skipped: null };
      const freeMonoMs = clock.monoMs();
      yield* missedSlots(this.#dues(dueMonoMs, freeMonoMs), 'overlap');
      dueMonoMs += Math.max(0, Math.ceil((freeMonoMs - dueMonoMs) / periodMs)) * periodMs;
    }
  }

  /** Wall clock of the slots due in [from, to) of the monotonic clock, where the window is open. */
  *#dues(fromMonoMs: number, toMonoMs: number): Generator<number> {
    const { periodMs, window } = this.#options;
    const wallAheadMs = this.#clock.nowMs() - this.#clock.monoMs();
    for (let dueMonoMs = fromMonoMs; dueMonoMs < toMonoMs; dueMonoMs += periodMs) {
      const dueAtMs = dueMonoMs + wallAheadMs;
      if (window === null || window(dueAtMs)) yield dueAtMs;
    }
  }

  nextRunAtMs(): number | null {
    const { periodMs, offsetMs, window } = this.#options;
    const nowMonoMs = this.#clock.monoMs();
    const nowMs = this.#clock.nowMs();
    const dueMonoMs = this.#dueMonoMs ?? nowMonoMs + offsetMs;
    const behind = Math.max(0, Math.ceil((nowMonoMs - dueMonoMs) / periodMs));
    let dueAtMs = nowMs + dueMonoMs + behind * periodMs - nowMonoMs;
    if (window === null || window(dueAtMs)) return dueAtMs;
    const slotsPerScan = Math.max(1, Math.floor(SCAN_MS / periodMs));
    for (const untilMs = dueAtMs + 2 * DAY_MS; dueAtMs < untilMs; dueAtMs += slotsPerScan * periodMs)
      if (window(dueAtMs + slotsPerScan * periodMs))
        for (let slot = 1; slot <= slotsPerScan; slot += 1)
          if (window(dueAtMs + slot * periodMs)) return dueAtMs + slot * periodMs;
    return null;
  }
}
