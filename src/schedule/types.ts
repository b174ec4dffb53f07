import type { Reason } from '../contract/observation.ts';

/** One planned observation of a camera: either due now, or lost. */
export interface Slot {
  /** Wall clock of the planned time, ms since 1970. */
  readonly dueAtMs: number;
  /** Null: observe now. Otherwise the slot was lost, and its record carries this reason. */
  readonly skipped: Extract<Reason, 'overlap' | 'clock_step' | 'late'> | null;
  /**
   * Number of lost slots that this one represents; absent for one. After a long pause of the agent, few slots
   * represent many. After a step of the clock, one slot without this count is lost: the skipped time never passed.
   */
  readonly covers?: number;
}

/**
 * Yields slots until the signal aborts. The consumer pulls: slots that come due while it works on another one are not
 * queued. They follow as skipped slots (`overlap`), so that observations never overlap and no slot is lost unreported.
 */
export interface Schedule {
  slots(signal: AbortSignal): AsyncIterable<Slot>;
  /** Wall clock of the next slot, ms since 1970; null when there is none in the next days. */
  nextRunAtMs(): number | null;
  /** Human-readable, such as `every 60 s, dawn to dusk`. */
  readonly description: string;
}
