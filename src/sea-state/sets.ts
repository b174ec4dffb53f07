import type { WhiteWater } from './white-water.ts';

/** Groups of higher waves. */
export interface WaveSets {
  readonly count: number;
  /** Mean time between the middles of sets that follow each other, seconds. */
  readonly meanIntervalS: number;
}

/** Standard deviation divided by mean of the smoothed white area: below, the waves are too even to tell sets apart. */
const MIN_GROUPINESS = 0.25;
/** A set begins and ends so many standard deviations above and below the mean. */
const HYSTERESIS = 0.5;

/**
 * Separates sets by the area of white water, which grows with the energy that breaking waves lose (Carini et al. 2015).
 * It is smoothed over a wave period to each side with a triangular window, as is the energy in the groupiness factor of
 * Funke and Mansard (1980). Null when there are fewer than two sets, or when the waves are too even.
 */
export function findSets(
  { cells, excess, threshold }: WhiteWater,
  { periodS, rateHz }: { readonly periodS: number; readonly rateHz: number },
): WaveSets | null {
  if (cells.length === 0) return null;
  const area = new Float64Array(excess.length / cells.length);
  for (let from = 0; from < excess.length; from += area.length)
    for (let sample = 0; sample < area.length; sample += 1)
      if ((excess[from + sample] ?? 0) >= threshold) area[sample] = (area[sample] ?? 0) + 1;
  const smooth = smoothed(area, Math.round(periodS * rateHz));
  const mean = smooth.reduce((sum, value) => sum + value, 0) / smooth.length;
  const deviation = Math.sqrt(smooth.reduce((sum, value) => sum + (value - mean) ** 2, 0) / smooth.length);
  if (!(deviation >= MIN_GROUPINESS * mean) || mean === 0) return null;
  const middles = middlesOfRuns(smooth, mean, HYSTERESIS * deviation);
  const [first = 0] = middles;
  const last = middles.at(-1) ?? 0;
  if (middles.length < 2) return null;
  return { count: middles.length, meanIntervalS: (last - first) / (middles.length - 1) / rateHz };
}

/** Mean with triangular weights over `reach` samples to each side. */
function smoothed(values: Float64Array, reach: number): Float64Array {
  return values.map((_, at) => {
    let sum = 0;
    let weights = 0;
    for (let i = Math.max(0, at - reach); i <= Math.min(values.length - 1, at + reach); i += 1) {
      const weight = 1 - Math.abs(i - at) / (reach + 1);
      sum += weight * (values[i] ?? 0);
      weights += weight;
    }
    return sum / weights;
  });
}

/** Middles of the runs that rise above `mean + margin` and last until `mean - margin`, samples. */
function middlesOfRuns(values: Float64Array, mean: number, margin: number): readonly number[] {
  const middles: number[] = [];
  let start: number | null = null;
  let above = 0;
  for (const [sample, value] of values.entries()) {
    if (value > mean + margin) {
      start ??= sample;
      above = sample;
    } else if (value < mean - margin && start !== null) {
      middles.push((start + above) / 2);
      start = null;
    }
  }
  if (start !== null) middles.push((start + above) / 2);
  return middles;
}
