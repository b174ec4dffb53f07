import { severityOf, type DeviceCondition } from '../../../contract/conditions.ts';
import type { Row } from '../device-table.ts';
import { project, toScreen, type MapView, type Point, type Size } from './projection.ts';

/** Devices that are near each other on the screen. */
export interface Cluster {
  readonly key: string;
  readonly rows: readonly Row[];
  readonly points: readonly Point[];
  readonly at: Point;
  readonly worst: DeviceCondition;
}

/** Devices of one square of this size are one mark, px. */
const SQUARE_PX = 46;

export interface Placed {
  readonly row: Row;
  readonly point: Point;
}

/** The devices that have a location: that of their first camera with one. */
export function placeRows(rows: readonly Row[]): readonly Placed[] {
  return rows.flatMap((row) => {
    const location = row.device.info?.cameras.find((camera) => camera.location !== null)?.location;
    return location == null ? [] : [{ row, point: project(location) }];
  });
}

/** Clusters in the window, the worst last, so that they are drawn above the others. */
export function clusterRows(placed: readonly Placed[], view: MapView, size: Size): readonly Cluster[] {
  const squares = new Map<string, { rows: Row[]; points: Point[]; x: number; y: number }>();
  for (const { row, point } of placed) {
    const [x, y] = toScreen(view, size, point);
    if (x < -SQUARE_PX || y < -SQUARE_PX || x > size.width + SQUARE_PX || y > size.height + SQUARE_PX)
      continue;
    // Squares of the map, not of the window: a cluster stays the same while the map moves.
    const key = `${String(Math.floor((point[0] * view.scale) / SQUARE_PX))}/${String(Math.floor((point[1] * view.scale) / SQUARE_PX))}`;
    const square = squares.get(key) ?? { rows: [], points: [], x: 0, y: 0 };
    squares.set(key, square);
    square.rows.push(row);
    square.points.push(point);
    square.x += x;
    square.y += y;
  }
  return [...squares]
    .map(([key, { rows, points, x, y }]) => ({
      key,
      rows,
      points,
      at: [x / rows.length, y / rows.length] as const,
      worst: worstOf(rows),
    }))
    .sort((a, b) => severityOf(b.worst) - severityOf(a.worst));
}

function worstOf(rows: readonly Row[]): DeviceCondition {
  const conditions = rows.map(({ condition }) => condition);
  return conditions.reduce((a, b) => (severityOf(b) < severityOf(a) ? b : a), 'ok');
}
