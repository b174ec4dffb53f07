import { median } from '../base/statistics.ts';

/** A place on the plane of the water, metres, and when the toe of a crest was there, seconds. */
export interface CrestPassage {
  readonly x: number;
  readonly y: number;
  readonly timeS: number;
}

/** Direction of travel of crests, a unit vector. */
export type Heading = readonly [x: number, y: number];

const MIN_PASSAGES = 8;
/** Crests that were seen over a shorter length, relative to their path, say nothing about their direction. */
const MIN_CONDITION = 0.02;
const MIN_CRESTS = 5;

/**
 * The usual direction in which crests travel: for each crest the plane wave that passes its places at their times, with least
 * squares. Null for too few crests.
 */
export function headingOf(crests: readonly (readonly CrestPassage[])[]): Heading | null {
  const headings = crests.map(headingOfOne).filter((heading) => heading !== null);
  if (headings.length < MIN_CRESTS) return null;
  // The components of unit vectors: angles would have to be unwrapped.
  const x = median(headings.map((heading) => heading[0])) ?? 0;
  const y = median(headings.map((heading) => heading[1])) ?? 0;
  const length = Math.hypot(x, y);
  return length > 0 ? [x / length, y / length] : null;
}

function headingOfOne(passages: readonly CrestPassage[]): Heading | null {
  if (passages.length < MIN_PASSAGES) return null;
  const { xx, xy, yy, xt, yt } = momentsOf(passages);
  const determinant = xx * yy - xy * xy;
  if (!(determinant > MIN_CONDITION * ((xx + yy) / 2) ** 2)) return null;
  const slowX = (yy * xt - xy * yt) / determinant;
  const slowY = (xx * yt - xy * xt) / determinant;
  const length = Math.hypot(slowX, slowY);
  return length > 0 ? [slowX / length, slowY / length] : null;
}

function momentsOf(passages: readonly CrestPassage[]) {
  const count = passages.length;
  const sum = (of: (one: CrestPassage) => number): number =>
    passages.reduce((total, one) => total + of(one), 0);
  const [x, y, t] = [
    sum((one) => one.x) / count,
    sum((one) => one.y) / count,
    sum((one) => one.timeS) / count,
  ];
  return {
    xx: sum((one) => (one.x - x) ** 2),
    xy: sum((one) => (one.x - x) * (one.y - y)),
    yy: sum((one) => (one.y - y) ** 2),
    xt: sum((one) => (one.x - x) * (one.timeS - t)),
    yt: sum((one) => (one.y - y) * (one.timeS - t)),
  };
}
