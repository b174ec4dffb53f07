import type { Clock } from '../base/clock.ts';
import type { CameraCondition } from '../contract/health.ts';
import type { Reason } from '../contract/observation.ts';

export interface CameraHealthOptions {
  readonly camera: string;
}

export interface CameraHealthState {
  readonly camera: string;
  readonly state: CameraCondition;
  /** `camera_*`, `frozen` or `obstructed`; null while up or starting. */
  readonly reason: string | null;
  /** Wall clock of the last change, by the clock as it is set now. */
  readonly sinceMs: number;
  readonly lastFrameMonoMs: number | null;
  readonly lastFrameAgeS: number | null;
  /** Failed captures within the last hour. */
  readonly failures1h: number;
}

export interface CameraTransition {
  readonly camera: string;
  readonly from: CameraCondition;
  readonly to: CameraCondition;
  readonly reason: string | null;
  /** How long the former state lasted, ms. */
  readonly lastedMs: number;
}

const HOUR_MS = 3_600_000;
/** Failures are counted up to here; one a second is the most that a schedule can make. */
const MAX_FAILURES = 3600;
/** Bursts in a row that must be covered, or clear again, before the state says so: birds come and go. */
const OBSTRUCTED_BURSTS = 2;

/**
 * The state of one camera as `…/camera/{cam}/state` tells it. Each report returns the transition that it caused, or
 * null: the agent publishes and raises an event on those alone.
 *
 * starting -> up | down; up, frozen, obstructed -> down at the first slot without any frame (the retries within the
 * slot are over by then); down -> up, frozen or obstructed at the first frame.
 */
export class CameraHealth {
  readonly #camera: string;
  readonly #clock: Clock;
  readonly #failures: number[] = [];
  #state: CameraCondition = 'starting';
  #reason: string | null = null;
  #sinceMonoMs: number;
  #lastFrameMonoMs: number | null = null;
  #obstructed = false;
  #contrary = 0;

  constructor(options: CameraHealthOptions, deps: { readonly clock: Clock }) {
    this.#camera = options.camera;
    this.#clock = deps.clock;
    this.#sinceMonoMs = deps.clock.monoMs();
  }

  /** A burst gave a frame that shows a living picture. */
  captured(lastFrameMonoMs: number): CameraTransition | null {
    this.#sees(lastFrameMonoMs, false);
    return this.#obstructed ? this.#become('obstructed', 'obstructed') : this.#become('up', null);
  }

  /** A burst gave frames of a covered lens. */
  obstructed(lastFrameMonoMs: number): CameraTransition | null {
    this.#sees(lastFrameMonoMs, true);
    return this.#obstructed ? this.#become('obstructed', 'obstructed') : this.#become('up', null);
  }

  /** Frames come, but it is the same picture again and again. */
  frozen(lastFrameMonoMs: number): CameraTransition | null {
    this.#lastFrameMonoMs = lastFrameMonoMs;
    return this.#become('frozen', 'frozen');
  }

  /** A burst gave no frame at all. */
  failed(code: Reason): CameraTransition | null {
    this.#failures.push(this.#clock.monoMs());
    if (this.#failures.length > MAX_FAILURES) this.#failures.shift();
    return this.#become('down', code);
  }

  #sees(frameMonoMs: number, obstructed: boolean): void {
    this.#lastFrameMonoMs = frameMonoMs;
    this.#contrary = obstructed === this.#obstructed ? 0 : this.#contrary + 1;
    if (this.#contrary < OBSTRUCTED_BURSTS) return;
    this.#obstructed = obstructed;
    this.#contrary = 0;
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
      lastFrameAgeS: this.#lastFrameMonoMs === null ? null : (monoMs - this.#lastFrameMonoMs) / 1000,
      failures1h: this.#failures.length,
    };
  }

  /** A new reason for the same state is worth telling too: unreachable may become a wrong password. */
  #become(to: CameraCondition, reason: string | null): CameraTransition | null {
    if (to === this.#state && reason === this.#reason) return null;
    const from = this.#state;
    const monoMs = this.#clock.monoMs();
    const lastedMs = monoMs - this.#sinceMonoMs;
    this.#state = to;
    this.#reason = reason;
    if (from !== to) this.#sinceMonoMs = monoMs;
    return { camera: this.#camera, from, to, reason, lastedMs };
  }
}
