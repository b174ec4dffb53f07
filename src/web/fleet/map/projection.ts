import type { Location } from '../device-parts.ts';

export type Point = readonly [x: number, y: number];

/** Beyond it, the projection of Mercator grows without bound. */
const MAX_LATITUDE = 80;
/** Degrees of longitude to the right, and downwards in the same scale. */
export function project({ lat, lon }: Location): Point {
  const latitude = Math.max(-MAX_LATITUDE, Math.min(MAX_LATITUDE, lat)) * (Math.PI / 180);
  return [lon, -Math.log(Math.tan(Math.PI / 4 + latitude / 2)) * (180 / Math.PI)];
}

/** What the window shows: the point in its centre, and px per degree. */
export interface MapView {
  readonly center: Point;
  readonly scale: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

const MAX_SCALE = 4000;
export const isClosest = ({ scale }: MapView): boolean => scale >= MAX_SCALE;

export const toScreen = ({ center, scale }: MapView, { width, height }: Size, [x, y]: Point): Point => [
  width / 2 + (x - center[0]) * scale,
  height / 2 + (y - center[1]) * scale,
];

/** The view in which all points are to be seen. */
export function fit(points: readonly Point[], size: Size): MapView {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, right, top, bottom] =
    points.length === 0
      ? [-180, 180, -75, 75]
      : [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const margin = 1.18;
  const scale = Math.min(
    size.width / (margin * Math.max(right - left, 0.2)),
    size.height / (margin * Math.max(bottom - top, 0.2)),
  );
  return limit({ center: [(left + right) / 2, (top + bottom) / 2], scale }, size);
}

/** Zooms by a factor; the point of the screen stays where it is. */
export function zoom(
  view: MapView,
  size: Size,
  factor: number,
  at: Point = [size.width / 2, size.height / 2],
): MapView {
  const scale = Math.max(leastScale(size), Math.min(MAX_SCALE, view.scale * factor));
  const [dx, dy] = [at[0] - size.width / 2, at[1] - size.height / 2];
  const change = 1 / view.scale - 1 / scale;
  return limit({ center: [view.center[0] + dx * change, view.center[1] + dy * change], scale }, size);
}

export const pan = (view: MapView, size: Size, dx: number, dy: number): MapView =>
  limit({ ...view, center: [view.center[0] - dx / view.scale, view.center[1] - dy / view.scale] }, size);

const leastScale = ({ width, height }: Size): number => Math.max(1, Math.min(width / 380, height / 200));

function limit({ center: [x, y], scale }: MapView, size: Size): MapView {
  return {
    center: [Math.max(-185, Math.min(185, x)), Math.max(-130, Math.min(110, y))],
    scale: Math.max(leastScale(size), Math.min(MAX_SCALE, scale)),
  };
}
