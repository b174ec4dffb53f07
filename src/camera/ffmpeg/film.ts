import { open, stat } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { extname } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import { runProgram } from '../child-program.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';
import type { FfmpegPrograms } from './source.ts';

/** What is known about a video file before a frame of it is decoded. */
export interface Film {
  /** Index of the stream that is shown. */
  readonly stream: number;
  /** Length of that stream, seconds, more than 0; null when neither the stream nor its file states one. */
  readonly lengthS: number | null;
  /** Usual time between two frames, seconds. */
  readonly frameS: number;
  /** False for raw streams such as .h264, which have no timestamps, and for GIF. */
  readonly isSeekable: boolean;
}

interface ProbedStream {
  readonly index: number;
  readonly codec_type?: string;
  readonly width?: number;
  readonly height?: number;
  readonly duration?: string;
  readonly avg_frame_rate?: string;
  readonly disposition?: { readonly default?: number; readonly attached_pic?: number };
  readonly tags?: Readonly<Record<string, string>>;
}

interface Probed {
  readonly streams?: readonly ProbedStream[];
  readonly format?: {
    readonly format_name?: string;
    readonly duration?: string;
    readonly start_time?: string;
  };
}

export interface FilmDeps {
  readonly clock: Clock;
  readonly programs: FfmpegPrograms;
}

const DEFAULT_FRAME_S = 0.2;
const MAX_PROBE_BYTES = 256 * 1024;
const MAX_PROGRESS_BYTES = 4 * 1024 * 1024;
const INCOMPLETE_HINT =
  'wait until the recorder has closed the file, or let it write MKV, MPEG-TS or fragmented MP4, which can be read meanwhile';

/** The state of the file. Throws `camera_unreachable` when it cannot be read, `camera_no_frame` when it is empty. */
export async function statFilm(path: string): Promise<Stats> {
  const file = await stat(path).catch((cause: unknown) => {
    const isForbidden = errorCode(cause) === 'EACCES';
    throw new AgentError(
      'camera_unreachable',
      isForbidden ? 'the video file may not be read' : 'the video file does not exist',
      { context: { path }, cause, ...(isForbidden ? { hint: CAUSE_REMEDIES.no_permission } : {}) },
    );
  });
  if (!file.isFile())
    throw new AgentError('camera_unreachable', 'path names a directory or a device, not a video file', {
      context: { path },
      hint: 'name the file in path; use kind: directory for a directory of images, and kind: v4l2 for a device',
    });
  if (file.size === 0)
    throw new AgentError('camera_no_frame', 'the video file is empty: it has 0 bytes', {
      context: { path },
      hint: 'check that the recorder runs and that its disk is not full',
    });
  return file;
}

/** Reads the headers of the file. Throws `camera_codec` when it has no video, and the codes of `statFilm`. */
export async function probeFilm(path: string, deps: FilmDeps, signal: AbortSignal): Promise<Film> {
  const entries =
    'format=format_name,duration,start_time:stream=index,codec_type,width,height,duration,avg_frame_rate' +
    ':stream_disposition=default,attached_pic:stream_tags=DURATION';
  const args = ['-v', 'error', '-show_entries', entries, '-of', 'json', `file:${path}`];
  const result = await runProgram(
    { program: deps.programs.ffprobe, args, maxStdoutBytes: MAX_PROBE_BYTES },
    deps,
    signal,
  );
  if (result.code !== 0) throw await unreadableError(path, result.stderr);
  const { streams = [], format = {} } = JSON.parse(result.stdout?.toString() ?? '{}') as Probed;
  const stream = chooseStream(streams);
  if (!stream) throw noVideoError(path, streams);
  const frameS = 1 / ratio(stream.avg_frame_rate);
  return {
    stream: stream.index,
    lengthS: seconds(stream.duration) ?? clockTime(stream.tags?.['DURATION']) ?? seconds(format.duration),
    frameS: Number.isFinite(frameS) && frameS > 0 ? frameS : DEFAULT_FRAME_S,
    isSeekable: format.start_time !== undefined && format.format_name !== 'gif',
  };
}

/** The default video, or the largest one. Cover pictures are streams too, but no videos. */
function chooseStream(streams: readonly ProbedStream[]): ProbedStream | undefined {
  const rank = ({ disposition }: ProbedStream): number => disposition?.default ?? 0;
  const pixels = ({ width = 0, height = 0 }: ProbedStream): number => width * height;
  return streams
    .filter((stream) => stream.codec_type === 'video' && !isCover(stream))
    .toSorted((a, b) => rank(b) - rank(a) || pixels(b) - pixels(a))[0];
}

const isCover = ({ disposition }: ProbedStream): boolean => disposition?.attached_pic === 1;

/**
 * Reads the whole file, without decoding it, to find the length of the stream: its header states none, or a wrong one.
 * Null when no frame can be read.
 */
export async function measureFilm(
  path: string,
  film: Film,
  deps: FilmDeps,
  signal: AbortSignal,
): Promise<number | null> {
  const input = ['-v', 'error', '-nostdin', '-progress', 'pipe:1', '-i', `file:${path}`];
  const args = [...input, '-map', `0:${film.stream}`, '-c', 'copy', '-f', 'null', '-'];
  const program = deps.programs.ffmpeg;
  const result = await runProgram({ program, args, maxStdoutBytes: MAX_PROGRESS_BYTES }, deps, signal);
  const text = result.stdout?.toString() ?? '';
  const lastUs = Number(/.*^out_time_us=(\d+)$/ms.exec(text)?.[1]);
  const frames = Number(/.*^frame=(\d+)$/ms.exec(text)?.[1]);
  if (!(frames > 0)) return null;
  return lastUs > 0 ? lastUs / 1e6 + film.frameS : frames * film.frameS;
}

async function unreadableError(path: string, stderr: string): Promise<AgentError> {
  const reason = stderr.trim().split('\n').at(-1)?.replace(`file:${path}: `, '').slice(-300) ?? '';
  const context = { path, stderr: stderr.trim().slice(-300) };
  if (/permission denied/i.test(stderr))
    return new AgentError('camera_unreachable', 'the video file may not be read', {
      context,
      hint: CAUSE_REMEDIES.no_permission,
    });
  if (await isMp4(path)) {
    const fault = stderr.includes('moov atom not found') ? 'has no index (moov)' : `is damaged (${reason})`;
    return new AgentError(
      'camera_codec',
      `the MP4 file ${fault}: it is still being written, or its recording was cut off`,
      { context, hint: INCOMPLETE_HINT },
    );
  }
  return new AgentError('camera_codec', `ffmpeg cannot read the file as a video: ${reason}`, { context });
}

/** True for a file that begins as an MP4 does. ffmpeg also tries files of other formats with such a name as MP4. */
async function isMp4(path: string): Promise<boolean> {
  await using file = await open(path, 'r');
  const { buffer } = await file.read(Buffer.alloc(8), 0, 8, 0);
  return ['ftyp', 'moov', 'mdat', 'free', 'wide', 'skip'].includes(buffer.toString('latin1', 4, 8));
}

function noVideoError(path: string, streams: readonly ProbedStream[]): AgentError {
  const kinds = [
    ...new Set(streams.map((stream) => (isCover(stream) ? 'a cover picture' : stream.codec_type))),
  ];
  const found = kinds.length === 0 ? 'no stream' : kinds.map((kind) => kind ?? 'unknown data').join(' and ');
  return new AgentError('camera_codec', `the file has ${found}, but no video`, {
    context: { path, extension: extname(path) },
    hint: 'name another file in path',
  });
}

/** A positive number of seconds; null for `N/A` and other texts. */
function seconds(text: string | undefined): number | null {
  const value = Number(text);
  return value > 0 && Number.isFinite(value) ? value : null;
}

/** Seconds of `00:01:30.500000000`, as Matroska states the length of a stream; null for other texts. */
function clockTime(text: string | undefined): number | null {
  const [, hours, minutes, rest] = /^(\d+):(\d+):(\d+(?:\.\d+)?)$/.exec(text ?? '') ?? [];
  return seconds(String(Number(hours) * 3600 + Number(minutes) * 60 + Number(rest)));
}

/** The value of `30000/1001`; NaN for other texts. */
function ratio(text: string | undefined): number {
  const [, numerator, denominator] = /^(\d+)\/(\d+)$/.exec(text ?? '') ?? [];
  return Number(numerator) / Number(denominator);
}
