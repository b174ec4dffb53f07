import { stat } from 'node:fs/promises';
import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { BurstCapture } from '../burst-capture.ts';
import type { Camera, CaptureOptions, Frame } from '../camera.ts';
import { runProgram } from '../child-program.ts';
import { videoInput } from './input.ts';
import { FfmpegSource, type FfmpegPrograms } from './source.ts';

export interface VideoCameraOptions {
  readonly id: string;
  readonly path: string;
  /** True: playback starts again after the end of the file. False: captures after the end throw `camera_ended`. */
  readonly loop: boolean;
  readonly programs: FfmpegPrograms;
}

/** Within this time before the end of the file, ffmpeg may find no frame, seconds. */
const END_MARGIN_S = 0.3;

/**
 * A video file in place of a camera. It plays in real time from the first capture on: a capture one minute later shows
 * the file one minute later.
 */
export class VideoCamera implements Camera {
  readonly id: string;
  readonly #options: VideoCameraOptions;
  readonly #clock: Clock;
  readonly #bursts: BurstCapture;
  #startedMs: number | null = null;
  #durationS: number | null = null;

  constructor(options: VideoCameraOptions, deps: { readonly clock: Clock }) {
    this.id = options.id;
    this.#options = options;
    this.#clock = deps.clock;
    this.#bursts = new BurstCapture(deps);
  }

  capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const timeoutError = () =>
      new AgentError('camera_timeout', `no frame from the file within ${options.timeoutS} s`, {
        context: { timeoutS: options.timeoutS },
      });
    return this.#bursts.frames(options, signal, (_, limit) => this.#takeFrame(limit), timeoutError);
  }

  close(): Promise<void> {
    return this.#bursts.close();
  }

  async #takeFrame(signal: AbortSignal): Promise<Frame> {
    const durationS = (this.#durationS ??= await this.#probeDuration(signal));
    this.#startedMs ??= this.#clock.monoMs();
    const playedS = (this.#clock.monoMs() - this.#startedMs) / 1000;
    const playableS = Math.max(durationS - END_MARGIN_S, 0);
    if (playedS > playableS && !this.#options.loop)
      throw new AgentError('camera_ended', 'the video file has ended', { context: { durationS } });
    const positionS = playableS === 0 ? 0 : playedS % playableS;
    const source = new FfmpegSource(
      {
        program: this.#options.programs.ffmpeg,
        input: videoInput(this.#options.path, positionS),
        fps: 1,
        redact: (text) => text,
      },
      { clock: this.#clock },
    );
    try {
      const frame = await source.nextFrame(0, signal);
      return { ...frame, origin: `${positionS.toFixed(1)} s` };
    } finally {
      await source.close();
    }
  }

  /** Length of the file in seconds. Throws when the file is missing or not a video. */
  async #probeDuration(signal: AbortSignal): Promise<number> {
    const { path, programs } = this.#options;
    const isFile = await stat(path).then(
      (entry) => entry.isFile(),
      () => false,
    );
    if (!isFile)
      throw new AgentError('camera_unreachable', 'the video file does not exist', { context: { path } });
    const args = ['-v', 'error', '-show_entries', 'format=duration', '-of', 'csv=p=0', `file:${path}`];
    const result = await runProgram(
      { program: programs.ffprobe, args, maxStdoutBytes: 4096 },
      { clock: this.#clock },
      signal,
    );
    const durationS = Number.parseFloat(result.stdout?.toString() ?? '');
    if (result.code !== 0 || !(durationS > 0))
      throw new AgentError('camera_codec', 'ffmpeg cannot read the file as a video', {
        context: { path, stderr: result.stderr.trim().slice(-300) },
      });
    return durationS;
  }
}
