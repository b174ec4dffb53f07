import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import { BurstCapture } from './burst-capture.ts';
import { MAX_FRAME_BYTES, detectImageType, type Camera, type CaptureOptions, type Frame } from './camera.ts';
import { runProgram, type ProgramResult } from './child-program.ts';
import { JpegSplitter } from './jpeg-splitter.ts';

export interface CommandCameraOptions {
  readonly id: string;
  /** The program and its arguments; it is started without a shell. */
  readonly command: readonly string[];
}

/** Runs a program that writes one image to its standard output, for example rpicam-still, gst-launch-1.0 or a script. */
export class CommandCamera implements Camera {
  readonly id: string;
  readonly #program: string;
  readonly #args: readonly string[];
  readonly #clock: Clock;
  readonly #bursts: BurstCapture;

  constructor(options: CommandCameraOptions, deps: { readonly clock: Clock }) {
    this.id = options.id;
    [this.#program = '', ...this.#args] = options.command;
    this.#clock = deps.clock;
    this.#bursts = new BurstCapture(deps);
  }

  capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const timeoutError = () =>
      new AgentError('camera_timeout', `${this.#program} wrote no image within ${options.timeoutS} s`, {
        context: { timeoutS: options.timeoutS },
      });
    return this.#bursts.frames(options, signal, (_, limit) => this.#takeFrame(limit), timeoutError);
  }

  close(): Promise<void> {
    return this.#bursts.close();
  }

  async #takeFrame(signal: AbortSignal): Promise<Frame> {
    const result = await runProgram(
      { program: this.#program, args: this.#args, maxStdoutBytes: MAX_FRAME_BYTES },
      { clock: this.#clock },
      signal,
    );
    const fault = findFault(result);
    if (fault !== null)
      throw new AgentError('camera_command', `${this.#program} ${fault}`, {
        context: { exitCode: result.code, signal: result.signal, stderr: result.stderr.trim().slice(-500) },
      });
    const bytes = lastImage(result.stdout ?? Buffer.alloc(0));
    return { bytes, capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs() };
  }
}

/** A program may write several JPEGs, one after the other, while the exposure settles. The last one is the result. */
function lastImage(bytes: Buffer): Buffer {
  const jpegs = new JpegSplitter({ maxBytes: MAX_FRAME_BYTES }).push(bytes);
  return jpegs.length > 1 ? (jpegs.at(-1) ?? bytes) : bytes;
}

function findFault({ stdout, code, signal }: ProgramResult): string | null {
  if (stdout === null) return `wrote more than ${MAX_FRAME_BYTES} bytes`;
  if (code === null) return `was ended by ${signal ?? 'a signal'}`;
  if (code !== 0) return `ended with exit code ${code}`;
  if (stdout.length === 0) return 'wrote nothing to its standard output';
  if (detectImageType(stdout) === null) return 'wrote something other than a JPEG, PNG or WebP image';
  return null;
}
