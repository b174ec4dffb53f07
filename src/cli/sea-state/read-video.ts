import { systemClock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { runProgram } from '../../camera/child-program.ts';
import { probeFilm, statFilm, type Film } from '../../camera/ffmpeg/film.ts';
import { layoutOf, smallSize } from '../../sea-state/layout.ts';
import { countGaps } from '../../sea-state/resample.ts';
import type { PixelSeries } from '../../sea-state/types.ts';
import {
  ClipCollector,
  collectClips,
  DEFAULT_WINDOW_S,
  NO_GAPS,
  type Clip,
  type InputOptions,
} from './clips.ts';
import { PATH_PROGRAMS } from '../../camera/ffmpeg/source.ts';
import { decodeGrey, pictureSize, SAMPLE_HZ, smallGrey } from './decode.ts';

/** Times of all frames of ten hours at 60 per second. */
const MAX_TIMES_BYTES = 32 * 1024 * 1024;

/** Reads a video at two samples per second, or at the rate of its frames when that is lower. */
export async function* readVideo(path: string, options: InputOptions): AsyncGenerator<Clip, void, undefined> {
  const { fps, lines, signal, windowS } = options;
  const deps = { clock: systemClock, programs: PATH_PROGRAMS };
  await statFilm(path);
  const film = await probeFilm(path, deps, signal);
  const times = await frameTimes(path, film, signal);
  const timing =
    fps === null ? fileTiming(times) : { rateHz: Math.min(fps, SAMPLE_HZ), gapsOf: () => NO_GAPS };
  const totalS = fps === null ? (times.at(-1) ?? 0) - (times[0] ?? 0) : times.length / fps;
  const size = await pictureSize(['-i', `file:${path}`], path, signal, String(film.stream));
  const layout = layoutOf(smallSize(size), lines);
  const clips = new ClipCollector(
    { ...layout, rateHz: timing.rateHz },
    windowS ?? DEFAULT_WINDOW_S,
    timing.gapsOf,
  );
  const rate = `fps=${timing.rateHz}:round=near`;
  const filters = [...(fps === null ? [] : [`setpts=N/(${fps}*TB)`]), rate, smallGrey(layout.size)].join(',');
  const input = ['-i', `file:${path}`, '-map', `0:${film.stream}`];
  const pictures = decodeGrey(
    { input, filters, sizeBytes: layout.size.width * layout.size.height, feed: null, path },
    signal,
  );
  yield* collectClips(pictures, clips, Math.ceil(totalS * timing.rateHz), layout, options);
  const last = clips.end();
  if (last) yield last;
}

/** Times of all frames, seconds, ascending, read without decoding them. */
async function frameTimes(path: string, { stream }: Film, signal: AbortSignal): Promise<Float64Array> {
  const entries = ['-select_streams', String(stream), '-show_entries', 'packet=pts_time', '-of', 'csv=p=0'];
  const result = await runProgram(
    {
      program: PATH_PROGRAMS.ffprobe,
      args: ['-v', 'error', ...entries, `file:${path}`],
      maxStdoutBytes: MAX_TIMES_BYTES,
    },
    { clock: systemClock },
    signal,
  );
  if (result.stdout === null)
    throw new AgentError('usage', `${path} has too many frames: divide it into parts of some hours`);
  const times = result.stdout.toString('latin1').split('\n').map(Number.parseFloat);
  return Float64Array.from(times.filter((time) => Number.isFinite(time))).sort();
}

interface Timing {
  readonly rateHz: number;
  readonly gapsOf: (fromS: number, toS: number) => Pick<PixelSeries, 'missing' | 'longestGapS'>;
}

/** A sample without a frame of its own repeats the frame before: it counts as missing. */
function fileTiming(times: Float64Array): Timing {
  const steps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
  const usualStepS = steps.toSorted()[steps.length >> 1] ?? 0;
  // Raw streams such as .h264 have no times: ffmpeg assumes the rate that they state.
  const rateHz = usualStepS > 0 ? Math.min(SAMPLE_HZ, 1 / usualStepS) : SAMPLE_HZ;
  const origin = times[0] ?? 0;
  const gapsOf = (fromS: number, toS: number) => countGaps(times, rateHz, origin + fromS, origin + toS);
  return { rateHz, gapsOf };
}
