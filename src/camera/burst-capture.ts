import type { Clock } from '../base/clock.ts';
import { withDeadline } from '../base/deadline.ts';
import { AgentError, isTimeout } from '../base/errors.ts';
import { Backoff } from '../base/retry.ts';
import type { Camera, CaptureOptions, Frame } from './camera.ts';

/**
 * Takes one frame that arrived at `notBeforeMs` (monotonic clock) or later. The signal aborts at the deadline of the
 * frame, when the burst is aborted, and when the camera closes.
 */
export type TakeFrame = (notBeforeMs: number, signal: AbortSignal) => Promise<Frame>;

/** Times the frames of a camera's bursts, and stops the running bursts when the camera closes. */
export class BurstCapture {
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  readonly #pending = new Set<Promise<Frame>>();

  constructor(deps: { readonly clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** Aborts when the camera closes. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /**
   * Yields the frames of one burst: the first at once, frame i no earlier than i * intervalS after the first (minus a
   * small tolerance). Throws `timeoutError()` when a frame takes longer than timeoutS, and the signal's reason on abort.
   */
  async *frames(
    options: CaptureOptions,
    signal: AbortSignal,
    takeFrame: TakeFrame,
    timeoutError: () => AgentError,
  ): AsyncGenerator<Frame, void, undefined> {
    const clock = this.#clock;
    const stop = AbortSignal.any([signal, this.closing]);
    const intervalMs = options.intervalS * 1000;
    // If the source has the same frame interval as the burst, jitter must not make it miss every second frame.
    const toleranceMs = Math.min(100, intervalMs / 10);
    let firstMs = clock.monoMs();
    for (let index = 0; index < options.frames; index += 1) {
      stop.throwIfAborted();
      const notBeforeMs = index === 0 ? firstMs : firstMs + index * intervalMs - toleranceMs;
      const waitMs = notBeforeMs - clock.monoMs();
      if (waitMs > 0) await clock.sleep(waitMs, stop);
      const frame = await withDeadline(
        { clock, ms: options.timeoutS * 1000, signal: stop, onTimeout: timeoutError },
        (limit) => this.#track(takeFrame(notBeforeMs, limit)),
      );
      if (index === 0) firstMs = frame.monoMs;
      yield frame;
    }
  }

  /** Aborts every burst and waits until no frame is being taken. Idempotent; later bursts abort at once. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#pending);
  }

  async #track(frame: Promise<Frame>): Promise<Frame> {
    this.#pending.add(frame);
    try {
      return await frame;
    } finally {
      this.#pending.delete(frame);
    }
  }
}

export interface RetryOptions {
  /** The last attempt starts at most this long after the start of the capture, seconds. */
  readonly maxRetryS: number;
}

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 60_000;
/** Cameras lock accounts after a few wrong passwords, so the pause after each failed login doubles from MIN to MAX. */
const AUTH_PAUSE_MIN_MS = 30_000;
const AUTH_PAUSE_MAX_MS = 600_000;

/**
 * Retries a capture that yielded no frame, with exponential backoff and jitter, within `maxRetryS`. The delay grows from
 * one capture to the next until a frame arrives. After `camera_auth` it does not connect until a longer pause is over;
 * captures in this pause throw the same `camera_auth` at once. A changed login ends the pause. When the deadline of the
 * caller passes during the retries, it throws the last failure of the camera.
 */
export class RetryingCamera implements Camera {
  readonly id: string;
  readonly #options: RetryOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #renewLogin: () => Promise<Camera | null>;
  readonly #closing = new AbortController();
  #camera: Camera;
  #backoff: Backoff;
  #authPause: { readonly failure: AgentError; readonly pauseMs: number; readonly untilMs: number } | null =
    null;

  constructor(
    options: RetryOptions,
    deps: {
      readonly camera: Camera;
      readonly clock: Clock;
      readonly random?: () => number;
      /** Called before a capture after `camera_auth`. Resolves with a camera with the changed login, or with null. */
      readonly renewLogin?: () => Promise<Camera | null>;
    },
  ) {
    this.id = deps.camera.id;
    this.#options = options;
    this.#camera = deps.camera;
    this.#clock = deps.clock;
    this.#random = deps.random ?? Math.random;
    this.#renewLogin = deps.renewLogin ?? (() => Promise.resolve(null));
    this.#backoff = this.#newBackoff();
  }

  async *capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const stop = AbortSignal.any([signal, this.#closing.signal]);
    const retryUntilMs = this.#clock.monoMs() + this.#options.maxRetryS * 1000;
    if (this.#authPause) await this.#renew();
    if (this.#authPause && this.#clock.monoMs() < this.#authPause.untilMs) throw this.#authPause.failure;
    for (let failure: AgentError | null = null, pauseMs = 0; ;) {
      let frames = 0;
      try {
        if (failure && !(await this.#mayRetryAfter(pauseMs, stop, options.noRetry))) throw failure;
        for await (const frame of this.#camera.capture(options, signal)) {
          frames += 1;
          this.#backoff = this.#newBackoff();
          this.#authPause = null;
          yield frame;
        }
        return;
      } catch (thrown) {
        // The deadline of the caller says nothing about the camera: its last failure does.
        if (failure && isTimeout(signal.reason)) throw failure;
        stop.throwIfAborted();
        // An unexpected error does not disappear within seconds.
        if (!(thrown instanceof AgentError) || frames > 0) throw thrown;
        failure = thrown;
        if (failure.code === 'camera_auth') this.#startAuthPause(failure);
        if (options.noRetry?.aborted === true || !isWorthRetrying(failure)) throw failure;
        pauseMs = this.#backoff.nextMs();
        if (this.#clock.monoMs() + pauseMs > retryUntilMs) throw failure;
      }
    }
  }

  close(): Promise<void> {
    this.#closing.abort();
    return this.#camera.close();
  }

  /** Replaces the camera if its login has changed since the refusal. */
  async #renew(): Promise<void> {
    const renewed = await this.#renewLogin();
    if (!renewed) return;
    const refused = this.#camera;
    this.#camera = renewed;
    this.#authPause = null;
    // `close` may have been called before: then it has not closed the new camera.
    await (this.#closing.signal.aborted ? renewed : refused).close();
  }

  /** Waits before a retry. Resolves with false when `noRetry` fires. Rejects when `stop` fires. */
  async #mayRetryAfter(
    pauseMs: number,
    stop: AbortSignal,
    noRetry: AbortSignal | undefined,
  ): Promise<boolean> {
    const wake = noRetry ? AbortSignal.any([stop, noRetry]) : stop;
    await this.#clock.sleep(pauseMs, wake).catch(() => stop.throwIfAborted());
    return noRetry?.aborted !== true;
  }

  #startAuthPause(failure: AgentError): void {
    const pauseMs = this.#authPause
      ? Math.min(AUTH_PAUSE_MAX_MS, this.#authPause.pauseMs * 2)
      : AUTH_PAUSE_MIN_MS;
    this.#authPause = { failure, pauseMs, untilMs: this.#clock.monoMs() + pauseMs };
  }

  #newBackoff(): Backoff {
    const options = { minMs: RETRY_MIN_MS, maxMs: RETRY_MAX_MS, resetAfterMs: Infinity };
    return new Backoff(options, { clock: this.#clock, random: this.#random });
  }
}

/** False for faults that do not disappear within seconds: wrong password, missing program, internal fault. */
function isWorthRetrying(failure: AgentError): boolean {
  return failure.retryable && failure.code !== 'camera_auth' && failure.code !== 'camera_program_missing';
}
