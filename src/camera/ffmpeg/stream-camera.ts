import { closeAtEnd } from '../../base/closing.ts';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { settleAll } from '../../base/settle-all.ts';
import { BurstCapture } from '../burst-capture.ts';
import type { Camera, CaptureOptions, Frame } from '../camera.ts';
import type { FrameSource } from '../frame-source.ts';

export interface StreamCameraOptions {
  readonly id: string;
  /** True: the source (the process or connection that delivers frames) keeps running between captures. */
  readonly persistent: boolean;
}

/** If the frames of a burst are this far apart or further, the source is closed between them. */
const MIN_RECONNECT_INTERVAL_S = 60;
/** A persistent source is closed when nothing was captured for this time, for example at night. */
const MAX_IDLE_MS = 120_000;
/** A persistent source is replaced after this time, because the clocks of camera and decoder drift apart. */
const MAX_SOURCE_AGE_MS = 3_600_000;
/** A persistent source without a frame for this time is replaced before the next capture. */
const MAX_SILENCE_MS = 10_000;

/** A video stream. It opens one source for each burst, or keeps one source that always has the latest frame. */
export class StreamCamera implements Camera {
  readonly id: string;
  readonly #options: StreamCameraOptions;
  readonly #openSource: (fps: number) => Promise<FrameSource>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #bursts: BurstCapture;
  readonly #openSources = new Set<FrameSource>();
  #persistent: { readonly source: FrameSource; readonly fps: number; readonly openedMs: number } | null =
    null;
  #idleTimer: AbortController | null = null;

  constructor(
    options: StreamCameraOptions,
    deps: {
      readonly clock: Clock;
      readonly log: Log;
      readonly openSource: (fps: number) => Promise<FrameSource>;
    },
  ) {
    this.id = options.id;
    this.#options = options;
    this.#openSource = deps.openSource;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#bursts = new BurstCapture(deps);
  }

  async *capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const stop = AbortSignal.any([signal, this.#bursts.closing]);
    stop.throwIfAborted();
    this.#idleTimer?.abort();
    const fps = chooseSourceFps(options);
    const reconnects = !this.#options.persistent && options.intervalS >= MIN_RECONNECT_INTERVAL_S;
    let source = await this.#acquireSource(fps);
    let isReusable = false;
    const takeFrame = async (notBeforeMs: number, limit: AbortSignal): Promise<Frame> => {
      if (reconnects && source.hasEnded) source = await this.#startSource(fps);
      return await source.nextFrame(notBeforeMs, limit);
    };
    await using _source = closeAtEnd(async () => {
      if (this.#options.persistent && isReusable && !stop.aborted) this.#startIdleTimer();
      else await this.#closeSource(source);
    });
    for await (const frame of this.#bursts.frames(options, stop, takeFrame, () =>
      source.timeoutError(options.timeoutS),
    )) {
      if (reconnects) await this.#closeSource(source);
      // The consumer may leave the loop after a frame. Then the source can still be used again.
      isReusable = true;
      yield frame;
      isReusable = false;
    }
    isReusable = true;
  }

  async close(): Promise<void> {
    const burstsClosed = this.#bursts.close();
    this.#idleTimer?.abort();
    await settleAll([burstsClosed, ...[...this.#openSources].map((source) => this.#closeSource(source))]);
  }

  /** Returns the persistent source if it can be used again, otherwise a new one. */
  async #acquireSource(fps: number): Promise<FrameSource> {
    const persistent = this.#persistent;
    if (persistent) {
      const { source, openedMs } = persistent;
      const nowMs = this.#clock.monoMs();
      const silentMs = nowMs - (source.latestFrameMonoMs ?? openedMs);
      const isFresh = silentMs < MAX_SILENCE_MS && nowMs - openedMs < MAX_SOURCE_AGE_MS;
      if (isFresh && !source.hasEnded && persistent.fps === fps) return source;
      this.#log.debug(
        { silentMs, ended: source.hasEnded },
        'replacing a stream that is old, silent or ended',
      );
      await this.#closeSource(source);
    }
    return await this.#startSource(fps);
  }

  async #startSource(fps: number): Promise<FrameSource> {
    const source = await this.#openSource(fps);
    this.#openSources.add(source);
    if (this.#bursts.closing.aborted) await this.#closeSource(source);
    this.#bursts.closing.throwIfAborted();
    if (this.#options.persistent) this.#persistent = { source, fps, openedMs: this.#clock.monoMs() };
    return source;
  }

  async #closeSource(source: FrameSource): Promise<void> {
    if (this.#persistent?.source === source) this.#persistent = null;
    await source.close();
    this.#openSources.delete(source);
  }

  #startIdleTimer(): void {
    const timer = new AbortController();
    this.#idleTimer = timer;
    this.#clock.sleep(MAX_IDLE_MS, timer.signal).then(
      () => {
        if (this.#persistent) void this.#closeSource(this.#persistent.source);
      },
      () => undefined,
    );
  }
}

/** Twice the frame rate of the burst, so that a frame arrives close to its planned time; 1 to 10 frames per second. */
function chooseSourceFps(options: CaptureOptions): number {
  if (options.frames === 1 || options.intervalS === 0) return 2;
  return Math.min(10, Math.max(1, Math.ceil(2 / options.intervalS)));
}
