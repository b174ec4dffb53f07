import type { Clock } from '../base/clock.ts';
import { withDeadline } from '../base/deadline.ts';
import type { AgentError } from '../base/errors.ts';
import type { CaptureOptions, Frame } from './camera.ts';

/**
 * Takes one frame that is not older than `notBeforeMs` on the monotonic clock. The signal fires at the deadline of the
 * frame, on abort and on close.
 */
export type TakeFrame = (notBeforeMs: number, signal: AbortSignal) => Promise<Frame>;

/** The frame timing of a camera's bursts, and the work that `close` must stop. */
export class BurstCapture {
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  readonly #pending = new Set<Promise<Frame>>();

  constructor(deps: { readonly clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** Fires when the camera closes. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /**
   * The frames of one burst: the first at once, frame i no earlier than i * intervalS after the first (minus a small
   * tolerance). Throws `timeoutError()` when a frame takes longer than timeoutS, and the signal's reason on abort.
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
    // A source with the same frame interval as the burst must not lose every second frame to jitter.
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
