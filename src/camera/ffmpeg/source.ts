import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { ChildProgram, createMissingProgramError, type ProgramExit } from '../child-program.ts';
import { FrameSource } from '../frame-source.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';
import { classifyFailure, isConnected } from './failure.ts';
import type { FfmpegInput } from './input.ts';

/** Names or paths of the programs ffmpeg and ffprobe. */
export interface FfmpegPrograms {
  readonly ffmpeg: string;
  readonly ffprobe: string;
}

/** The programs on PATH. */
export const PATH_PROGRAMS: FfmpegPrograms = { ffmpeg: 'ffmpeg', ffprobe: 'ffprobe' };

/** What connects ffmpeg to a camera. */
export interface FfmpegRelay {
  /** Why the connection to the camera failed; null while it has not. */
  readonly failure: AgentError | null;
  /** True when the camera has accepted to send the stream. */
  readonly isPlaying: boolean;
  close(): Promise<void>;
}

export interface FfmpegSourceOptions {
  readonly program: string;
  readonly input: FfmpegInput;
  /** Frames per second of the output. */
  readonly fps: number;
  readonly redact: (text: string) => string;
  /** Between ffmpeg and a network camera. The source closes it. */
  readonly relay?: FfmpegRelay;
  /** Called once, when ffmpeg begins to give frames. */
  readonly onOutput?: () => void;
}

/** A running ffmpeg that writes JPEGs of full size and high quality to its standard output. */
export class FfmpegSource extends FrameSource {
  readonly #program: ChildProgram;
  readonly #options: FfmpegSourceOptions;

  constructor(options: FfmpegSourceOptions, deps: { readonly clock: Clock }) {
    super(deps);
    this.#options = options;
    const { program, input } = options;
    this.#program = new ChildProgram(
      { program, args: buildFfmpegArgs(input, options.fps), stdin: input.stdin ?? '' },
      deps,
    );
    this.#program.stdout.on('data', (chunk: Buffer) => this.addBytes(chunk));
    if (options.onOutput) this.#program.stdout.once('data', options.onOutput);
    void this.#program.exited.then((exit) => this.fail(this.#exitError(exit)));
  }

  override timeoutError(timeoutS: number): AgentError {
    const { relay } = this.#options;
    if (relay?.failure && this.frameCount === 0) return relay.failure;
    if (this.#isSilent) return silenceError();
    const connected = this.frameCount > 0 || isConnected(this.#program.stderrTail());
    return new AgentError(
      connected ? 'camera_no_frame' : 'camera_timeout',
      connected ? `connected, but no frame within ${timeoutS} s` : `no answer within ${timeoutS} s`,
      { context: { timeoutS } },
    );
  }

  override async close(): Promise<void> {
    await this.#program.stop();
    await this.#options.relay?.close();
    this.fail(new AgentError('camera_ended', 'the capture was closed'));
  }

  /** True when the camera has accepted to send the stream, and ffmpeg has not even found its format. */
  get #isSilent(): boolean {
    return this.#options.relay?.isPlaying === true && !isConnected(this.#program.stderrTail());
  }

  #exitError(exit: ProgramExit): AgentError {
    if (exit.kind === 'not_started') return createMissingProgramError(this.#options.program, exit.error);
    const { relay } = this.#options;
    // The relay knows why; ffmpeg only sees that its connection ended.
    if (relay?.failure && this.frameCount === 0) return relay.failure;
    const { code, detail, hint } = classifyFailure(this.#program.stderrTail(), this.frameCount > 0);
    if (code === 'camera_timeout' && this.#isSilent) return silenceError();
    const reason = this.#options.redact(detail);
    const context = { exitCode: exit.code, signal: exit.signal, frames: this.frameCount };
    // ffmpeg may repeat text of the stream. That of another server must not be in the message, which is published.
    const isOwn = !relay && reason !== '';
    return new AgentError(code, isOwn ? `ffmpeg ended: ${reason}` : 'ffmpeg ended', {
      context: relay ? { ...context, answer: reason } : context,
      ...(hint === null ? {} : { hint }),
    });
  }
}

const silenceError = (): AgentError =>
  new AgentError('camera_no_frame', 'the camera accepted the stream, but sent no packet of it', {
    hint: CAUSE_REMEDIES.no_packets,
  });

/** The arguments for JPEGs on standard output. Two threads are fast enough for 4K and delay the output by one frame. */
export function buildFfmpegArgs(input: FfmpegInput, fps: number): string[] {
  return [
    ...['-hide_banner', '-nostdin', '-nostats', '-loglevel', 'level+info', '-threads', '2'],
    ...input.args,
    ...(input.skipS === undefined ? [] : ['-ss', String(input.skipS)]),
    // With `round=up` ffmpeg outputs the first frame at once. Later frames are at most one input frame old.
    ...['-map', `0:${input.stream ?? 'v:0'}`, '-vf', `fps=${fps}:round=up`],
    ...['-c:v', 'mjpeg', '-q:v', '2', '-f', 'image2pipe', '-flush_packets', '1', 'pipe:1'],
  ];
}
