import { EVD, Matrix } from 'ml-matrix';
import { AgentError } from '../base/errors.ts';
import type { ControlPoint, WorldPoint } from './types.ts';

/** Points whose spread across their main direction is a smaller share of that along it lie on one line. */
const MIN_SPREAD_RATIO = 0.02;

/** Middle and size of the points: coordinates of a map are large numbers, with which a fit loses its precision. */
export interface LocalFrame {
  readonly middle: WorldPoint;
  /** Largest distance of a point from the middle, metres. */
  readonly spreadM: number;
}

export function localFrame(points: readonly ControlPoint[]): LocalFrame {
  const middle = [0, 1, 2].map(
    (axis) => points.reduce((sum, { world }) => sum + (world[axis] ?? 0), 0) / points.length,
  ) as unknown as WorldPoint;
  const spreadM = Math.max(
    ...points.map(({ world: [x, y, z] }) => Math.hypot(x - middle[0], y - middle[1], z - middle[2])),
  );
  return { middle, spreadM };
}

/** Throws `pose_unusable` when the points do not determine a pose. */
export function checkPoints(points: readonly ControlPoint[], minPoints: number): void {
  const refuse = (message: string): never => {
    throw new AgentError('pose_unusable', message);
  };
  if (points.length < minPoints)
    refuse(`${String(points.length)} control points: at least ${String(minPoints)} are needed`);
  for (const [index, { world, pixel, name }] of points.entries())
    for (const other of points.slice(0, index))
      if (String(other.world) === String(world) || String(other.pixel) === String(pixel))
        refuse(`the points ${other.name} and ${name} are at the same place`);
  if (spreadRatio(points.map(({ world }) => world)) < MIN_SPREAD_RATIO)
    refuse('the control points lie on one line: add points beside it');
  if (spreadRatio(points.map(({ pixel }) => pixel)) < MIN_SPREAD_RATIO)
    refuse('the control points lie on one line in the image: add points above or below it');
}

/** The largest distance of two points in the image along one axis, pixels. */
export function spanOf(points: readonly ControlPoint[]): number {
  const axis = (index: 0 | 1): readonly number[] => points.map(({ pixel }) => pixel[index]);
  return Math.max(...[axis(0), axis(1)].map((values) => Math.max(...values) - Math.min(...values)));
}

/** Standard deviation across the main direction of the points divided by that along it. */
function spreadRatio(points: readonly (readonly number[])[]): number {
  const matrix = new Matrix(points.map((point) => [...point]));
  const centred = matrix.center('column');
  const variances = new EVD(centred.transpose().mmul(centred), { assumeSymmetric: true }).realEigenvalues;
  const [along = 0, across = 0] = [...variances].sort((a, b) => b - a);
  return Math.sqrt(Math.max(0, across) / along);
}
