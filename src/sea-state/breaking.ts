import { findFronts, frontsPerMinute, type Front } from './fronts.ts';
import { findSets } from './sets.ts';
import type { Breaking, PixelSeries } from './types.ts';
import { findWhiteWater, whiteShare, type WhiteWater } from './white-water.ts';

/** Fronts that travel to the shore are at least so many times longer in all than those in the other direction. */
const MIN_DIRECTION_RATIO = 1.5;

/** Measures the breaking of the waves in a clip whose period is known. `moving` are the cells that move with waves. */
export function measureBreaking(
  series: PixelSeries,
  moving: readonly number[],
  { periodS, isShoreKnown }: { readonly periodS: number; readonly isShoreKnown: boolean },
): Breaking {
  const white = findWhiteWater(series, moving);
  const sets = findSets(white, { periodS, rateHz: series.rateHz });
  return {
    whiteShare: whiteShare(white, series),
    perMinute: countFronts(series, white, isShoreKnown),
    sets: sets?.count ?? null,
    setIntervalS: sets?.meanIntervalS ?? null,
  };
}

/**
 * Fronts per minute. Null when as many seem to travel the other way: then the samples are too far apart in time, or what
 * brightens and darkens does not travel.
 */
function countFronts(series: PixelSeries, white: WhiteWater, isShoreKnown: boolean): number | null {
  const down = findFronts(series, white, true);
  const up = findFronts(series, white, false);
  const [shoreward, other] = isShoreKnown || lengthOf(down) >= lengthOf(up) ? [down, up] : [up, down];
  if (lengthOf(shoreward) < lengthOf(other) * MIN_DIRECTION_RATIO) return null;
  return frontsPerMinute(shoreward, series);
}

const lengthOf = (fronts: readonly Front[]): number =>
  fronts.reduce((sum, { points }) => sum + points.length, 0);
