import { pipeline } from 'node:stream/promises';
import { closeQuietly } from '../../base/closing.ts';
import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { ChildProgram, createMissingProgramError } from '../child-program.ts';
import { classifyFailure } from '../ffmpeg/failure.ts';
import { segmentInput } from '../ffmpeg/input.ts';
import { buildFfmpegArgs } from '../ffmpeg/source.ts';
import { FrameSource } from '../frame-source.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';
import type { HlsReader } from './reader.ts';

export interface HlsSourceOptions {
  /** Name or path of ffmpeg. */
  readonly program: string;
  /** Frames per second of the output. */
  readonly fps: number;
  readonly redact: (text: string) => string;
}

/** Parts in sequence that may give no frame, such as a short advertisement of sound alone. */
const MAX_EMPTY_PARTS = 3;

/**
 * An HLS stream, decoded by ffmpeg. ffmpeg gets the media on its standard input and may use nothing else. Each part of the
 * stream has an ffmpeg of its own, because a decoder does not survive the changes at a discontinuity.
 */
export class HlsSource extends FrameSource {
  readonly #options: HlsSourceOptions;
  readonly #reader: HlsReader;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #program: ChildProgram | null = null;
  #emptyParts = 0;

  constructor(options: HlsSourceOptions, deps: { readonly clock: Clock; readonly reader: HlsReader }) {
    super(deps);
    this.#options = options;
    this.#reader = deps.reader;
    this.#clock = deps.clock;
    this.#running = this.#run();
  }

  override timeoutError(timeoutS: number): AgentError {
    if (this.#reader.isWaiting)
      return new AgentError('camera_no_frame', `the playlist got no new segment within ${timeoutS} s`, {
        context: { timeoutS },
        hint: CAUSE_REMEDIES.stopped_stream,
      });
    const connected = this.#program !== null;
    return new AgentError(
      connected ? 'camera_no_frame' : 'camera_timeout',
      connected ? `connected, but no frame within ${timeoutS} s` : `no playlist within ${timeoutS} s`,
      { context: { timeoutS } },
    );
  }

  override async close(): Promise<void> {
    this.#closing.abort();
    await this.#program?.stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      for await (const part of this.#reader.parts(this.#closing.signal)) await this.#play(part);
      this.fail(new AgentError('camera_ended', 'the stream has ended'));
    } catch (failure) {
      this.fail(
        this.#closing.signal.aborted
          ? new AgentError('camera_ended', 'the capture was closed')
          : asAgentError(failure),
      );
    }
  }

  /** Decodes one part of the stream. Throws the failure of the reader, or that of ffmpeg when no frame comes. */
  async #play(part: AsyncGenerator<Buffer>): Promise<void> {
    const { program: name, fps, redact } = this.#options;
    const framesBefore = this.frameCount;
    const args = buildFfmpegArgs(segmentInput(), fps);
    const program = new ChildProgram({ program: name, args, stdin: null }, { clock: this.#clock });
    this.#program = program;
    program.stdout.on('data', (chunk: Buffer) => this.addBytes(chunk));
    try {
      await pipeline(part, program.stdin);
    } catch (failure) {
      // An ffmpeg that ended early has closed its input. Its exit below says why.
      if (this.#closing.signal.aborted || failure instanceof AgentError) {
        await closeQuietly(() => program.stop());
        throw failure;
      }
    }
    const exit = await program.exited;
    if (exit.kind === 'not_started') throw createMissingProgramError(name, exit.error);
    this.#emptyParts = this.frameCount > framesBefore ? 0 : this.#emptyParts + 1;
    // Without this end, a stream that cannot be read any more would start one ffmpeg after the other.
    if (this.frameCount > 0 && this.#emptyParts < MAX_EMPTY_PARTS) return;
    const { code, detail, hint } = classifyFailure(program.stderrTail(), false);
    throw new AgentError(code, 'ffmpeg cannot read the segments', {
      // ffmpeg may repeat text of the stream, which must not be in the message: it is published.
      context: { exitCode: exit.code, signal: exit.signal, answer: redact(detail) },
      ...(hint === null ? {} : { hint }),
    });
  }
}
