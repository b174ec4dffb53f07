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
  /** Frames per second of every source, for captures that share one; null: chosen for each burst. */
  readonly fps: number | null;
}

/** If the frames of a burst are this far apart or further, the source is closed between them. */
const MIN_RECONNECT_INTERVAL_S = 60;
/** A persistent source is closed when nothing was captured for this time, for example at night. */
const MAX_IDLE_MS = 120_000;
/** A persistent source is replaced after this time, because the clocks of camera and decoder drift apart. */
const MAX_SOURCE_AGE_MS = 3_600_000;
/** A source without a frame for this time is replaced before the next capture. */
const MAX_SILENCE_MS = 10_000;

interface OpenSource {
  readonly source: FrameSource;
  readonly fps: number;
  readonly openedMs: number;
  /** Captures that use it now. */
  users: number;
}

/**
 * A video stream. It opens one source for each burst, or keeps one source that always has the latest frame. Captures that
 * run at the same time share a source: many cameras accept one connection only.
 */
export class StreamCamera implements Camera {
  readonly id: string;
  readonly #options: StreamCameraOptions;
  readonly #openSource: (fps: number) => Promise<FrameSource>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #bursts: BurstCapture;
  readonly #openSources = new Set<FrameSource>();
  #current: OpenSource | null = null;
  /** Settles when the source that is being opened is open. */
  #opening: Promise<unknown> = Promise.resolve();
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
    const fps = this.#options.fps ?? chooseSourceFps(options);
    const reconnects = !this.#options.persistent && options.intervalS >= MIN_RECONNECT_INTERVAL_S;
    let open = await this.#acquire(fps);
    let isHeld = true;
    let isReusable = false;
    const takeFrame = async (notBeforeMs: number, limit: AbortSignal): Promise<Frame> => {
      if (!isHeld) open = await this.#acquire(fps);
      isHeld = true;
      return await open.source.nextFrame(notBeforeMs, limit);
    };
    const release = async (mayStayOpen: boolean): Promise<void> => {
      if (!isHeld) return;
      isHeld = false;
      await this.#release(open, mayStayOpen);
    };
    await using _source = closeAtEnd(() => release(isReusable && !stop.aborted));
    for await (const frame of this.#bursts.frames(options, stop, takeFrame, () =>
      open.source.timeoutError(options.timeoutS),
    )) {
      if (reconnects) await release(true);
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

  /** Returns the open source if it can be used, otherwise a new one. One capture after another opens a source. */
  #acquire(fps: number): Promise<OpenSource> {
    const acquired = this.#opening.then(async () => {
      const open = (await this.#usableSource(fps)) ?? (await this.#startSource(fps));
      open.users += 1;
      return open;
    });
    this.#opening = acquired.catch(() => undefined);
    return acquired;
  }

  async #usableSource(fps: number): Promise<OpenSource | null> {
    const open = this.#current;
    if (!open) return null;
    const { source, openedMs } = open;
    const nowMs = this.#clock.monoMs();
    const silentMs = nowMs - (source.latestFrameMonoMs ?? openedMs);
    const isUsed = open.users > 0;
    const fits = isUsed || (open.fps === fps && nowMs - openedMs < MAX_SOURCE_AGE_MS);
    if (fits && silentMs < MAX_SILENCE_MS && !source.hasEnded) return open;
    this.#log.debug({ silentMs, ended: source.hasEnded }, 'replacing a stream that is old, silent or ended');
    await this.#closeSource(source);
    return null;
  }

  async #startSource(fps: number): Promise<OpenSource> {
    const source = await this.#openSource(fps);
    this.#openSources.add(source);
    if (this.#bursts.closing.aborted) await this.#closeSource(source);
    this.#bursts.closing.throwIfAborted();
    return (this.#current = { source, fps, openedMs: this.#clock.monoMs(), users: 0 });
  }

  /** A source that another capture uses stays open; a persistent one stays open too, unless a capture failed. */
  async #release(open: OpenSource, mayStayOpen: boolean): Promise<void> {
    open.users -= 1;
    if (open.users > 0) return;
    if (this.#options.persistent && mayStayOpen) this.#startIdleTimer(open);
    else await this.#closeSource(open.source);
  }

  async #closeSource(source: FrameSource): Promise<void> {
    if (this.#current?.source === source) this.#current = null;
    await source.close();
    this.#openSources.delete(source);
  }

  #startIdleTimer(open: OpenSource): void {
    const timer = new AbortController();
    this.#idleTimer = timer;
    this.#clock.sleep(MAX_IDLE_MS, timer.signal).then(
      () => {
        if (open.users === 0) void this.#closeSource(open.source);
      },
      () => undefined,
    );
  }
}

/** Twice the frame rate of the burst, so that a frame arrives close to its planned time; 1 to 10 frames per second. */
export function chooseSourceFps(options: Pick<CaptureOptions, 'frames' | 'intervalS'>): number {
  if (options.frames === 1 || options.intervalS === 0) return 2;
  return Math.min(10, Math.max(1, Math.ceil(2 / options.intervalS)));
}
