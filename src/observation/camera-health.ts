import { isoTime, type Clock } from '../base/clock.ts';
import type { AgentError } from '../base/errors.ts';
import type { CameraCondition } from '../contract/health.ts';
import type { CalibrationSummary, Reason } from '../contract/observation.ts';
import type { CameraState, EventDraft } from '../contract/states.ts';
import { observationReason, type Burst } from './burst.ts';

export interface CameraHealthState {
  readonly camera: string;
  readonly state: CameraCondition;
  /** `camera_*`, `frozen` or `obstructed`; null while up or starting. */
  readonly reason: string | null;
  /** Time of the last change of state by the present wall clock, ms since 1970. */
  readonly sinceMs: number;
  readonly lastFrameMonoMs: number | null;
  readonly lastFrameAgeS: number | null;
  /** Failed captures within the last hour. */
  readonly failures1h: number;
  /** The camera was moved: it shows none of its labelled views. */
  readonly isMoved: boolean;
}

export interface CameraTransition {
  readonly camera: string;
  readonly from: CameraCondition;
  readonly to: CameraCondition;
  readonly reason: string | null;
  /** Duration of the previous state. */
  readonly lastedMs: number;
  readonly failure: AgentError | null;
}

const HOUR_MS = 3_600_000;
/** Bound of the failure counter: a schedule has at most one slot per second. */
const MAX_FAILURES = 3600;
/** Consecutive bursts that start or end `obstructed`: one burst may show a bird on the lens. */
const MIN_OBSTRUCTED_BURSTS = 2;
/** Consecutive bursts with a known view that start or end `isMoved`. */
const MIN_MOVED_BURSTS = 2;

/**
 * The state of one camera, published on `…/camera/{cam}/state`. Each report returns the transition that it caused, or
 * null. The agent publishes and raises an event for transitions only.
 *
 * starting -> up | down; up, frozen, obstructed -> down after the first slot without a frame (including its retries);
 * down -> up, frozen or obstructed after the first frame.
 */
export class CameraHealth {
  readonly #camera: string;
  readonly #clock: Clock;
  readonly #failures: number[] = [];
  #state: CameraCondition = 'starting';
  #reason: string | null = null;
  #sinceMonoMs: number;
  #lastFrameMonoMs: number | null = null;
  /** Why the newest burst is not complete; null when it is. */
  failure: AgentError | null = null;
  #obstructed = false;
  /** Consecutive bursts that contradict `#obstructed`. */
  #contradictions = 0;
  #isMoved = false;
  /** Consecutive bursts with a known view that contradict `#isMoved`. */
  #movedContradictions = 0;

  constructor(options: { readonly camera: string }, deps: { readonly clock: Clock }) {
    this.#camera = options.camera;
    this.#clock = deps.clock;
    this.#sinceMonoMs = deps.clock.monoMs();
  }

  /** Takes the outcome of one burst. The state follows from what the camera delivers, not from the state of the sea. */
  update(burst: Burst, reasons: readonly Reason[]): CameraTransition | null {
    this.failure = burst.failures[0] ?? null;
    const last = burst.frames.at(-1);
    if (!last) return burst.cameraFailure && this.reportFailed(observationReason(burst.cameraFailure));
    if (reasons.includes('frozen')) return this.reportFrozen(last.monoMs);
    if (reasons.includes('obstructed')) return this.reportObstructed(last.monoMs);
    return this.reportCaptured(last.monoMs);
  }

  /** The burst has frames with a live image. */
  reportCaptured(lastFrameMonoMs: number): CameraTransition | null {
    return this.#reportVisibility(lastFrameMonoMs, false);
  }

  /** The burst has frames of a covered lens. */
  reportObstructed(lastFrameMonoMs: number): CameraTransition | null {
    return this.#reportVisibility(lastFrameMonoMs, true);
  }

  /** The burst has frames, but the image has not changed for some bursts. */
  reportFrozen(lastFrameMonoMs: number): CameraTransition | null {
    this.#lastFrameMonoMs = lastFrameMonoMs;
    return this.#setState('frozen', 'frozen');
  }

  /** The burst has no frame. */
  reportFailed(code: Reason): CameraTransition | null {
    this.#failures.push(this.#clock.monoMs());
    if (this.#failures.length > MAX_FAILURES) this.#failures.shift();
    return this.#setState('down', code);
  }

  #reportVisibility(lastFrameMonoMs: number, obstructed: boolean): CameraTransition | null {
    this.#lastFrameMonoMs = lastFrameMonoMs;
    this.#contradictions = obstructed === this.#obstructed ? 0 : this.#contradictions + 1;
    if (this.#contradictions >= MIN_OBSTRUCTED_BURSTS) {
      this.#obstructed = obstructed;
      this.#contradictions = 0;
    }
    return this.#obstructed ? this.#setState('obstructed', 'obstructed') : this.#setState('up', null);
  }

  /**
   * Takes the view of one burst. Returns the event when the camera was moved or shows a labelled view again; a burst with
   * an unknown view changes nothing.
   */
  reportView({ view, labels, labels_kept = 0 }: CalibrationSummary): EventDraft | null {
    // Without labels, no view is known.
    if (labels + labels_kept === 0) this.#isMoved = false;
    if (view === 'unknown') return null;
    this.#movedContradictions = (view === 'changed') === this.#isMoved ? 0 : this.#movedContradictions + 1;
    if (this.#movedContradictions < MIN_MOVED_BURSTS) return null;
    this.#isMoved = !this.#isMoved;
    this.#movedContradictions = 0;
    return viewEvent(this.#camera, this.#isMoved, labels_kept);
  }

  state(): CameraHealthState {
    const monoMs = this.#clock.monoMs();
    while ((this.#failures[0] ?? Infinity) <= monoMs - HOUR_MS) this.#failures.shift();
    return {
      camera: this.#camera,
      state: this.#state,
      reason: this.#reason,
      sinceMs: this.#clock.nowMs() - (monoMs - this.#sinceMonoMs),
      lastFrameMonoMs: this.#lastFrameMonoMs,
      lastFrameAgeS:
        this.#lastFrameMonoMs === null ? null : Math.round(monoMs - this.#lastFrameMonoMs) / 1000,
      failures1h: this.#failures.length,
      isMoved: this.#isMoved,
    };
  }

  /** A new reason for the same state is a transition too: unreachable may become a wrong password. */
  #setState(to: CameraCondition, reason: string | null): CameraTransition | null {
    if (to === this.#state && reason === this.#reason) return null;
    const from = this.#state;
    const monoMs = this.#clock.monoMs();
    const lastedMs = monoMs - this.#sinceMonoMs;
    this.#state = to;
    this.#reason = reason;
    if (from !== to) this.#sinceMonoMs = monoMs;
    return { camera: this.#camera, from, to, reason, lastedMs, failure: this.failure };
  }
}

/** The event that reports a transition. */
export const stateEvent = ({ camera, from, to, reason, failure }: CameraTransition): EventDraft => ({
  type: 'camera_state',
  severity: to === 'up' ? 'info' : 'warning',
  code: reason ?? to,
  message: `Camera ${camera} is ${to}${to === 'down' && failure ? `: ${failure.message}` : ''}.`,
  context: { camera, state: to, before: from, reason },
});

/** The event that reports that a camera was moved, or shows a labelled view again. */
const viewEvent = (camera: string, isMoved: boolean, labelsKept: number): EventDraft => ({
  type: 'camera_view',
  severity: isMoved ? 'warning' : 'info',
  code: isMoved ? 'view_changed' : 'view_known',
  message: isMoved
    ? `Camera ${camera} was moved: it gives no heights. Its ${String(labelsKept)} labels are kept, and are used again when it is back in its former position; or label its new view.`
    : `Camera ${camera} shows a labelled view again.`,
  context: { camera, labels_kept: labelsKept },
});

/** The payload of `…/camera/{cam}/state`. */
export const stateMessage = (health: CameraHealthState): CameraState => ({
  schema: 'swellsight.camera_state/1',
  camera: health.camera,
  state: health.state,
  reason: health.reason,
  since: isoTime(health.sinceMs),
  last_frame_age_s: health.lastFrameAgeS,
});
