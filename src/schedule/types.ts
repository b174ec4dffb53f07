import type { Reason } from '../contract/observation.ts';

/** A moment at which a camera should be observed, or was to be and cannot. */
export interface Slot {
  /** Wall clock of the nominal time, ms since 1970. */
  readonly dueAtMs: number;
  /** Null: run it now. Otherwise the slot was lost, and is recorded as skipped for this reason. */
  readonly skipped: Extract<Reason, 'overlap' | 'clock_step' | 'late'> | null;
  /**
   * How many lost slots this one stands for, where a long stall is told in few records; absent for one. A step of
   * the clock is one record without a count: the time that was stepped over never passed.
   */
  readonly covers?: number;
}

/**
 * Endless, until the signal aborts. The consumer pulls: while it works on a slot, slots that come due are not
 * queued but come out afterwards as one skipped slot each (`overlap`), so that nothing overlaps and nothing is
 * silently lost.
 */
export interface Schedule {
  slots(signal: AbortSignal): AsyncIterable<Slot>;
  /** Wall clock of the next run, or null when there is none in the next days. */
  nextRunAtMs(): number | null;
  /** For people: `every 60 s, dawn to dusk`. */
  readonly description: string;
}
