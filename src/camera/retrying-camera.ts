import type { Clock } from '../base/clock.ts';
import { asAgentError, isAbort, type AgentError } from '../base/errors.ts';
import { Backoff } from '../base/retry.ts';
import type { Camera, CaptureOptions, Frame } from './camera.ts';

export interface RetryOptions {
  /** No new attempt begins later than this after the capture was asked for, seconds. */
  readonly withinS: number;
}

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 60_000;
/** Cameras lock accounts after a few wrong passwords: the pause doubles from the first to the second. */
const REFUSED_MIN_MS = 30_000;
const REFUSED_MAX_MS = 600_000;

/**
 * Tries again, with growing and jittered pauses, as long as the slot has time and no frame came. The pauses grow on
 * from slot to slot until a frame comes, so a dead camera is left in peace; one that refused the password is not
 * even asked during its pause, and the capture throws the same `camera_auth` at once.
 */
export class RetryingCamera implements Camera {
  readonly id: string;
  readonly #options: RetryOptions;
  readonly #camera: Camera;
  readonly #clock: Clock;
  readonly #random: () => number;
  #backoff: Backoff;
  #refused: { readonly failure: AgentError; readonly pauseMs: number; readonly untilMs: number } | null =
    null;

  constructor(
    options: RetryOptions,
    deps: { readonly camera: Camera; readonly clock: Clock; readonly random: () => number },
  ) {
    this.id = deps.camera.id;
    this.#options = options;
    this.#camera = deps.camera;
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#backoff = this.#freshBackoff();
  }

  async *capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const lastStartMs = this.#clock.monoMs() + this.#options.withinS * 1000;
    if (this.#refused && this.#clock.monoMs() < this.#refused.untilMs) throw this.#refused.failure;
    for (;;) {
      let frames = 0;
      try {
        for await (const frame of this.#camera.capture(options, signal)) {
          frames += 1;
          this.#backoff = this.#freshBackoff();
          this.#refused = null;
          yield frame;
        }
        return;
      } catch (thrown) {
        if (isAbort(thrown)) throw thrown;
        signal.throwIfAborted();
        const failure = asAgentError(thrown);
        if (frames > 0) throw failure;
        const pauseMs = this.#backoff.nextMs();
        if (failure.code === 'camera_auth') this.#refuse(failure);
        if (!isWorthRetrying(failure) || this.#clock.monoMs() + pauseMs > lastStartMs) throw failure;
        await this.#clock.sleep(pauseMs, signal);
      }
    }
  }

  close(): Promise<void> {
    return this.#camera.close();
  }

  #refuse(failure: AgentError): void {
    const pauseMs = this.#refused ? Math.min(REFUSED_MAX_MS, this.#refused.pauseMs * 2) : REFUSED_MIN_MS;
    this.#refused = { failure, pauseMs, untilMs: this.#clock.monoMs() + pauseMs };
  }

  #freshBackoff(): Backoff {
    const options = { minMs: RETRY_MIN_MS, maxMs: RETRY_MAX_MS, resetAfterMs: Infinity };
    return new Backoff(options, { clock: this.#clock, random: this.#random });
  }
}

/** A wrong password, a missing program or an internal fault will be no better in a few seconds. */
function isWorthRetrying(failure: AgentError): boolean {
  return failure.retryable && failure.code !== 'camera_auth' && failure.code !== 'camera_program_missing';
}
