import type { Clock } from '../base/clock.ts';
import type { Frame } from './camera.ts';

interface Waiter {
  readonly notBeforeMs: number;
  readonly resolve: (frame: Frame) => void;
  readonly reject: (failure: Error) => void;
}

/**
 * Holds the newest frame of a running source, and only that one: a frame that nobody asked for is replaced, so
 * memory is bounded by one picture and no reader ever gets a stale one.
 */
export class NewestFrame {
  readonly #clock: Clock;
  #newest: Frame | null = null;
  #failure: Error | null = null;
  #waiters = new Set<Waiter>();

  constructor(deps: { readonly clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** When the newest frame came, monotonic ms; null before the first. */
  get lastMonoMs(): number | null {
    return this.#newest?.monoMs ?? null;
  }

  /** Set once the source has ended. */
  get failure(): Error | null {
    return this.#failure;
  }

  put(bytes: Uint8Array): void {
    const frame: Frame = { bytes, capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs() };
    this.#newest = frame;
    for (const waiter of this.#waiters) {
      if (frame.monoMs >= waiter.notBeforeMs) waiter.resolve(frame);
    }
  }

  /** The source has ended: every wait, now and later, rejects with this. The first reason stays. */
  fail(failure: Error): void {
    if (this.#failure) return;
    this.#failure = failure;
    for (const waiter of this.#waiters) waiter.reject(failure);
    this.#newest = null;
  }

  /** The first frame that came at `notBeforeMs` (monotonic) or later. Rejects with the signal's reason. */
  async next(notBeforeMs: number, signal: AbortSignal): Promise<Frame> {
    signal.throwIfAborted();
    if (this.#failure) throw this.#failure;
    if (this.#newest && this.#newest.monoMs >= notBeforeMs) return this.#newest;
    return await new Promise<Frame>((resolve, reject) => {
      const settle = (): void => {
        signal.removeEventListener('abort', abort);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        notBeforeMs,
        resolve: (frame) => {
          settle();
          resolve(frame);
        },
        reject: (failure) => {
          settle();
          reject(failure);
        },
      };
      const abort = (): void => waiter.reject(signal.reason as Error);
      this.#waiters.add(waiter);
      signal.addEventListener('abort', abort, { once: true });
    });
  }
}
