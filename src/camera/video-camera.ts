import { stat } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Camera, CaptureOptions, Frame } from './camera.ts';
import { videoInput } from './ffmpeg-input.ts';
import { FfmpegSource } from './ffmpeg-source.ts';
import { paced } from './pace.ts';
import type { Programs } from './programs.ts';
import { runProgram } from './run-program.ts';
import { WorkInHand } from './work-in-hand.ts';

export interface VideoCameraOptions {
  readonly id: string;
  readonly path: string;
  /** Begin again at the end; otherwise the end is `camera_ended`. */
  readonly loop: boolean;
  readonly programs: Programs;
}

/** Seeking closer to the end than this may find no picture. */
const END_MARGIN_S = 0.3;

/**
 * A video file standing in for a camera. It plays in real time from the first capture on: a capture a minute later
 * sees the file a minute further on.
 */
export class VideoCamera implements Camera {
  readonly id: string;
  readonly #options: VideoCameraOptions;
  readonly #clock: Clock;
  readonly #work = new WorkInHand();
  #startedMs: number | null = null;
  #durationS: number | null = null;

  constructor(options: VideoCameraOptions, deps: { readonly clock: Clock }) {
    this.id = options.id;
    this.#options = options;
    this.#clock = deps.clock;
  }

  capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const overdue = () =>
      new AgentError('camera_timeout', `no picture from the file within ${options.timeoutS} s`, {
        context: { timeoutS: options.timeoutS },
      });
    const take = (_: number, limit: AbortSignal) => this.#work.track(this.#take(limit));
    return paced(options, { clock: this.#clock }, this.#work.until(signal), take, overdue);
  }

  close(): Promise<void> {
    return this.#work.close();
  }

  async #take(signal: AbortSignal): Promise<Frame> {
    const durationS = (this.#durationS ??= await this.#probe(signal));
    this.#startedMs ??= this.#clock.monoMs();
    const playedS = (this.#clock.monoMs() - this.#startedMs) / 1000;
    const playableS = Math.max(durationS - END_MARGIN_S, 0);
    if (playedS > playableS && !this.#options.loop)
      throw new AgentError('camera_ended', 'the video file is at its end', { context: { durationS } });
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
      const frame = await source.next(0, signal);
      return { ...frame, origin: `${positionS.toFixed(1)} s` };
    } finally {
      await source.close();
    }
  }

  /** Length of the file in seconds. Also finds out whether it is there, and a video at all. */
  async #probe(signal: AbortSignal): Promise<number> {
    const { path, programs } = this.#options;
    const isFile = await stat(path).then(
      (entry) => entry.isFile(),
      () => false,
    );
    if (!isFile)
      throw new AgentError('camera_unreachable', 'the video file is not there', { context: { path } });
    const args = ['-v', 'error', '-show_entries', 'format=duration', '-of', 'csv=p=0', `file:${path}`];
    const result = await runProgram(
      { program: programs.ffprobe, args, maxStdoutBytes: 4096 },
      { clock: this.#clock },
      signal,
    );
    const durationS = Number.parseFloat(result.stdout?.toString() ?? '');
    if (result.code !== 0 || !(durationS > 0))
      throw new AgentError('camera_codec', 'the file is no video that ffmpeg can read', {
        context: { path, stderr: result.stderr.trim().slice(-300) },
      });
    return durationS;
  }
}
