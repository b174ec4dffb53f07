import { seededRandom } from '../base/random.ts';
import { medianDensity, type CellPowers } from './spectra.ts';
import { findWaveTrains, rankTrains, toSpectrum } from './wave-trains.ts';

/** Nominal coverage of the interval of a period, 0..1. */
export const INTERVAL_COVERAGE = 0.8;
const REPLICATES = 200;
/** Cells of one replicate: more change nothing, as neighbours show the same waves. */
const MAX_CELLS = 64;
/** Fixed, so that the same clip gives the same interval. */
const SEED = 20_261_201;
/** Share of the replicates that may show no peak. */
const MAX_LOST_SHARE = 0.3;

/** Peak periods of the one or two strongest trains of each bootstrap replicate: segments and cells drawn with replacement. */
export function bootstrapPeriods(powers: CellPowers, minSnr: number): readonly (readonly number[])[] {
  const next = seededRandom(SEED);
  const draw = (count: number, from: number): number[] =>
    Array.from({ length: count }, () => Math.floor(next() * from));
  return Array.from({ length: REPLICATES }, () => {
    const cells = draw(Math.min(MAX_CELLS, powers.cells), powers.cells);
    const density = medianDensity(powers, cells, draw(powers.segments, powers.segments));
    const { main, second } = rankTrains(findWaveTrains(toSpectrum(powers.frequenciesHz, density)), minSnr);
    return [main, second].flatMap((train) => (train ? [train.periodS] : []));
  });
}

/** The period of each replicate that is nearest to a period, and the other one; NaN where there is none. */
export function nearestPeriods(
  replicates: readonly (readonly number[])[],
  periodS: number,
): { readonly nearest: readonly number[]; readonly other: readonly number[] } {
  const distance = (period: number): number => Math.abs(Math.log(period / periodS));
  const sorted = replicates.map((periods) => periods.toSorted((a, b) => distance(a) - distance(b)));
  return {
    nearest: sorted.map(([nearest = Number.NaN]) => nearest),
    other: sorted.map(([, other = Number.NaN]) => other),
  };
}

/**
 * Quantiles of the replicates, widened for the small number of segments, and at least half a frequency bin to each side.
 * Null when too many replicates have no peak.
 */
export function intervalOf(
  periodS: number,
  replicates: readonly number[],
  { frequenciesHz, segments }: Pick<CellPowers, 'frequenciesHz' | 'segments'>,
): { readonly lowS: number; readonly highS: number } | null {
  const found = replicates.filter((value) => Number.isFinite(value)).toSorted((a, b) => a - b);
  if (found.length < replicates.length * (1 - MAX_LOST_SHARE)) return null;
  const tail = (1 - INTERVAL_COVERAGE) / 2;
  const widening = smallSampleFactor(segments);
  const quantile = (share: number): number =>
    periodS + widening * ((found[Math.round(share * (found.length - 1))] ?? periodS) - periodS);
  const halfBinHz = (frequenciesHz[1] ?? 0) / 2;
  return {
    lowS: Math.min(quantile(tail), 1 / (1 / periodS + halfBinHz)),
    highS: Math.max(quantile(1 - tail), 1 / (1 / periodS - halfBinHz)),
  };
}

/**
 * How much wider the interval of a mean of a few segments is than its bootstrap says: the variance of a replicate is too
 * small by (n - 1) / n, and quantiles are those of Student's distribution (Cornish-Fisher expansion at 90 %).
 */
function smallSampleFactor(segments: number): number {
  const freedom = Math.max(1, segments - 1);
  return Math.sqrt((freedom + 1) / freedom) * (1 + 0.66 / freedom + 0.45 / freedom ** 2);
}
