import type { Lens, PixelPoint, Pose, WorldPoint } from './types.ts';

const RADIANS = Math.PI / 180;
/** Points nearer to the plane of the camera are not projected, metres. */
const MIN_DEPTH_M = 0.1;
const UNDISTORT_STEPS = 50;
/** Distance in the normalised image plane: a thousandth of a pixel for a focal length of 1,000 pixels. */
const UNDISTORT_TOLERANCE = 1e-6;

/** A camera at a known place: where a point of the world is in the image, and where a pixel of the water is. */
export class CameraView {
  readonly #lens: Lens;
  readonly #position: WorldPoint;
  readonly #axes: readonly [right: WorldPoint, down: WorldPoint, forward: WorldPoint];

  constructor(lens: Lens, pose: Pose) {
    this.#lens = lens;
    this.#position = pose.position;
    this.#axes = axesOf(pose);
  }

  /** The pixel of a point of the world; null when it is behind the camera. It may lie outside the image. */
  project([x, y, z]: WorldPoint): PixelPoint | null {
    const [px, py, pz] = this.#position;
    const offset: WorldPoint = [x - px, y - py, z - pz];
    const [right, down, forward] = this.#axes;
    const depth = dot(forward, offset);
    if (depth < MIN_DEPTH_M) return null;
    const [a, b] = distort(this.#lens, dot(right, offset) / depth, dot(down, offset) / depth);
    return [this.#lens.fx * a + this.#lens.cx, this.#lens.fy * b + this.#lens.cy];
  }

  /**
   * The point of a level plane that a pixel shows. `levelM` is its height in the coordinates of the pose. Null for a pixel
   * at or above the horizon, and for one that the lens model does not cover.
   */
  pointAtLevel([u, v]: PixelPoint, levelM: number): WorldPoint | null {
    const { fx, fy, cx, cy } = this.#lens;
    const ideal = undistort(this.#lens, (u - cx) / fx, (v - cy) / fy);
    if (!ideal) return null;
    const [right, down, forward] = this.#axes;
    const ray = [0, 1, 2].map(
      (axis) => ideal[0] * (right[axis] ?? 0) + ideal[1] * (down[axis] ?? 0) + (forward[axis] ?? 0),
    ) as unknown as WorldPoint;
    const [px, py, pz] = this.#position;
    const steps = (levelM - pz) / ray[2];
    if (!Number.isFinite(steps) || steps <= 0) return null;
    return [px + steps * ray[0], py + steps * ray[1], levelM];
  }

  /** Height of the camera above a level, metres. */
  heightAbove(levelM: number): number {
    return this.#position[2] - levelM;
  }

  /** Horizontal direction from the camera to a point, a unit vector. */
  directionTo([x, y]: WorldPoint): readonly [x: number, y: number] {
    const [east, north] = [x - this.#position[0], y - this.#position[1]];
    const length = Math.hypot(east, north);
    return [east / length, north / length];
  }

  /** Horizontal distance from the camera, metres. */
  distanceTo([x, y]: WorldPoint): number {
    return Math.hypot(x - this.#position[0], y - this.#position[1]);
  }
}

function axesOf({ azimuthDeg, tiltDeg, rollDeg }: Pose): readonly [WorldPoint, WorldPoint, WorldPoint] {
  const [sinA, cosA] = [Math.sin(azimuthDeg * RADIANS), Math.cos(azimuthDeg * RADIANS)];
  const [sinT, cosT] = [Math.sin(tiltDeg * RADIANS), Math.cos(tiltDeg * RADIANS)];
  const [sinR, cosR] = [Math.sin(rollDeg * RADIANS), Math.cos(rollDeg * RADIANS)];
  const forward: WorldPoint = [sinA * cosT, cosA * cosT, -sinT];
  const right: WorldPoint = [cosA, -sinA, 0];
  const down: WorldPoint = [-sinA * sinT, -cosA * sinT, -cosT];
  return [combine(right, cosR, down, sinR), combine(down, cosR, right, -sinR), forward];
}

function distort({ distortion }: Lens, a: number, b: number): readonly [number, number] {
  const [k1, k2, p1, p2, k3] = distortion;
  const r2 = a * a + b * b;
  const radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3));
  return [
    a * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a * a),
    b * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * a * b,
  ];
}

/** Inverts `distort` by fixed-point iteration; null where it does not converge. */
function undistort(lens: Lens, a: number, b: number): readonly [number, number] | null {
  let [x, y] = [a, b];
  for (let step = 0; step < UNDISTORT_STEPS; step += 1) {
    const [da, db] = distort(lens, x, y);
    if (Math.hypot(a - da, b - db) < UNDISTORT_TOLERANCE) return [x, y];
    [x, y] = [x + a - da, y + b - db];
  }
  return null;
}

const dot = (p: WorldPoint, q: WorldPoint): number => p[0] * q[0] + p[1] * q[1] + p[2] * q[2];

const combine = (p: WorldPoint, ofP: number, q: WorldPoint, ofQ: number): WorldPoint => [
  p[0] * ofP + q[0] * ofQ,
  p[1] * ofP + q[1] * ofQ,
  p[2] * ofP + q[2] * ofQ,
];
