import { withAbort } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import type { AgentError } from '../base/errors.ts';
import { MAX_FRAME_BYTES, type Frame } from './camera.ts';
import { JpegSplitter, type SplitJpeg } from './jpeg-splitter.ts';
import { PrimaryJpegs } from './primary-jpeg.ts';

interface Waiter {
  readonly notBeforeMs: number;
  readonly resolve: (frame: Frame) => void;
  readonly reject: (failure: Error) => void;
}

/**
 * A stream that delivers JPEGs until it ends: a running ffmpeg, or an open Motion JPEG response. Buffers only the
 * latest frame: each new frame replaces it, so memory is bounded and no reader gets a stale frame.
 */
export abstract class FrameSource {
  readonly #clock: Clock;
  readonly #splitter = new JpegSplitter({ maxBytes: MAX_FRAME_BYTES });
  readonly #primaries = new PrimaryJpegs();
  /** Images without an end marker since the last complete one. */
  #incompleteInRow = 0;
  readonly #waiters = new Set<Waiter>();
  #latest: Frame | null = null;
  #failure: Error | null = null;
  #frameCount = 0;

  constructor(deps: { readonly clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** The error to throw when no frame arrived in time. */
  abstract timeoutError(timeoutS: number): AgentError;

  /** Stops the stream and releases its resources. Idempotent. */
  abstract close(): Promise<void>;

  /** Arrival of the latest frame, monotonic ms; null before the first frame and after the end. */
  get latestFrameMonoMs(): number | null {
    return this.#latest?.monoMs ?? null;
  }

  get frameCount(): number {
    return this.#frameCount;
  }

  get hasEnded(): boolean {
    return this.#failure !== null;
  }

  /**
   * Resolves with the latest frame if it arrived at `notBeforeMs` (monotonic) or later, otherwise with the next frame.
   * Rejects with an `AgentError` when the stream has ended, and with the signal's reason on abort.
   */
  async nextFrame(notBeforeMs: number, signal: AbortSignal): Promise<Frame> {
    signal.throwIfAborted();
    if (this.#failure) throw this.#failure;
    if (this.#latest && this.#latest.monoMs >= notBeforeMs) return this.#latest;
    const { promise, resolve, reject } = Promise.withResolvers<Frame>();
    const waiter: Waiter = { notBeforeMs, resolve, reject };
    this.#waiters.add(waiter);
    try {
      return await withAbort(promise, signal);
    } finally {
      this.#waiters.delete(waiter);
    }
  }

  /** Subclasses pass the bytes of the stream to this, in order. */
  protected addBytes(chunk: Buffer): void {
    for (const jpeg of this.#splitter.push(chunk)) this.#addJpeg(jpeg);
  }

  /** Subclasses call this at the end of a stream whose last image may lack its end marker, before `fail`. */
  protected endBytes(): void {
    const last = this.#splitter.end();
    if (last && this.#frameCount === 0) this.#incompleteInRow = 1;
    if (last) this.#addJpeg(last);
  }

  /** Subclasses report the end of the stream. Waiting and later calls of `nextFrame` reject with the first failure. */
  protected fail(failure: Error): void {
    if (this.#failure) return;
    this.#failure = failure;
    for (const waiter of this.#waiters) waiter.reject(failure);
    this.#latest = null;
  }

  #addJpeg({ bytes, isComplete, isAdjacent }: SplitJpeg): void {
    if (!this.#primaries.accepts(bytes, isAdjacent)) return;
    // One image without an end marker is a fault of the connection. Two in a row are how this camera sends them.
    this.#incompleteInRow = isComplete ? 0 : this.#incompleteInRow + 1;
    if (this.#incompleteInRow !== 1) this.#addFrame(bytes);
  }

  #addFrame(bytes: Uint8Array): void {
    const frame: Frame = { bytes, capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs() };
    this.#frameCount += 1;
    this.#latest = frame;
    for (const waiter of this.#waiters) if (frame.monoMs >= waiter.notBeforeMs) waiter.resolve(frame);
  }
}
