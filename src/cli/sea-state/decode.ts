import { addAbortListener } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { PATH_PROGRAMS } from '../../camera/ffmpeg/source.ts';
import { createMissingProgramError, ChildProgram, runProgram } from '../../camera/child-program.ts';
import { closeAtEnd } from '../../base/closing.ts';
import { systemClock } from '../../base/clock.ts';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import type { PictureSize } from '../../sea-state/layout.ts';

/** Samples per second: more than the shortest wave needs. */
export const SAMPLE_HZ = 2;

interface DecodeOptions {
  /** Arguments that select the input. */
  readonly input: readonly string[];
  readonly filters: string;
  /** Bytes of one picture. */
  readonly sizeBytes: number;
  /** What the program reads from its standard input; null when it reads a file. */
  readonly feed: AsyncIterable<Buffer> | null;
  readonly path: string;
}

/** Runs ffmpeg and yields each picture as raw grey bytes. Throws `camera_program_missing` and `camera_codec`. */
export async function* decodeGrey(
  { input, filters, sizeBytes, feed, path }: DecodeOptions,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const args = ['-v', 'error', '-nostdin', ...input, '-vf', filters, '-f', 'rawvideo', 'pipe:1'];
  const program = new ChildProgram(
    { program: PATH_PROGRAMS.ffmpeg, args, ...(feed ? { stdin: null } : {}) },
    { clock: systemClock },
  );
  using _abort = addAbortListener(signal, () => void program.stop());
  await using _stopped = closeAtEnd(() => program.stop());
  // The program may end before it has read everything.
  const fed = feed && pipeline(feed, program.stdin).catch(ignoreClosedPipe);
  let rest = Buffer.alloc(0);
  let count = 0;
  for await (const chunk of program.stdout as AsyncIterable<Buffer>) {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let at = 0;
    for (; at + sizeBytes <= bytes.length; at += sizeBytes) {
      count += 1;
      yield bytes.subarray(at, at + sizeBytes);
    }
    rest = Buffer.from(bytes.subarray(at));
  }
  signal.throwIfAborted();
  await fed;
  const exit = await program.exited;
  if (exit.kind === 'not_started') throw createMissingProgramError(PATH_PROGRAMS.ffmpeg, exit.error);
  if (count > 0) return;
  const reason = program.stderrTail().trim().split('\n').at(-1)?.slice(-300) ?? '';
  throw new AgentError(
    'camera_codec',
    `ffmpeg finds no picture in ${path}${reason === '' ? '' : `: ${reason}`}`,
  );
}

function ignoreClosedPipe(thrown: unknown): void {
  const code = errorCode(thrown);
  if (code !== 'EPIPE' && code !== 'ERR_STREAM_PREMATURE_CLOSE') throw thrown;
}

/** Size of the pictures of an input. Throws `image_unsupported` when there is none. */
export async function pictureSize(
  input: readonly string[],
  path: string,
  signal: AbortSignal,
  stream = 'v:0',
): Promise<PictureSize> {
  const entries = ['-select_streams', stream, '-show_entries', 'stream=width,height', '-of', 'csv=p=0'];
  const result = await runProgram(
    {
      program: PATH_PROGRAMS.ffprobe,
      args: ['-v', 'error', ...entries, ...input],
      maxStdoutBytes: 1024,
    },
    { clock: systemClock },
    signal,
  );
  const [width = 0, height = 0] = (result.stdout?.toString('latin1') ?? '')
    .trim()
    .split(',')
    .map(Number.parseFloat);
  if (!(width > 0 && height > 0))
    throw new AgentError('image_unsupported', `${path} is no image that ffmpeg can read`);
  return { width, height };
}

/** Without a pattern type, ffmpeg takes `a%03d.png` for the names of many files. Other formats than these have no pattern. */
export const asOneImage = (path: string): readonly string[] => [
  ...(/\.(jpe?g|png|webp)$/i.test(path) ? ['-f', 'image2', '-pattern_type', 'none'] : []),
  '-i',
  `file:${path}`,
];

/** ffmpeg filters that make small grey pictures. */
export const smallGrey = ({ width, height }: PictureSize): string =>
  `scale=${String(width)}:${String(height)}:flags=area,format=gray`;
