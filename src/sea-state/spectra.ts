import FFT from 'fft.js';
import { copyCellSeries } from './cell-series.ts';
import type { PixelSeries } from './types.ts';
import { waveBand } from './wave-band.ts';

/** Length of a segment, seconds: some ten waves of the longest swell, and several segments in one clip. */
const SEGMENT_S = 128;

/** Cells whose series are read together. */
const BLOCK_CELLS = 64;
/** Higher frequencies are not kept: no sea waves are there, and the background is fitted below. */
const MAX_FREQUENCY_HZ = 0.5;

/** Fourier transforms of overlapping segments of the series of some cells (Welch 1967). */
export interface SegmentSpectra {
  readonly frequenciesHz: Float64Array;
  readonly segments: number;
  readonly cells: readonly number[];
  /** `[cells, segments, frequencies]`. */
  readonly re: Float32Array;
  readonly im: Float32Array;
}

/** Number of samples of a segment: a power of two, at most the length of the series. */
export function segmentLength(series: PixelSeries): number {
  const wanted = 2 ** Math.round(Math.log2(SEGMENT_S * series.rateHz));
  return Math.min(wanted, 2 ** Math.floor(Math.log2(series.samples)));
}

/**
 * Removes the linear trend of each segment, applies a Hann window, and transforms. Segments overlap by at least a half.
 * `reused`: spectra of at least as many cells of this series that are not used any more; their memory is used again.
 */
export function segmentSpectra(
  series: PixelSeries,
  cells: readonly number[],
  reused: SegmentSpectra | null = null,
): SegmentSpectra {
  const length = segmentLength(series);
  const starts = segmentStarts(series.samples, length);
  const bins = Math.floor(Math.min(length / 2, (MAX_FREQUENCY_HZ * length) / series.rateHz)) + 1;
  const size = cells.length * starts.length * bins;
  const re = reused?.re.subarray(0, size) ?? new Float32Array(size);
  const im = reused?.im.subarray(0, size) ?? new Float32Array(size);
  const window = Float64Array.from({ length }, (_, i) => Math.sin((Math.PI * (i + 0.5)) / length) ** 2);
  const fft = new FFT(length);
  const out = fft.createComplexArray();
  const samples = new Float64Array(length);
  const block = new Uint8Array(Math.min(cells.length, BLOCK_CELLS) * series.samples);
  let at = 0;
  for (let index = 0; index < cells.length; index += 1) {
    const inBlock = index % BLOCK_CELLS;
    if (inBlock === 0) copyCellSeries(series, cells.slice(index, index + BLOCK_CELLS), block);
    for (const start of starts) {
      const from = inBlock * series.samples + start;
      for (let i = 0; i < length; i += 1) samples[i] = block[from + i] ?? 0;
      removeTrend(samples);
      for (let i = 0; i < length; i += 1) samples[i] = (samples[i] ?? 0) * (window[i] ?? 0);
      fft.realTransform(out, samples);
      for (let bin = 0; bin < bins; bin += 1, at += 1) {
        re[at] = out[2 * bin] ?? 0;
        im[at] = out[2 * bin + 1] ?? 0;
      }
    }
  }
  const frequenciesHz = Float64Array.from({ length: bins }, (_, bin) => (bin * series.rateHz) / length);
  return { frequenciesHz, segments: starts.length, cells, re, im };
}

/** Starts of the segments, spread evenly from the first sample to the last. */
function segmentStarts(samples: number, length: number): readonly number[] {
  const steps = Math.ceil((samples - length) / (length / 2));
  return Array.from({ length: steps + 1 }, (_, i) =>
    steps === 0 ? 0 : Math.round((i * (samples - length)) / steps),
  );
}

/** Subtracts the line of least squares, in place. */
export function removeTrend(values: Float64Array): void {
  const n = values.length;
  const middle = (n - 1) / 2;
  let sum = 0;
  let weighted = 0;
  for (let i = 0; i < n; i += 1) {
    sum += values[i] ?? 0;
    weighted += (i - middle) * (values[i] ?? 0);
  }
  const slope = weighted / ((n * (n * n - 1)) / 12);
  for (let i = 0; i < n; i += 1) values[i] = (values[i] ?? 0) - sum / n - slope * (i - middle);
}

/** Power of each cell and segment, in the wave band and the frequencies next to it. */
export interface CellPowers {
  readonly frequenciesHz: Float64Array;
  readonly cells: number;
  readonly segments: number;
  /** `[cells, segments, frequencies]`. */
  readonly power: Float32Array;
}

export function cellPowers({ frequenciesHz, cells, segments, re, im }: SegmentSpectra): CellPowers {
  const power = new Float32Array(re.length);
  for (let i = 0; i < power.length; i += 1) power[i] = (re[i] ?? 0) ** 2 + (im[i] ?? 0) ** 2;
  return { frequenciesHz, cells: cells.length, segments, power };
}

/**
 * Median over the cells of their mean spectra over the segments, each divided by its own energy in the wave band: a few
 * cells with other movements do not change it. `cells` and `segments` may name one several times.
 */
export function medianDensity(
  { frequenciesHz, power, ...counts }: CellPowers,
  cells: readonly number[] = range(counts.cells),
  segments: readonly number[] = range(counts.segments),
): Float64Array {
  const bins = frequenciesHz.length;
  const { first, last } = waveBand(frequenciesHz);
  const byBin = Array.from({ length: bins }, () => new Float64Array(cells.length));
  const sums = new Float64Array(bins);
  for (const [at, cell] of cells.entries()) {
    sums.fill(0);
    for (const segment of segments) {
      const from = (cell * counts.segments + segment) * bins;
      for (let bin = 0; bin < bins; bin += 1) sums[bin] = (sums[bin] ?? 0) + (power[from + bin] ?? 0);
    }
    let energy = 0;
    for (let bin = first; bin <= last; bin += 1) energy += sums[bin] ?? 0;
    for (const [bin, values] of byBin.entries()) values[at] = (sums[bin] ?? 0) / energy;
  }
  return Float64Array.from(byBin, (values) => values.sort()[values.length >> 1] ?? 0);
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);
