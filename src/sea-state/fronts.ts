import type { PixelSeries } from './types.ts';
import type { WhiteWater } from './white-water.ts';

/** The edge of white water that travels along a column. */
export interface Front {
  readonly column: number;
  /** Sample at which the front reaches each row; in the order of its travel. */
  readonly points: readonly FrontPoint[];
}

export interface FrontPoint {
  readonly row: number;
  readonly sample: number;
}

/** Time in which a front brightens a cell, seconds. */
const RISE_S = 2;
/** The rise of a front, as a share of the excess of white water: the rest may be foam of the wave before. */
const MIN_RISE_SHARE = 0.6;
/** Time between two rows, seconds: less than nothing for fronts that are oblique or change their brightness. */
const ROW_LAG_S = { least: -0.5, most: 4 } as const;
/** Rows that a front may skip. */
const MAX_SKIPPED_ROWS = 1;
/** A front travels over at least this share of the rows with white water in its column, and over at least `MIN_ROWS`. */
const MIN_TRAVEL_SHARE = 0.2;
const MIN_ROWS = 4;
/** A row with a smaller share of white samples is not part of the zone of white water. */
const MIN_WHITE_SHARE = 0.01;

/**
 * Finds the fronts that appear in a column and travel to the shore. A front is a rise of brightness to white water that
 * comes later in each row. What brightens many rows at once, stays where it is or travels to the sea is none.
 */
export function findFronts(
  series: Pick<PixelSeries, 'columns' | 'rows' | 'rateHz' | 'samples'>,
  white: WhiteWater,
  isShoreDown: boolean,
): readonly Front[] {
  const byColumn = new Map<number, Map<number, readonly number[]>>();
  for (const [index, cell] of white.cells.entries()) {
    const rises = findRises(series, white, index);
    if (rises === null) continue;
    const column = cell % series.columns;
    const rows = byColumn.get(column) ?? new Map<number, readonly number[]>();
    rows.set(Math.floor(cell / series.columns), rises);
    byColumn.set(column, rows);
  }
  return [...byColumn].flatMap(([column, rows]) =>
    linkRises(rows, isShoreDown, series.rateHz)
      .filter((points) => isTravel(points, rows.size))
      .map((points) => ({ column, points })),
  );
}

/** Samples at which white water reaches a cell; null when the cell hardly ever is white. */
function findRises(
  { samples, rateHz }: Pick<PixelSeries, 'samples' | 'rateHz'>,
  { excess, threshold }: WhiteWater,
  index: number,
): readonly number[] | null {
  const levels = excess.subarray(index * samples, (index + 1) * samples);
  const lag = Math.max(1, Math.round(RISE_S * rateHz));
  const riseAt = (sample: number): number => {
    let least = 255;
    for (let at = Math.max(0, sample - lag); at < sample; at += 1) least = Math.min(least, levels[at] ?? 0);
    return (levels[sample] ?? 0) - least;
  };
  const rises: number[] = [];
  let white = 0;
  let isRising = false;
  for (let sample = 1; sample < samples; sample += 1) {
    const isWhite = (levels[sample] ?? 0) >= threshold;
    const wasRising = isRising;
    isRising = isWhite && riseAt(sample) >= threshold * MIN_RISE_SHARE;
    if (isWhite) white += 1;
    if (isRising && !wasRising) rises.push(sample);
  }
  return white >= samples * MIN_WHITE_SHARE ? rises : null;
}

/** Links rises in neighbouring rows: each to the nearest one in time that no other front has taken. */
function linkRises(
  rows: ReadonlyMap<number, readonly number[]>,
  isShoreDown: boolean,
  rateHz: number,
): readonly (readonly FrontPoint[])[] {
  const order = [...rows.keys()].toSorted((a, b) => (isShoreDown ? a - b : b - a));
  const complete: FrontPoint[][] = [];
  let open: FrontPoint[][] = [];
  for (const row of order) {
    const reachable = open.filter((points) => Math.abs(row - lastOf(points).row) <= MAX_SKIPPED_ROWS + 1);
    complete.push(...open.filter((points) => !reachable.includes(points)));
    const rises = rows.get(row) ?? [];
    const pairs = reachable.flatMap((points) => {
      const last = lastOf(points);
      const steps = Math.abs(row - last.row);
      const expected = last.sample + steps * slopeOf(points, rateHz);
      return rises
        .filter((sample) => {
          const lagS = (sample - last.sample) / rateHz;
          return lagS >= ROW_LAG_S.least && lagS <= ROW_LAG_S.most * steps;
        })
        .map((sample) => ({ points, sample, distance: Math.abs(sample - expected) }));
    });
    const taken = new Set<number>();
    const extended = new Set<FrontPoint[]>();
    for (const { points, sample } of pairs.toSorted((a, b) => a.distance - b.distance)) {
      if (taken.has(sample) || extended.has(points)) continue;
      taken.add(sample);
      extended.add(points);
      points.push({ row, sample });
    }
    open = [...reachable, ...rises.filter((sample) => !taken.has(sample)).map((sample) => [{ row, sample }])];
  }
  return [...complete, ...open];
}

const lastOf = (points: readonly FrontPoint[]): FrontPoint => points.at(-1) ?? { row: 0, sample: 0 };

/** Samples per row over the last rows; half a second for a front that has just appeared. */
function slopeOf(points: readonly FrontPoint[], rateHz: number): number {
  const last = lastOf(points);
  const before = points.at(-5) ?? points[0] ?? last;
  const rows = Math.abs(last.row - before.row);
  return rows < 2 ? 0.5 * rateHz : (last.sample - before.sample) / rows;
}

function isTravel(points: readonly FrontPoint[], whiteRows: number): boolean {
  const [first] = points;
  if (!first || points.length < Math.max(MIN_ROWS, MIN_TRAVEL_SHARE * whiteRows)) return false;
  return lastOf(points).sample > first.sample;
}

/**
 * Fronts per minute: in each column with fronts, those that pass the row which most pass (a wave that breaks twice counts
 * once); the median over the columns. 0 without fronts.
 */
export function frontsPerMinute(
  fronts: readonly Front[],
  { samples, rateHz }: Pick<PixelSeries, 'samples' | 'rateHz'>,
): number {
  const byColumn = Map.groupBy(fronts, ({ column }) => column);
  const most = [...byColumn.values()]
    .map((own) => {
      const passing = new Map<number, number>();
      for (const { row } of own.flatMap(({ points }) => points))
        passing.set(row, (passing.get(row) ?? 0) + 1);
      return Math.max(...passing.values());
    })
    .toSorted((a, b) => a - b);
  return ((most[most.length >> 1] ?? 0) * 60) / (samples / rateHz);
}
