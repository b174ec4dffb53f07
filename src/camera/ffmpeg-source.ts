import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Frame } from './camera.ts';
import { ChildProgram, type ProgramExit } from './child-program.ts';
import { ffmpegFailure, isConnected } from './ffmpeg-failure.ts';
import type { FfmpegInput } from './ffmpeg-input.ts';
import type { FrameSource } from './frame-source.ts';
import { MAX_IMAGE_BYTES } from './image-type.ts';
import { JpegSplitter } from './jpeg-splitter.ts';
import { NewestFrame } from './newest-frame.ts';

export interface FfmpegSourceOptions {
  readonly program: string;
  readonly input: FfmpegInput;
  /** LabelledImages a second that it should deliver. */
  readonly fps: number;
  readonly redact: (text: string) => string;
}

/** A running ffmpeg that writes JPEGs of full size and high quality to its standard output. */
export class FfmpegSource implements FrameSource {
  readonly #program: ChildProgram;
  readonly #newest: NewestFrame;
  readonly #options: FfmpegSourceOptions;
  #frames = 0;

  constructor(options: FfmpegSourceOptions, deps: { readonly clock: Clock }) {
    this.#options = options;
    this.#newest = new NewestFrame(deps);
    const splitter = new JpegSplitter({ maxBytes: MAX_IMAGE_BYTES });
    this.#program = new ChildProgram({ ...ffmpegCommand(options) }, deps);
    this.#program.stdout.on('data', (chunk: Buffer) => {
      for (const picture of splitter.push(chunk)) {
        this.#frames += 1;
        this.#newest.put(picture);
      }
    });
    void this.#program.exited.then((exit) => this.#newest.fail(this.#failure(exit)));
  }

  get lastMonoMs(): number | null {
    return this.#newest.lastMonoMs;
  }

  get ended(): boolean {
    return this.#newest.failure !== null;
  }

  next(notBeforeMs: number, signal: AbortSignal): Promise<Frame> {
    return this.#newest.next(notBeforeMs, signal);
  }

  overdue(timeoutS: number): AgentError {
    const stderr = this.#program.stderrTail();
    const connected = this.#frames > 0 || isConnected(stderr);
    return new AgentError(
      connected ? 'camera_no_frame' : 'camera_timeout',
      connected ? `connected, but no picture within ${timeoutS} s` : `no answer within ${timeoutS} s`,
      { context: { timeoutS } },
    );
  }

  async close(): Promise<void> {
    await this.#program.stop();
    this.#newest.fail(new AgentError('camera_ended', 'the capture was closed'));
  }

  #failure(exit: ProgramExit): AgentError {
    if (exit.kind === 'not_started')
      return new AgentError('camera_program_missing', `cannot start ${this.#options.program}`, {
        context: { program: this.#options.program, reason: exit.error.code },
      });
    const { code, detail } = ffmpegFailure(this.#program.stderrTail(), this.#frames > 0);
    const said = this.#options.redact(detail);
    return new AgentError(code, said === '' ? 'ffmpeg ended' : `ffmpeg ended: ${said}`, {
      context: { exitCode: exit.code, signal: exit.signal, frames: this.#frames },
    });
  }
}

/** The command line. Two threads keep up with 4K at the price of one frame of delay. */
function ffmpegCommand(options: FfmpegSourceOptions): {
  readonly program: string;
  readonly args: readonly string[];
  readonly stdin?: string;
} {
  const { input, fps } = options;
  return {
    program: options.program,
    args: [
      ...['-hide_banner', '-nostdin', '-nostats', '-loglevel', 'level+info', '-threads', '2'],
      ...input.args,
      ...(input.skipS === undefined ? [] : ['-ss', String(input.skipS)]),
      // Rounding up gives the first picture at once, and later ones that are at most one input frame old.
      ...['-map', '0:v:0', '-vf', `fps=${fps}:round=up`],
      ...['-c:v', 'mjpeg', '-q:v', '2', '-f', 'image2pipe', '-flush_packets', '1', 'pipe:1'],
    ],
    ...(input.stdin === undefined ? {} : { stdin: input.stdin }),
  };
}
