import { AgentError } from '../base/errors.ts';
import { CameraView } from './camera-view.ts';
import { checkPoints, localFrame, spanOf, type LocalFrame } from './control-points.ts';
import { minimiseSquares } from './least-squares.ts';
import type { ControlPoint, Lens, PixelPoint, Pose, WorldPoint } from './types.ts';

export interface PoseFit {
  readonly pose: Pose;
  readonly lens: Lens;
  /** Measured pixel minus projected pixel, in the order of the points. */
  readonly residuals: readonly PixelPoint[];
  /** Root of the mean squared distance of the points from their projections, pixels. */
  readonly rmsPx: number;
  /** The largest of these distances, pixels. */
  readonly maxPx: number;
  /** True when a clearly different position fits about as well. */
  readonly isAmbiguous: boolean;
}

/** A lens of which only the image is known: square pixels, no distortion, principal point in the middle. */
export interface UnknownLens {
  readonly width: number;
  readonly height: number;
}

/** Three points determine a pose, but with up to four solutions; the fourth selects one of them. */
const MIN_POINTS = 4;
/** In a narrow view, a longer focal length looks nearly the same as a smaller distance. */
const MIN_POINTS_UNKNOWN_LENS = 6;
/** A fit whose error is larger, as a share of the span of the points in the image, has not found the camera. */
const MAX_RMS_SHARE = 0.05;
/** The camera of the first fits: all directions, distances from the points in units of their spread, focal lengths in image widths. */
const START_AZIMUTHS = Array.from({ length: 12 }, (_, index) => (index * Math.PI) / 6);
const START_TILTS = [0.05, 0.25, 0.8];
const START_DISTANCES = [0.7, 2, 6];
const START_FOCAL_WIDTHS = [0.7, 2];
const FIRST_ITERATIONS = 30;
const LAST_ITERATIONS = 200;
/** The best of the first fits are continued. */
const CONTINUED = 8;
/** The pixel of a point behind the camera: far outside, so that the fit does not stay there. */
const BEHIND: PixelPoint = [1e5, 1e5];
/** A fit with at most this multiple of the smallest error fits as well. */
const EQUAL_ERROR_RATIO = 1.5;
/** Errors below this are those of coordinates that are rounded, pixels. */
const ROUNDING_PX = 1;
/** Positions that differ by more, as a share of their distance from the points, are different. */
const DIFFERENT_SHARE = 0.1;

/** x, y, z in units of the spread of the points; azimuth, tilt and roll in radians; without a lens the focal length in widths. */
type Parameters = readonly number[];

interface Minimum {
  readonly parameters: Parameters;
  readonly rmsPx: number;
}

/**
 * Finds the position and direction of a camera from control points: least squares of the distances in the image (Levenberg
 * and Marquardt), from many starting points. Fits the focal length too when the lens is unknown. Throws `pose_unusable` for
 * too few points, for points on one line, and when no pose fits.
 */
export function fitPose(points: readonly ControlPoint[], lens: Lens | UnknownLens): PoseFit {
  checkPoints(points, 'fx' in lens ? MIN_POINTS : MIN_POINTS_UNKNOWN_LENS);
  const frame = localFrame(points);
  const residualsOf = (parameters: Parameters): PixelPoint[] => {
    const view = new CameraView(lensOf(parameters, lens), poseOf(parameters, frame));
    return points.map(({ world, pixel: [u, v] }) => {
      const projected = view.project(world) ?? BEHIND;
      return [u - projected[0], v - projected[1]];
    });
  };
  const minimise = (start: Parameters, maxIterations: number): Minimum => {
    const fit = minimiseSquares((parameters) => residualsOf(parameters).flat(), start, maxIterations);
    return { parameters: fit.parameters, rmsPx: Math.sqrt(fit.error / points.length) };
  };
  const byError = (a: Minimum, b: Minimum): number => a.rmsPx - b.rmsPx;
  const first = startsOf('fx' in lens).map((start) => minimise(start, FIRST_ITERATIONS));
  const last = first
    .sort(byError)
    .slice(0, CONTINUED)
    .map(({ parameters }) => minimise(parameters, LAST_ITERATIONS))
    .sort(byError);
  const best = last[0] ?? { parameters: [], rmsPx: Infinity };
  if (!(best.rmsPx < MAX_RMS_SHARE * spanOf(points)))
    throw new AgentError(
      'pose_unusable',
      `no camera fits these points: the best is ${best.rmsPx.toFixed(0)} pixels off`,
    );
  const residuals = residualsOf(best.parameters);
  return {
    pose: poseOf(best.parameters, frame),
    lens: lensOf(best.parameters, lens),
    residuals,
    rmsPx: best.rmsPx,
    maxPx: Math.max(...residuals.map(([du, dv]) => Math.hypot(du, dv))),
    isAmbiguous: last.some((other) => isOtherSolution(other, best)),
  };
}

function isOtherSolution(other: Minimum, best: Minimum): boolean {
  if (other.rmsPx > EQUAL_ERROR_RATIO * best.rmsPx + ROUNDING_PX) return false;
  const [ax = 0, ay = 0, az = 0] = other.parameters;
  const [bx = 0, by = 0, bz = 0] = best.parameters;
  return Math.hypot(ax - bx, ay - by, az - bz) > DIFFERENT_SHARE * Math.hypot(bx, by, bz);
}

function startsOf(isLensKnown: boolean): readonly Parameters[] {
  const focals = isLensKnown ? [[]] : START_FOCAL_WIDTHS.map((widths) => [widths]);
  return START_AZIMUTHS.flatMap((azimuth) =>
    START_TILTS.flatMap((tilt) =>
      START_DISTANCES.flatMap((distance) =>
        focals.map((focal): Parameters => [
          -distance * Math.sin(azimuth) * Math.cos(tilt),
          -distance * Math.cos(azimuth) * Math.cos(tilt),
          distance * Math.sin(tilt),
          ...[azimuth, tilt, 0],
          ...focal,
        ]),
      ),
    ),
  );
}

function poseOf([x = 0, y = 0, z = 0, azimuth = 0, tilt = 0, roll = 0]: Parameters, frame: LocalFrame): Pose {
  const { middle, spreadM } = frame;
  const position: WorldPoint = [middle[0] + x * spreadM, middle[1] + y * spreadM, middle[2] + z * spreadM];
  return normalisePose({
    position,
    azimuthDeg: degrees(azimuth),
    tiltDeg: degrees(tilt),
    rollDeg: degrees(roll),
  });
}

/** The same direction with azimuth in 0..360, tilt in -90..90 and roll in -180..180 degrees. */
function normalisePose({ position, azimuthDeg, tiltDeg, rollDeg }: Pose): Pose {
  const tilt = wrap(tiltDeg);
  const isOver = Math.abs(tilt) > 90;
  return {
    position,
    azimuthDeg: (wrap(isOver ? azimuthDeg + 180 : azimuthDeg) + 360) % 360,
    tiltDeg: isOver ? Math.sign(tilt) * 180 - tilt : tilt,
    rollDeg: wrap(isOver ? rollDeg + 180 : rollDeg),
  };
}

/** An angle in -180..180 degrees. */
const wrap = (angleDeg: number): number => angleDeg - 360 * Math.round(angleDeg / 360);
const degrees = (radians: number): number => (radians * 180) / Math.PI;

function lensOf(parameters: Parameters, lens: Lens | UnknownLens): Lens {
  if ('fx' in lens) return lens;
  const { width, height } = lens;
  const focal = (parameters[6] ?? 1) * width;
  return { fx: focal, fy: focal, cx: width / 2, cy: height / 2, distortion: [0, 0, 0, 0, 0] };
}
