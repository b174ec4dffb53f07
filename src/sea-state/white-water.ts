import { copyCellSeries } from './cell-series.ts';
import type { PixelSeries } from './types.ts';

/** White water, cell by cell. */
export interface WhiteWater {
  /** The moving cells in which brightness can be told from white water. */
  readonly cells: readonly number[];
  /** Brightness above the dark water of the cell, grey levels 0..255: `[cells, samples]`. */
  readonly excess: Uint8Array;
  /** Smallest excess of white water, grey levels. */
  readonly threshold: number;
}

/** Foam is at least so much brighter than the water, grey levels. Shading and noise of the camera are less. */
const MIN_EXCESS = 25;
/**
 * Foam lies at least so many times further above the median of the water than the darkest water lies below it: shading of
 * waves brightens about as much as it darkens.
 */
const MIN_ASYMMETRY = 2;
/** A cell that is bright for a larger share of the time shows sand or a building behind the water, not foam. */
const MAX_BRIGHT_SHARE = 0.7;
/** Quantiles of the brightness of a cell: its dark water, and its darkest water. */
const BACKGROUND = 0.1;
const DARKEST = 0.05;
/** Quantile over the cells that shows the light of a sample: few cells are white at a time. */
const LIGHT = 0.25;

/**
 * Finds white water in the moving cells: what is clearly brighter than the dark water of the same cell. The threshold
 * between the two is that of Otsu (1979) over all cells. Static brightness (sand, sky) is part of the background; changes
 * of the light of all cells together are subtracted.
 */
export function findWhiteWater(series: PixelSeries, moving: readonly number[]): WhiteWater {
  const { samples } = series;
  const light = lightOf(series, moving);
  const excess = new Uint8Array(moving.length * samples);
  copyCellSeries(series, moving, excess);
  const limits: number[] = [];
  const histogram = new Float64Array(256);
  const counts = new Float64Array(256);
  for (let index = 0; index < moving.length; index += 1) {
    counts.fill(0);
    for (let sample = 0, at = index * samples; sample < samples; sample += 1, at += 1) {
      const level = Math.min(255, Math.max(0, (excess[at] ?? 0) - (light[sample] ?? 0)));
      excess[at] = level;
      counts[level] = (counts[level] ?? 0) + 1;
    }
    const background = quantile(counts, BACKGROUND);
    const median = quantile(counts, 0.5);
    limits.push(median - background + MIN_ASYMMETRY * (median - quantile(counts, DARKEST)));
    for (let at = index * samples; at < (index + 1) * samples; at += 1) {
      const level = Math.max(0, (excess[at] ?? 0) - background);
      excess[at] = level;
      histogram[level] = (histogram[level] ?? 0) + 1;
    }
  }
  const usualLimit = limits.toSorted((a, b) => a - b)[limits.length >> 1] ?? 0;
  const threshold = Math.max(MIN_EXCESS, otsuThreshold(histogram), usualLimit);
  const used = [...moving.keys()].filter(
    (index) => whiteSamples(excess, samples, index, threshold) <= samples * MAX_BRIGHT_SHARE,
  );
  // In place: each copy has megabytes.
  for (const [to, from] of used.entries())
    excess.copyWithin(to * samples, from * samples, (from + 1) * samples);
  return {
    cells: used.map((index) => moving[index] ?? 0),
    excess: excess.subarray(0, used.length * samples),
    threshold,
  };
}

/** Mean share of all cells of the series that is white, 0..1. */
export function whiteShare(
  { excess, threshold }: WhiteWater,
  { columns, rows, samples }: Pick<PixelSeries, 'columns' | 'rows' | 'samples'>,
): number {
  let white = 0;
  for (let at = 0; at < excess.length; at += 1) if ((excess[at] ?? 0) >= threshold) white += 1;
  return white / (columns * rows * samples);
}

function whiteSamples(excess: Uint8Array, samples: number, index: number, threshold: number): number {
  let count = 0;
  for (let at = index * samples; at < (index + 1) * samples; at += 1)
    if ((excess[at] ?? 0) >= threshold) count += 1;
  return count;
}

/** Change of the light in each sample, grey levels, from the darker cells: clouds, and the exposure of the camera. */
function lightOf({ samples, values, columns, rows }: PixelSeries, moving: readonly number[]): Int16Array {
  const stride = columns * rows;
  const sums = new Float64Array(stride);
  for (let from = 0; from < samples * stride; from += stride)
    for (let cell = 0; cell < stride; cell += 1) sums[cell] = (sums[cell] ?? 0) + (values[from + cell] ?? 0);
  const means = sums.map((sum) => Math.round(sum / samples));
  const counts = new Float64Array(511);
  const light = Int16Array.from({ length: samples }, (_, sample) => {
    counts.fill(0);
    for (let index = 0; index < moving.length; index += 1) {
      const cell = moving[index] ?? 0;
      const level = (values[sample * stride + cell] ?? 0) - (means[cell] ?? 0) + 255;
      counts[level] = (counts[level] ?? 0) + 1;
    }
    return quantile(counts, LIGHT);
  });
  const usual = light.toSorted()[samples >> 1] ?? 0;
  return light.map((value) => value - usual);
}

/** Level below which a share of the counts lies. */
function quantile(counts: Float64Array, share: number): number {
  let total = 0;
  for (let level = 0; level < counts.length; level += 1) total += counts[level] ?? 0;
  let rest = share * total;
  for (let level = 0; level < counts.length; level += 1) {
    rest -= counts[level] ?? 0;
    if (rest < 0) return level;
  }
  return counts.length - 1;
}

/** The level that divides a histogram into two classes of the largest variance between them (Otsu 1979). */
function otsuThreshold(histogram: Float64Array): number {
  let total = 0;
  let moment = 0;
  for (const [level, count] of histogram.entries()) {
    total += count;
    moment += level * count;
  }
  let [below, momentBelow, best, threshold] = [0, 0, -1, 0];
  for (const [level, count] of histogram.entries()) {
    below += count;
    momentBelow += level * count;
    const above = total - below;
    if (below === 0 || above === 0) continue;
    const variance = below * above * (momentBelow / below - (moment - momentBelow) / above) ** 2;
    if (variance <= best) continue;
    best = variance;
    threshold = level + 1;
  }
  return threshold;
}
