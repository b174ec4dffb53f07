import type { Reason } from '../contract/observation.ts';

/** One planned observation of a camera: either it starts now, or it was lost (missed), or it is left out. */
export interface Slot {
  /** Wall clock of the planned time, ms since 1970. */
  readonly dueAtMs: number;
  /** Null: observe now. Otherwise the slot was lost, and its record carries this reason. */
  readonly skipped: Extract<Reason, 'overlap' | 'clock_step' | 'late' | 'heat' | 'low_power'> | null;
  /**
   * Number of lost slots that this one represents; absent for one. After a long pause of the agent, few slots
   * represent many. After a step of the clock, one slot without this count is lost: the skipped time never passed.
   */
  readonly covers?: number;
}

/**
 * Yields slots until the signal aborts. The consumer asks for each slot. Slots whose time comes while it handles another
 * one are not queued: it gets them as skipped slots (`overlap`), so that observations never overlap and each lost slot is
 * reported.
 */
export interface Schedule {
  slots(signal: AbortSignal): AsyncIterable<Slot>;
  /** Wall clock of the next slot, ms since 1970; null when there is none in the next days. */
  nextRunAtMs(): number | null;
  /** Monotonic time at which `slots` wakes up and looks at the clock again, ms; null before it waits for the first time. */
  readonly wakeMonoMs: number | null;
  /** Human-readable, such as `every 60 s, dawn to dusk`. */
  readonly description: string;
}
