/** A point of the frame: 0..1 from its left and from its top. */
export type Point = readonly [number, number];
/** Corners of a polygon, or the two ends of a shore line: first the sea, then the shore. */
export type Points = readonly Point[];

/** What people draw on the frame of a camera. */
export interface Drawing {
  /** The region that the model sees: at most one. */
  readonly region: readonly Points[];
  readonly masks: readonly Points[];
  readonly lines: readonly Points[];
}

export const LAYERS = ['region', 'masks', 'lines'] as const;
export type Layer = (typeof LAYERS)[number];

/** One shape of a drawing. */
export interface ShapeRef {
  readonly layer: Layer;
  readonly index: number;
}

export type DrawingFault = 'crossing' | 'flat' | 'short';

export const EMPTY_DRAWING: Drawing = { region: [], masks: [], lines: [] };
/** As the configuration allows. */
export const MAX_SHAPES: Readonly<Record<Layer, number>> = { region: 1, masks: 32, lines: 32 };
export const MAX_CORNERS = 64;
const MIN_CORNERS = 3;
const MIN_LINE_LENGTH = 0.05;
const MIN_AREA = 1e-5;
const DECIMALS = 4;

export const pointsOf = (drawing: Drawing, { layer, index }: ShapeRef): Points => drawing[layer][index] ?? [];

const clamp = (value: number): number => Number(Math.min(1, Math.max(0, value)).toFixed(DECIMALS));
const clampPoint = ([x, y]: Point): Point => [clamp(x), clamp(y)];

function withShape(drawing: Drawing, { layer, index }: ShapeRef, points: Points | null): Drawing {
  const shapes =
    points === null
      ? drawing[layer].filter((_, at) => at !== index)
      : drawing[layer].map((shape, at) => (at === index ? points : shape));
  return { ...drawing, [layer]: shapes };
}

export const removeShape = (drawing: Drawing, shape: ShapeRef): Drawing => withShape(drawing, shape, null);

export const movePoint = (drawing: Drawing, shape: ShapeRef, at: number, to: Point): Drawing =>
  withShape(
    drawing,
    shape,
    pointsOf(drawing, shape).map((point, index) => (index === at ? clampPoint(to) : point)),
  );

/** Moves a whole shape as far as the frame allows. */
export function moveShape(drawing: Drawing, shape: ShapeRef, [dx, dy]: Point): Drawing {
  const points = pointsOf(drawing, shape);
  const within = (delta: number, values: readonly number[]): number =>
    Math.min(1 - Math.max(...values), Math.max(-Math.min(...values), delta));
  const stepX = within(
    dx,
    points.map(([x]) => x),
  );
  const stepY = within(
    dy,
    points.map(([, y]) => y),
  );
  return withShape(
    drawing,
    shape,
    points.map(([x, y]) => clampPoint([x + stepX, y + stepY])),
  );
}

/** Adds a corner behind the corner `after`, by default in the middle of that side. */
export function insertCorner(drawing: Drawing, shape: ShapeRef, after: number, at?: Point): Drawing {
  const points = pointsOf(drawing, shape);
  if (shape.layer === 'lines' || points.length >= MAX_CORNERS) return drawing;
  const corner = clampPoint(at ?? middleOf(points, after));
  return withShape(drawing, shape, [...points.slice(0, after + 1), corner, ...points.slice(after + 1)]);
}

/** The middle of the side behind a corner. */
export function middleOf(points: Points, after: number): Point {
  const [x, y] = points[after] ?? [0, 0];
  const [nextX, nextY] = points[(after + 1) % points.length] ?? [x, y];
  return [(x + nextX) / 2, (y + nextY) / 2];
}

/** Removes a corner; the whole shape when it would have too few of them. */
export function removePoint(drawing: Drawing, shape: ShapeRef, at: number): Drawing {
  const points = pointsOf(drawing, shape);
  if (shape.layer === 'lines' || points.length <= MIN_CORNERS) return removeShape(drawing, shape);
  return withShape(
    drawing,
    shape,
    points.filter((_, index) => index !== at),
  );
}

/** Adds a rectangle, or a line, between two points. Null when the layer is full. */
export function addShape(
  drawing: Drawing,
  layer: Layer,
  from: Point,
  to: Point,
): { readonly drawing: Drawing; readonly shape: ShapeRef } | null {
  const shapes = drawing[layer];
  if (shapes.length >= MAX_SHAPES[layer]) return null;
  const [x1, y1] = clampPoint(from);
  const [x2, y2] = clampPoint(to);
  const points: Points =
    layer === 'lines'
      ? [
          [x1, y1],
          [x2, y2],
        ]
      : [
          [Math.min(x1, x2), Math.min(y1, y2)],
          [Math.max(x1, x2), Math.min(y1, y2)],
          [Math.max(x1, x2), Math.max(y1, y2)],
          [Math.min(x1, x2), Math.max(y1, y2)],
        ];
  return {
    drawing: { ...drawing, [layer]: [...shapes, points] },
    shape: { layer, index: shapes.length },
  };
}

/** Adds a shape of a usual size, beside those that are there. */
export function addUsualShape(
  drawing: Drawing,
  layer: Layer,
): { readonly drawing: Drawing; readonly shape: ShapeRef } | null {
  const step = (drawing[layer].length % 6) * 0.06;
  if (layer === 'region') return addShape(drawing, layer, [0.05, 0.3], [0.95, 0.95]);
  if (layer === 'lines') return addShape(drawing, layer, [0.3 + step, 0.45], [0.35 + step, 0.85]);
  return addShape(drawing, layer, [0.15 + step, 0.15 + step], [0.45 + step, 0.4 + step]);
}

/** Why the agent would refuse a shape; null when it is valid. */
export function faultOf(layer: Layer, points: Points): DrawingFault | null {
  if (layer === 'lines') {
    const [[x1, y1], [x2, y2]] = [points[0] ?? [0, 0], points[1] ?? [0, 0]];
    return Math.hypot(x2 - x1, y2 - y1) < MIN_LINE_LENGTH ? 'short' : null;
  }
  if (hasCrossingSides(points)) return 'crossing';
  return areaOf(points) < MIN_AREA ? 'flat' : null;
}

export const hasFault = (drawing: Drawing): boolean =>
  LAYERS.some((layer) => drawing[layer].some((points) => faultOf(layer, points) !== null));

function areaOf(points: Points): number {
  let twice = 0;
  points.forEach(([x, y], index) => {
    const [nextX, nextY] = points[(index + 1) % points.length] ?? [x, y];
    twice += x * nextY - nextX * y;
  });
  return Math.abs(twice) / 2;
}

function hasCrossingSides(points: Points): boolean {
  const count = points.length;
  const corner = (index: number): Point => points[index % count] ?? [0, 0];
  for (let i = 0; i < count; i += 1)
    for (let j = i + 2; j < count; j += 1) {
      const areNeighbours = i === 0 && j === count - 1;
      if (!areNeighbours && doCross(corner(i), corner(i + 1), corner(j), corner(j + 1))) return true;
    }
  return false;
}

function doCross(a: Point, b: Point, c: Point, d: Point): boolean {
  const side = (p: Point, q: Point, r: Point): number =>
    Math.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]));
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}
