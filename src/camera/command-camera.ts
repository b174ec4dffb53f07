import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import { createScrub, redactAddresses, secretsOfArguments, type Scrub } from '../base/redact.ts';
import { BurstCapture } from './burst-capture.ts';
import { MAX_FRAME_BYTES, detectImageType, type Camera, type CaptureOptions, type Frame } from './camera.ts';
import { excerptOf } from './excerpt.ts';
import { runProgram, type ProgramResult } from './child-program.ts';
import { JpegSplitter } from './jpeg-splitter.ts';
import { PrimaryJpegs } from './primary-jpeg.ts';

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
  readonly #redact: (text: string) => string;

  constructor(options: CommandCameraOptions, deps: { readonly clock: Clock }) {
    this.id = options.id;
    [this.#program = '', ...this.#args] = options.command;
    this.#redact = redactArguments(this.#args);
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
    const fault = findFault(result, this.#redact);
    if (fault !== null)
      throw new AgentError('camera_command', `${this.#program} ${fault}`, {
        context: { exitCode: result.code, signal: result.signal, stderr: result.stderr.trim().slice(-500) },
      });
    const bytes = newestImage(result.stdout ?? Buffer.alloc(0));
    return { bytes, capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs() };
  }
}

/**
 * A program may write several images, one after the other, while the exposure settles: the newest one is the result. It
 * counts without what is attached to it, such as a preview or a gain map. Of PNG and WebP there is only one.
 */
function newestImage(bytes: Buffer): Buffer {
  if (detectImageType(bytes) !== 'jpeg') return bytes;
  const splitter = new JpegSplitter({ maxBytes: MAX_FRAME_BYTES });
  const jpegs = splitter.push(bytes);
  const last = splitter.end();
  const primaries = new PrimaryJpegs();
  const images = [...jpegs, ...(last ? [last] : [])].filter((jpeg) => primaries.accepts(jpeg.bytes, true));
  const newest = images.findLast(({ isComplete }) => isComplete) ?? images.at(-1);
  return newest?.bytes ?? bytes;
}

function findFault(
  { stdout, stderr, code, signal }: ProgramResult,
  redact: (text: string) => string,
): string | null {
  const lastLine = excerptOf(Buffer.from(stderr.trim().split('\n').at(-1) ?? ''), redact);
  const reason = lastLine === null ? '' : `: ${lastLine}`;
  if (stdout === null) return `wrote more than ${MAX_FRAME_BYTES} bytes`;
  if (code === null) return `was ended by ${signal ?? 'a signal'}${reason}`;
  if (code !== 0) return `ended with exit code ${code}${reason}`;
  if (stdout.length === 0) return `wrote nothing to its standard output${reason}`;
  if (detectImageType(stdout) !== null) return null;
  const text = excerptOf(stdout, redact);
  return text === null
    ? 'wrote data that is not a JPEG, PNG or WebP image'
    : `wrote text and no image: ${text}`;
}

/** Replaces what may be a secret in the arguments, and addresses, in the output of a program. */
function redactArguments(args: readonly string[]): Scrub {
  const scrub = createScrub([...args, ...secretsOfArguments(args)]);
  return (text) => redactAddresses(scrub(text));
}
