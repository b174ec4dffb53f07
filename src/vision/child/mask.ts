import type { Polygon } from '../../config/schema.ts';
import type { Box, Picture, Size } from './picture.ts';
import { WHOLE } from './picture.ts';

/** Grey that stands for "nothing here". */
const NEUTRAL = 128;

/**
 * Pixels that any of the polygons touches, widened by `marginPx`: 1 each, row-major. Interiors by the even-odd rule.
 * Errs on the side of covering: a pixel that an edge merely crosses counts.
 */
export function coverage(polygons: readonly Polygon[], size: Size, marginPx: number): Uint8Array {
  const covered = new Uint8Array(size.width * size.height);
  for (const polygon of polygons) {
    for (let y = 0; y < size.height; y++) {
      for (const [from, to] of rowSpans(polygon, size, y, marginPx)) {
        const left = Math.max(0, Math.floor(from - marginPx));
        const right = Math.min(size.width, Math.ceil(to + marginPx));
        if (right > left) covered.fill(1, y * size.width + left, y * size.width + right);
      }
    }
  }
  return covered;
}

/** Spans of x, in pixels, that the polygon touches in rows `y - marginPx` to `y + 1 + marginPx`. */
function* rowSpans(polygon: Polygon, size: Size, y: number, marginPx: number): Iterable<[number, number]> {
  const top = y - marginPx;
  const bottom = y + 1 + marginPx;
  const crossings: number[] = [];
  let previous = polygon[polygon.length - 1];
  for (const corner of polygon) {
    if (previous === undefined) return;
    const [x0, y0] = [previous[0] * size.width, previous[1] * size.height];
    const [x1, y1] = [corner[0] * size.width, corner[1] * size.height];
    previous = corner;
    if (y0 <= y + 0.5 !== y1 <= y + 0.5) crossings.push(x0 + ((y + 0.5 - y0) / (y1 - y0)) * (x1 - x0));
    if (Math.max(y0, y1) < top || Math.min(y0, y1) > bottom) continue;
    const at = (edgeY: number): number => {
      if (y0 === y1) return x0;
      return x0 + Math.min(1, Math.max(0, (edgeY - y0) / (y1 - y0))) * (x1 - x0);
    };
    const ends = y0 === y1 ? [x0, x1] : [at(top), at(bottom)];
    yield [Math.min(...ends), Math.max(...ends)];
  }
  crossings.sort((a, b) => a - b);
  for (let i = 0; i + 1 < crossings.length; i += 2) yield [crossings[i] ?? 0, crossings[i + 1] ?? 0];
}

/** Paints covered pixels, or with `covered` 0 the others, in neutral grey, in place. */
export function paint(rgb: Uint8Array, coverage: Uint8Array, covered: 0 | 1 = 1): void {
  for (let i = 0, p = 0; i < coverage.length; i++, p += 3) {
    if (coverage[i] === covered) rgb.fill(NEUTRAL, p, p + 3);
  }
}

/** Scaling mixes neighbours: a mask is widened by this much, so that nothing of what it hides shows at its edge. */
const SCALING_MARGIN_PX = 3;

/** Paints privacy masks over a decoded picture, in place, before anything else may see it. */
export function applyPrivacyMasks(picture: Picture, masks: readonly Polygon[]): void {
  if (masks.length > 0) paint(picture.data, coverage(masks, picture, SCALING_MARGIN_PX));
}

/** The polygon's bounding box; the whole frame for null. */
export function boundingBox(polygon: Polygon | null): Box {
  if (polygon === null) return WHOLE;
  const xs = polygon.map(([x]) => x);
  const ys = polygon.map(([, y]) => y);
  const box = {
    left: Math.min(...xs),
    top: Math.min(...ys),
    right: Math.max(...xs),
    bottom: Math.max(...ys),
  };
  return box.right > box.left && box.bottom > box.top ? box : WHOLE;
}

/** True for a polygon that fills its bounding box, so that nothing lies outside it. */
const fillsItsBox = (polygon: Polygon, box: Box): boolean =>
  polygon.length === 4 &&
  new Set(polygon.map(([x, y]) => `${x},${y}`)).size === 4 &&
  polygon.every(([x, y]) => (x === box.left || x === box.right) && (y === box.top || y === box.bottom));

/** The picture as the model sees it: neutral outside the region of interest. A copy where anything is painted. */
export function withinRegion(picture: Picture, roi: Polygon | null): Picture {
  if (roi === null || fillsItsBox(roi, boundingBox(roi))) return picture;
  const data = picture.data.slice();
  paint(data, coverage([roi], picture, 0), 0);
  return { ...picture, data };
}
