import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Camera, CaptureOptions, Frame } from './camera.ts';
import { MAX_IMAGE_BYTES, imageType } from './image-type.ts';
import { JpegSplitter } from './jpeg-splitter.ts';
import { paced } from './pace.ts';
import { runProgram, type ProgramResult } from './run-program.ts';
import { WorkInHand } from './work-in-hand.ts';

export interface CommandCameraOptions {
  readonly id: string;
  /** Program and arguments; no shell looks at them. */
  readonly command: readonly string[];
}

/** Any program that writes one picture to its standard output: rpicam-still, gst-launch-1.0, a script. */
export class CommandCamera implements Camera {
  readonly id: string;
  readonly #program: string;
  readonly #args: readonly string[];
  readonly #clock: Clock;
  readonly #work = new WorkInHand();

  constructor(options: CommandCameraOptions, deps: { readonly clock: Clock }) {
    this.id = options.id;
    [this.#program = '', ...this.#args] = options.command;
    this.#clock = deps.clock;
  }

  capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const overdue = () =>
      new AgentError('camera_timeout', `${this.#program} gave no picture within ${options.timeoutS} s`, {
        context: { timeoutS: options.timeoutS },
      });
    const take = (_: number, limit: AbortSignal) => this.#work.track(this.#take(limit));
    return paced(options, { clock: this.#clock }, this.#work.until(signal), take, overdue);
  }

  close(): Promise<void> {
    return this.#work.close();
  }

  async #take(signal: AbortSignal): Promise<Frame> {
    const result = await runProgram(
      { program: this.#program, args: this.#args, maxStdoutBytes: MAX_IMAGE_BYTES },
      { clock: this.#clock },
      signal,
    );
    const fault = faultOf(result);
    if (fault !== null)
      throw new AgentError('camera_command', `${this.#program} ${fault}`, {
        context: { exitCode: result.code, signal: result.signal, stderr: result.stderr.trim().slice(-500) },
      });
    const bytes = lastPicture(result.stdout ?? Buffer.alloc(0));
    return { bytes, capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs() };
  }
}

/** A program may write several JPEGs, end to end, while its exposure settles: the last one is meant. */
function lastPicture(bytes: Buffer): Buffer {
  const pictures = new JpegSplitter({ maxBytes: MAX_IMAGE_BYTES }).push(bytes);
  return pictures.length > 1 ? (pictures.at(-1) ?? bytes) : bytes;
}

function faultOf(result: ProgramResult): string | null {
  const { stdout, code, signal } = result;
  if (stdout === null) return `wrote more than ${MAX_IMAGE_BYTES} bytes`;
  if (code !== 0)
    return code === null ? `was ended by ${signal ?? 'a signal'}` : `ended with exit code ${code}`;
  if (stdout.length === 0) return 'wrote nothing to its standard output';
  if (imageType(stdout) === null) return 'wrote something that is no JPEG, PNG or WebP';
  return null;
}
