import { median } from '../base/statistics.ts';
import type { ClipFindings, PixelSeries } from './types.ts';

/** Samples at the times at which the frames really came. */
export interface TimedSamples extends Pick<PixelSeries, 'columns' | 'rows' | 'cellAspect'> {
  /** Samples per second that are wanted. */
  readonly wantedHz: number;
  /** Seconds after the first frame, ascending. */
  readonly timesS: Float64Array;
  /** `[samples, rows, columns]`. */
  readonly values: Uint8Array;
}

/** The samples of a clip, with what its pictures show. */
export interface ClipSamples extends TimedSamples {
  readonly findings: ClipFindings;
}

/** A rate that is lower than the wanted one by less than this is jitter. */
const MIN_RATE_SHARE = 0.85;

/** The rate of the frames, Hz: the wanted one, or the usual one when the camera gives fewer frames. */
function rateOf(timesS: Float64Array, wantedHz: number): number {
  const usualStepS = median(Array.from(timesS.subarray(1), (time, index) => time - (timesS[index] ?? 0)));
  if (usualStepS === null || usualStepS <= 0 || 1 / usualStepS >= MIN_RATE_SHARE * wantedHz) return wantedHz;
  return 1 / usualStepS;
}

/** What the frames from `fromS` to `toS` lack of an even series. */
export function countGaps(
  timesS: Float64Array,
  rateHz: number,
  fromS = 0,
  toS = Infinity,
): Pick<PixelSeries, 'missing' | 'longestGapS'> {
  let missing = 0;
  let longestGapS = 0;
  for (let index = 1; index < timesS.length; index += 1) {
    const at = timesS[index - 1] ?? 0;
    const stepS = (timesS[index] ?? 0) - at;
    if (at < fromS || at >= toS || stepS < 1.5 / rateHz) continue;
    missing += Math.round(stepS * rateHz) - 1;
    longestGapS = Math.max(longestGapS, stepS);
  }
  return { missing, longestGapS };
}

/** The cells of a frame. Called once for each frame, in their order; a frame is used until the one after the next is read. */
export type FrameSource = (index: number) => Uint8Array;

/** Interpolates linearly between the frames, so that the samples are even. */
export function resample({ values, ...shape }: TimedSamples): PixelSeries {
  const stride = shape.columns * shape.rows;
  return resampleFrames(shape, (index) => values.subarray(index * stride, (index + 1) * stride));
}

/** As `resample`, without all frames in the memory. May leave out the last frames. */
export function resampleFrames(
  { timesS, wantedHz, ...shape }: Omit<TimedSamples, 'values'>,
  frameAt: FrameSource,
): PixelSeries {
  const { columns, rows, cellAspect } = shape;
  const rateHz = rateOf(timesS, wantedHz);
  const stride = columns * rows;
  const samples = timesS.length === 0 ? 0 : Math.floor((timesS.at(-1) ?? 0) * rateHz + 1e-6) + 1;
  const even = new Uint8Array(samples * stride);
  let before = 0;
  let start = samples > 0 ? frameAt(0) : even;
  let end = timesS.length > 1 ? frameAt(1) : start;
  for (let sample = 0; sample < samples; sample += 1) {
    const atS = sample / rateHz;
    while (before < timesS.length - 2 && (timesS[before + 1] ?? 0) <= atS) {
      before += 1;
      start = end;
      end = frameAt(before + 1);
    }
    const startS = timesS[before] ?? 0;
    const stepS = (timesS[before + 1] ?? startS) - startS;
    const share = stepS > 0 ? Math.min(1, (atS - startS) / stepS) : 0;
    for (let cell = 0; cell < stride; cell += 1) {
      const value = start[cell] ?? 0;
      even[sample * stride + cell] = Math.round(value + share * ((end[cell] ?? 0) - value));
    }
  }
  return { columns, rows, cellAspect, rateHz, samples, values: even, ...countGaps(timesS, rateHz) };
}
