import type { Stats } from 'node:fs';
import { closeAtEnd } from '../../base/closing.ts';
import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { BurstCapture } from '../burst-capture.ts';
import type { Camera, CaptureOptions, Frame } from '../camera.ts';
import { filmFrames } from './film-frames.ts';
import { measureFilm, probeFilm, statFilm, type Film } from './film.ts';
import { videoInput, type FfmpegInput } from './input.ts';
import { FfmpegSource, type FfmpegPrograms } from './source.ts';

export interface VideoCameraOptions {
  readonly id: string;
  readonly path: string;
  /** True: playback starts again after the end of the file. False: captures after the end throw `camera_ended`. */
  readonly loop: boolean;
  readonly programs: FfmpegPrograms;
}

/** Near the end of the file ffmpeg may find no frame: at least this time before it, seconds. */
const MIN_END_MARGIN_S = 0.3;
const MAX_FPS = 30;

interface Probe {
  readonly film: Film;
  readonly lengthS: number;
  /** False while the length is the one that the header states. */
  readonly isMeasured: boolean;
  readonly file: Pick<Stats, 'ino' | 'size' | 'mtimeMs'>;
}

/**
 * A video file in place of a camera. It plays in real time from the first capture on: a capture one minute later shows
 * the file one minute later. A file that is still being written plays on as it grows. A clip reads ahead from the present
 * position, as fast as its frames are used.
 */
export class VideoCamera implements Camera {
  readonly id: string;
  readonly #options: VideoCameraOptions;
  readonly #clock: Clock;
  readonly #bursts: BurstCapture;
  #startedMs: number | null = null;
  #probe: Probe | null = null;
  #isMeasuring = false;

  constructor(options: VideoCameraOptions, deps: { readonly clock: Clock }) {
    this.id = options.id;
    this.#options = options;
    this.#clock = deps.clock;
    this.#bursts = new BurstCapture(deps);
  }

  capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    if (options.isClip === true && options.intervalS > 0) return this.#clip(options, signal);
    const timeoutError = () =>
      this.#isMeasuring
        ? new AgentError(
            'camera_timeout',
            `the file does not state its length, and reading all of it takes more than ${options.timeoutS} s`,
            { hint: 'write the length into the file: ffmpeg -i FILE -c copy NEW.mkv; or increase timeoutS' },
          )
        : new AgentError('camera_timeout', `no frame from the file within ${options.timeoutS} s`, {
            context: { timeoutS: options.timeoutS },
          });
    return this.#bursts.frames(options, signal, (_, limit) => this.#takeFrame(limit), timeoutError);
  }

  close(): Promise<void> {
    return this.#bursts.close();
  }

  async *#clip(
    { frames, intervalS }: CaptureOptions,
    signal: AbortSignal,
  ): AsyncGenerator<Frame, void, undefined> {
    const stop = AbortSignal.any([signal, this.#bursts.closing]);
    stop.throwIfAborted();
    const { probe, playedS } = await this.#play(stop);
    const { path, loop, programs } = this.#options;
    const positionS = probe.film.isSeekable ? Math.min(playedS % probe.lengthS, endOf(probe)) : 0;
    const film = { path, stream: probe.film.stream, positionS, fps: 1 / intervalS, loop, programs };
    let count = 0;
    for await (const { bytes, atS } of filmFrames(film, { clock: this.#clock }, stop)) {
      const moment = { capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs() };
      yield { bytes, ...moment, sceneMs: atS * 1000, origin: `${(positionS + atS).toFixed(1)} s` };
      count += 1;
      if (count >= frames) return;
    }
    throw endedError(probe);
  }

  async #takeFrame(signal: AbortSignal): Promise<Frame> {
    const { probe, playedS } = await this.#play(signal);
    return this.#frameAt(playedS, probe, signal);
  }

  /** The film, and how many seconds of it have been played. Throws `camera_ended` after its end. */
  async #play(signal: AbortSignal): Promise<{ readonly probe: Probe; readonly playedS: number }> {
    const file = await statFilm(this.#options.path);
    let probe = this.#probe;
    // Another file has taken the place of this one: it plays from its beginning.
    if (probe && probe.file.ino !== file.ino) probe = this.#startedMs = null;
    probe ??= await this.#probeFile(file, signal);
    this.#startedMs ??= this.#clock.monoMs();
    const playedS = (this.#clock.monoMs() - this.#startedMs) / 1000;
    const hasChanged = probe.file.size !== file.size || probe.file.mtimeMs !== file.mtimeMs;
    if (playedS > endOf(probe) && hasChanged) probe = await this.#probeFile(file, signal);
    if (playedS >= probe.lengthS && !this.#options.loop) throw endedError(probe);
    return { probe, playedS };
  }

  /** The first frame at or after this time of the film, or the last one. */
  async #frameAt(playedS: number, probe: Probe, signal: AbortSignal): Promise<Frame> {
    const positionS = Math.max(0, Math.min(playedS % probe.lengthS, endOf(probe)));
    let failure: AgentError | null = null;
    for (const input of inputsNear(this.#options.path, positionS, probe.film)) {
      try {
        const frame = await this.#decode(input, probe.film, signal);
        return { ...frame, origin: `${positionS.toFixed(1)} s` };
      } catch (thrown) {
        failure ??= asAgentError(thrown);
        if (failure.code !== 'camera_no_frame' && failure.code !== 'camera_codec') throw thrown;
      }
      // The header states more than the file has, because the recording was cut off or the sound is longer.
      if (positionS > 0 && !probe.isMeasured)
        return this.#frameAt(playedS, await this.#measure(probe, signal), signal);
    }
    throw failure ?? new AgentError('camera_no_frame', 'the video file has no frame');
  }

  async #decode(input: FfmpegInput, { frameS }: Film, signal: AbortSignal): Promise<Frame> {
    // Seconds that are decoded and discarded count frames of the output.
    const fps = Math.min(MAX_FPS, Math.max(1, Math.ceil(1 / frameS)));
    const source = new FfmpegSource(
      { program: this.#options.programs.ffmpeg, input, fps, redact: (text) => text },
      { clock: this.#clock },
    );
    await using _closed = closeAtEnd(() => source.close());
    return await source.nextFrame(0, signal);
  }

  async #probeFile(file: Stats, signal: AbortSignal): Promise<Probe> {
    const { path, programs } = this.#options;
    const film = await probeFilm(path, { clock: this.#clock, programs }, signal);
    const probe = { film, file, lengthS: film.lengthS ?? film.frameS, isMeasured: false };
    return film.lengthS === null ? this.#measure(probe, signal) : (this.#probe = probe);
  }

  /** Replaces the length that the header states. */
  async #measure(probe: Probe, signal: AbortSignal): Promise<Probe> {
    const { path, programs } = this.#options;
    this.#isMeasuring = true;
    try {
      const measuredS = await measureFilm(path, probe.film, { clock: this.#clock, programs }, signal);
      return (this.#probe = { ...probe, lengthS: measuredS ?? probe.lengthS, isMeasured: true });
    } finally {
      this.#isMeasuring = false;
    }
  }
}

const endedError = ({ lengthS }: Probe): AgentError =>
  new AgentError('camera_ended', 'the video file has ended', { context: { durationS: lengthS } });

/** Seconds of the film after which there may be no further frame. */
const endOf = ({ lengthS, film }: Probe): number => lengthS - Math.max(MIN_END_MARGIN_S, film.frameS);

/** The inputs to try in turn for a frame at this time of the film. The first one is enough for almost all files. */
function* inputsNear(path: string, positionS: number, { stream, isSeekable }: Film): Generator<FfmpegInput> {
  const start = { ...videoInput(path, 0), stream };
  if (positionS > 0) {
    // Some formats find a position only a key frame later; some films have pauses between their frames.
    if (isSeekable)
      for (let seekS = positionS, backS = MIN_END_MARGIN_S; seekS > 0; seekS -= backS, backS *= 4)
        yield { ...videoInput(path, seekS), stream };
    yield { ...start, skipS: positionS };
  }
  yield start;
}
