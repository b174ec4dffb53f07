import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Camera, CaptureOptions, Frame } from './camera.ts';
import type { FrameSource } from './frame-source.ts';
import { paced } from './pace.ts';

export interface StreamCameraOptions {
  readonly id: string;
  /** Keep the source running between captures. */
  readonly persistent: boolean;
}

/** A pause this long inside a burst is spent without a connection. */
const RECONNECT_GAP_S = 60;
/** A kept source that nobody asked for this long is closed: at night the schedule rests. */
const IDLE_MS = 120_000;
/** A kept source is renewed after this: clocks of camera and decoder drift apart. */
const RENEW_MS = 3_600_000;
/** A kept source that was silent this long is not trusted with another capture. */
const STALLED_MS = 10_000;

/** A camera that streams: one source for a burst, or one that stays, with the newest frame always at hand. */
export class StreamCamera implements Camera {
  readonly id: string;
  readonly #options: StreamCameraOptions;
  readonly #openSource: (fps: number) => FrameSource;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #closing = new AbortController();
  readonly #open = new Set<FrameSource>();
  #kept: { readonly source: FrameSource; readonly fps: number; readonly sinceMs: number } | null = null;
  #idle: AbortController | null = null;

  constructor(
    options: StreamCameraOptions,
    deps: { readonly clock: Clock; readonly log: Log; readonly openSource: (fps: number) => FrameSource },
  ) {
    this.id = options.id;
    this.#options = options;
    this.#openSource = deps.openSource;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  async *capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const stop = AbortSignal.any([signal, this.#closing.signal]);
    stop.throwIfAborted();
    this.#idle?.abort();
    const fps = framesPerSecond(options);
    const rests = !this.#options.persistent && options.intervalS >= RECONNECT_GAP_S;
    let source = await this.#obtain(fps);
    let good = false;
    const take = (notBeforeMs: number, limit: AbortSignal): Promise<Frame> => {
      if (rests && source.ended) source = this.#start(fps);
      return source.next(notBeforeMs, limit);
    };
    try {
      for await (const frame of paced(options, { clock: this.#clock }, stop, take, () =>
        source.overdue(options.timeoutS),
      )) {
        if (rests) await this.#end(source);
        // Leaving the loop after a frame is no fault of the source: it may stay.
        good = true;
        yield frame;
        good = false;
      }
      good = true;
    } finally {
      if (this.#options.persistent && good && !stop.aborted) this.#rest();
      else await this.#end(source);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#idle?.abort();
    await Promise.all([...this.#open].map((source) => this.#end(source)));
  }

  /** The kept source if it is still worth it, else a new one. */
  async #obtain(fps: number): Promise<FrameSource> {
    const kept = this.#kept;
    if (kept) {
      const nowMs = this.#clock.monoMs();
      const silentMs = nowMs - (kept.source.lastMonoMs ?? kept.sinceMs);
      const fresh = silentMs < STALLED_MS && nowMs - kept.sinceMs < RENEW_MS;
      if (fresh && !kept.source.ended && kept.fps === fps) return kept.source;
      this.#log.debug({ silentMs, ended: kept.source.ended }, 'stream is opened anew');
      await this.#end(kept.source);
      this.#closing.signal.throwIfAborted();
    }
    return this.#start(fps);
  }

  #start(fps: number): FrameSource {
    const source = this.#openSource(fps);
    this.#open.add(source);
    if (this.#options.persistent) this.#kept = { source, fps, sinceMs: this.#clock.monoMs() };
    return source;
  }

  async #end(source: FrameSource): Promise<void> {
    if (this.#kept?.source === source) this.#kept = null;
    await source.close();
    this.#open.delete(source);
  }

  /** Keeps the source for the next capture, but not for ever. */
  #rest(): void {
    const idle = new AbortController();
    this.#idle = idle;
    this.#clock.sleep(IDLE_MS, idle.signal).then(
      () => {
        if (this.#kept) void this.#end(this.#kept.source);
      },
      () => undefined,
    );
  }
}

/** Twice the burst's own rate, so that a frame is never far from its due time; 1 to 10. */
function framesPerSecond(options: CaptureOptions): number {
  if (options.frames === 1 || options.intervalS === 0) return 2;
  return Math.min(10, Math.max(1, Math.ceil(2 / options.intervalS)));
}
