import type { PixelSeries } from './types.ts';
import { MAX_PERIOD_S } from './wave-band.ts';

/** Cells that are compared. */
const MAX_CELLS = 200;
/** Correlation at the lag of a loop. A sea does not repeat itself to this degree. */
const MIN_CORRELATION = 0.5;
/** Length of the parts that are compared, seconds. */
const PART_S = 20;
/** Number of parts, spread over the clip, that must all come again at the same lag. */
const PARTS = 4;

/**
 * True when the same part of a film is played again and again. Its spectrum would show the length of the loop. Compares
 * second differences, in which ripples, foam and noise count more than the waves: a regular swell looks alike after some
 * periods, they do not.
 */
export function isRepeated(series: PixelSeries, cells: readonly number[]): boolean {
  const step = Math.max(1, Math.floor(cells.length / MAX_CELLS));
  const chosen = cells.filter((_, index) => index % step === 0);
  const differences = secondDifferences(series, chosen);
  const width = chosen.length;
  const part = Math.round(PART_S * series.rateHz);
  const count = series.samples - 2;
  const product = (from: number, to: number): number =>
    sumOfProducts(differences, from * width, to * width, part * width);
  const isAlike = (from: number, to: number): boolean =>
    product(from, to) > MIN_CORRELATION * Math.sqrt(product(from, from) * product(to, to));
  // With a lag of up to half the clip, the parts lie far from each other.
  for (let lag = Math.round(MAX_PERIOD_S * series.rateHz); lag <= count / 2; lag += 1) {
    const lastStart = count - lag - part;
    const starts = Array.from({ length: PARTS }, (_, i) => Math.floor((i * lastStart) / (PARTS - 1)));
    if (starts.every((start) => isAlike(start, start + lag))) return true;
  }
  return false;
}

/** Second differences of the cells over time, `[samples - 2, cells]`. */
function secondDifferences(
  { values, columns, rows, samples }: PixelSeries,
  cells: readonly number[],
): Int16Array {
  const stride = columns * rows;
  const differences = new Int16Array((samples - 2) * cells.length);
  let at = 0;
  for (let sample = 2; sample < samples; sample += 1)
    for (const cell of cells) {
      const now = sample * stride + cell;
      differences[at] =
        (values[now] ?? 0) - 2 * (values[now - stride] ?? 0) + (values[now - 2 * stride] ?? 0);
      at += 1;
    }
  return differences;
}

function sumOfProducts(values: Int16Array, a: number, b: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i += 1) sum += (values[a + i] ?? 0) * (values[b + i] ?? 0);
  return sum;
}
