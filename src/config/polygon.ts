import type { Polygon } from './schema.ts';

/** A sliver smaller than this share of the frame hides or shows nothing: it is a typing error. */
const MIN_AREA01 = 1e-5;

/** Area of a polygon in units of the frame, 0..1 (shoelace formula). */
export function polygonArea01(polygon: Polygon): number {
  let twice = 0;
  polygon.forEach(([x, y], index) => {
    const [nextX, nextY] = polygon[(index + 1) % polygon.length] ?? [x, y];
    twice += x * nextY - nextX * y;
  });
  return Math.abs(twice) / 2;
}

/** What is wrong with the polygon, as "wanted …"; null when it encloses a region. */
export function polygonFault(polygon: Polygon): string | null {
  if (crossesItself(polygon)) return 'a polygon whose sides do not cross';
  if (polygonArea01(polygon) < MIN_AREA01) return 'a polygon with an area';
  return null;
}

type Point = readonly [number, number];

function crossesItself(polygon: Polygon): boolean {
  const count = polygon.length;
  for (let i = 0; i < count; i += 1)
    for (let j = i + 2; j < count; j += 1) {
      if (i === 0 && j === count - 1) continue;
      const [a, b, c, d] = [polygon[i], polygon[i + 1], polygon[j], polygon[(j + 1) % count]];
      if (a && b && c && d && segmentsCross(a, b, c, d)) return true;
    }
  return false;
}

/** Proper crossings only: sides that merely touch are harmless. */
function segmentsCross(a: Point, b: Point, c: Point, d: Point): boolean {
  const side = (p: Point, q: Point, r: Point): number =>
    Math.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]));
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}
