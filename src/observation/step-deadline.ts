import type { Clock } from '../base/clock.ts';
import { retryLimitS } from '../camera/open.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { Schedule } from '../schedule/types.ts';
import type { ModelLease } from '../vision/protocol.ts';

/** Time that a camera has to finish its observation when it is changed or removed. */
export const LEAVE_WITHIN_MS = 15_000;

type Analyzer = Pick<ModelLease, 'analyze'>;

/**
 * Knows by when a camera must make its next step, so that the watchdog notices a camera that hangs. Steps are: the
 * schedule wakes up, an observation starts or ends, a frame arrives, a frame is analysed. All times are monotonic.
 *
 * - Between observations the next step is due when the schedule wakes up.
 * - During an observation the next frame is due within the retries, the frame timeout and the burst interval.
 * - While the camera waits for the vision process, nothing is due: the vision process is watched itself.
 */
export class StepDeadline {
  readonly #clock: Clock;
  readonly #schedule: Pick<Schedule, 'wakeMonoMs'>;
  #dueMonoMs = -Infinity;
  #pendingAnalyses = 0;

  constructor(deps: { readonly clock: Clock; readonly schedule: Pick<Schedule, 'wakeMonoMs'> }) {
    this.#clock = deps.clock;
    this.#schedule = deps.schedule;
  }

  /** Monotonic time at which the next step is or was due, ms; null while none is due. */
  get dueMonoMs(): number | null {
    const dueMonoMs = Math.max(this.#dueMonoMs, this.#schedule.wakeMonoMs ?? -Infinity);
    return this.#pendingAnalyses === 0 && Number.isFinite(dueMonoMs) ? dueMonoMs : null;
  }

  /** The next step is due within `ms`. */
  expectWithin(ms: number): void {
    if (this.#dueMonoMs !== Infinity) this.#dueMonoMs = this.#clock.monoMs() + ms;
  }

  /** An observation starts: its frames are due within the limits of these settings. Returns a lease that notes its use. */
  watch({ schedule, timeoutS, burst }: CameraSettings, lease: Analyzer): Analyzer {
    const frameMs = 1000 * (retryLimitS(schedule) + timeoutS + burst.intervalS);
    this.expectWithin(frameMs);
    return {
      analyze: async (...frame) => {
        this.#pendingAnalyses += 1;
        try {
          return await lease.analyze(...frame);
        } finally {
          this.#pendingAnalyses -= 1;
          this.expectWithin(frameMs);
        }
      },
    };
  }

  /** The observation is complete: the schedule must wait for the next slot. */
  endObservation(): void {
    this.expectWithin(0);
  }

  /** The camera has ended as it should: nothing is due any more. */
  end(): void {
    this.#dueMonoMs = Infinity;
  }
}
