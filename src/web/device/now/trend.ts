import type { SeriesPoint } from '../../../contract/history.ts';

export const TREND_HOURS = 3;
const MIN_POINTS = 6;
const MIN_SPAN_MS = 90 * 60_000;
const HOUR_MS = 3_600_000;
/** A smaller change in three hours is no change to a person: metres, and share of the height. */
const SMALL_CHANGE_M = 0.1;
const SMALL_CHANGE_SHARE = 0.12;
/** A change must be this many of its standard errors. */
const SURE_ERRORS = 2;

export interface Trend {
  readonly direction: 'rising' | 'steady' | 'falling';
  /** In `TREND_HOURS`, metres. */
  readonly changeM: number;
}

/**
 * Fits a line through the measured heights of the last hours. The usual height of the site is no measurement and does not count.
 * Null: too few heights, or they scatter too much to tell.
 */
export function trendOf(points: readonly SeriesPoint[]): Trend | null {
  const heights = points.flatMap(({ at, height_m: heightM, height_basis: basis }) =>
    heightM === null || basis === 'site_median' ? [] : [{ hours: Date.parse(at) / HOUR_MS, heightM }],
  );
  const [first, last] = [heights[0], heights.at(-1)];
  if (!first || !last || heights.length < MIN_POINTS) return null;
  if ((last.hours - first.hours) * HOUR_MS < MIN_SPAN_MS) return null;
  const n = heights.length;
  const meanHours = heights.reduce((sum, { hours }) => sum + hours, 0) / n;
  const meanM = heights.reduce((sum, { heightM }) => sum + heightM, 0) / n;
  const spread = heights.reduce((sum, { hours }) => sum + (hours - meanHours) ** 2, 0);
  const slope =
    heights.reduce((sum, { hours, heightM }) => sum + (hours - meanHours) * (heightM - meanM), 0) / spread;
  const residual = heights.reduce(
    (sum, { hours, heightM }) => sum + (heightM - meanM - slope * (hours - meanHours)) ** 2,
    0,
  );
  const changeM = slope * TREND_HOURS;
  const errorM = Math.sqrt(residual / (n - 2) / spread) * TREND_HOURS;
  const smallM = Math.max(SMALL_CHANGE_M, SMALL_CHANGE_SHARE * meanM);
  if (Math.abs(changeM) >= smallM && Math.abs(changeM) >= SURE_ERRORS * errorM)
    return { direction: changeM > 0 ? 'rising' : 'falling', changeM };
  // `steady` is a statement too: a large change must be excluded.
  return Math.abs(changeM) + SURE_ERRORS * errorM < 2 * smallM ? { direction: 'steady', changeM } : null;
}
