import { describe, expect, it } from 'vitest';
import { CameraView } from '../../../src/geometry/camera-view.ts';
import { fitPose } from '../../../src/geometry/fit-pose.ts';
import type { ControlPoint, Lens, Pose, WorldPoint } from '../../../src/geometry/types.ts';
import { seededRandom } from '../../../src/base/random.ts';

const LENS: Lens = { fx: 1400, fy: 1380, cx: 655, cy: 350, distortion: [-0.2, 0.05, 0.001, -0.002, 0] };
const PINHOLE: Lens = { fx: 1300, fy: 1300, cx: 640, cy: 360, distortion: [0, 0, 0, 0, 0] };
/** Map coordinates: large numbers. */
const ORIGIN: WorldPoint = [457_100, 6_422_120, 0];
const POSE: Pose = {
  position: [ORIGIN[0], ORIGIN[1], 18],
  azimuthDeg: 85,
  tiltDeg: 6,
  rollDeg: -2,
};

/** Points on the beach and on two masts, as the camera sees them. */
function pointsSeenBy(lens: Lens, pose: Pose, noisePx = 0): ControlPoint[] {
  const view = new CameraView(lens, pose);
  const random = seededRandom(7);
  const places: readonly (readonly [ahead: number, right: number, up: number])[] = [
    ...([
      [80, -25, 2],
      [95, 20, 2.5],
      [120, -8, 1.2],
      [150, 40, 3],
      [170, -50, 2.2],
    ] as const),
    ...([
      [130, 12, 9],
      [90, -12, 7],
    ] as const),
  ];
  const azimuth = (pose.azimuthDeg * Math.PI) / 180;
  return places.map(([ahead, right, up], index) => {
    const world: WorldPoint = [
      pose.position[0] + ahead * Math.sin(azimuth) + right * Math.cos(azimuth),
      pose.position[1] + ahead * Math.cos(azimuth) - right * Math.sin(azimuth),
      up,
    ];
    const [u, v] = view.project(world) ?? [NaN, NaN];
    const noise = (): number => noisePx * (random() * 2 - 1);
    return { name: `p${String(index)}`, world, pixel: [u + noise(), v + noise()] };
  });
}

const distance = (a: WorldPoint, b: WorldPoint): number => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);

describe('fitPose', () => {
  it.each([0, 60, 85, 179, 268, 330])('finds a camera that looks to %d degrees', (azimuthDeg) => {
    const pose = { ...POSE, azimuthDeg };
    const fit = fitPose(pointsSeenBy(LENS, pose), LENS);
    expect(distance(fit.pose.position, pose.position)).toBeLessThan(0.01);
    expect(fit.pose.azimuthDeg).toBeCloseTo(azimuthDeg, 2);
    expect(fit.pose.tiltDeg).toBeCloseTo(pose.tiltDeg, 2);
    expect(fit.pose.rollDeg).toBeCloseTo(pose.rollDeg, 2);
    expect(fit).toMatchObject({ isAmbiguous: false });
    expect(fit.maxPx).toBeLessThan(0.01);
  });

  it('finds it with points that are off by a pixel, and says by how much', () => {
    const fit = fitPose(pointsSeenBy(LENS, POSE, 1), LENS);
    expect(distance(fit.pose.position, POSE.position)).toBeLessThan(3);
    expect(fit.rmsPx).toBeGreaterThan(0.1);
    expect(fit.rmsPx).toBeLessThan(1.5);
  });

  it('finds the focal length too when only the size of the image is known', () => {
    const fit = fitPose(pointsSeenBy(PINHOLE, POSE), { width: 1280, height: 720 });
    expect(fit.lens.fx).toBeCloseTo(1300, 0);
    expect(distance(fit.pose.position, POSE.position)).toBeLessThan(0.1);
  });

  it('shows a wrong point by its residual', () => {
    const points = pointsSeenBy(LENS, POSE).map((point, index): ControlPoint =>
      index === 2 ? { ...point, pixel: [point.pixel[0] + 30, point.pixel[1]] } : point,
    );
    const { residuals } = fitPose(points, LENS);
    const sizes = residuals.map(([du, dv]) => Math.hypot(du, dv));
    expect(sizes.indexOf(Math.max(...sizes))).toBe(2);
  });

  const points = pointsSeenBy(LENS, POSE);
  const onOneLine = [60, 80, 100, 120, 140, 160].map((ahead): ControlPoint => {
    const world: WorldPoint = [ORIGIN[0] + ahead, ORIGIN[1] + ahead / 10, 2];
    return { name: String(ahead), world, pixel: new CameraView(LENS, POSE).project(world) ?? [0, 0] };
  });
  it.each([
    ['three points', points.slice(0, 3), '3 control points: at least 4 are needed'],
    ['points on one line', onOneLine, 'lie on one line'],
    ['a repeated point', [...points, ...points.slice(0, 1)], 'p0 and p0 are at the same place'],
    ['no point', [], '0 control points'],
    [
      'points with u and v exchanged',
      points.map(({ name, world, pixel: [u, v] }): ControlPoint => ({ name, world, pixel: [v, u] })),
      'no camera fits these points',
    ],
  ])('refuses %s', (_, given, message) => {
    expect(() => fitPose(given, LENS)).toThrow(
      expect.objectContaining({ code: 'pose_unusable', message: expect.stringContaining(message) as string }),
    );
  });
});

describe('CameraView', () => {
  const view = new CameraView(LENS, POSE);

  it('finds the point of the water that a pixel shows', () => {
    for (const u of [100, 640, 1200])
      for (const v of [300, 500, 700]) {
        const point = view.pointAtLevel([u, v], 0.7) ?? [NaN, NaN, NaN];
        expect(point[2]).toBe(0.7);
        const [pu, pv] = view.project(point) ?? [NaN, NaN];
        expect(Math.hypot(pu - u, pv - v)).toBeLessThan(0.01);
      }
  });

  it('finds no point above the horizon, behind the camera, or at a level above it', () => {
    expect(view.pointAtLevel([640, 20], 0)).toBeNull();
    expect(view.project([ORIGIN[0] - 50, ORIGIN[1], 0])).toBeNull();
    expect(view.pointAtLevel([640, 700], 30)).toBeNull();
  });

  it('finds no point where the lens model has no inverse', () => {
    const strong = new CameraView({ ...LENS, distortion: [-3, 0, 0, 0, 0] }, POSE);
    expect(strong.pointAtLevel([1279, 719], 0)).toBeNull();
  });
});
