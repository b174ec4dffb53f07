import type { CaptureSlowdown } from '../health/types.ts';
import type { Schedule, Slot } from './types.ts';

/**
 * A schedule of which slots are left out while the board is hot or its power is low: of `factor` slots, the last one is
 * observed. A slot that is left out is yielded as skipped, with the reason, so that it gets a record.
 */
export class ThinnedSchedule implements Schedule {
  readonly #schedule: Schedule;
  readonly #slowdown: () => CaptureSlowdown;
  #leftOut = 0;

  constructor(deps: { readonly schedule: Schedule; readonly slowdown: () => CaptureSlowdown }) {
    this.#schedule = deps.schedule;
    this.#slowdown = deps.slowdown;
  }

  async *slots(signal: AbortSignal): AsyncGenerator<Slot, undefined> {
    for await (const slot of this.#schedule.slots(signal))
      yield slot.skipped === null ? this.#thin(slot) : slot;
    return undefined;
  }

  #thin(slot: Slot): Slot {
    const { factor, reason } = this.#slowdown();
    if (reason === null || this.#leftOut + 1 >= factor) {
      this.#leftOut = 0;
      return slot;
    }
    this.#leftOut += 1;
    return { ...slot, skipped: reason };
  }

  get wakeMonoMs(): number | null {
    return this.#schedule.wakeMonoMs;
  }

  /** The next slot of the schedule, which may be left out. */
  nextRunAtMs(): number | null {
    return this.#schedule.nextRunAtMs();
  }

  get description(): string {
    return this.#schedule.description;
  }
}
