import { unit, wander } from './noise.ts';
import type { Scene } from './scene.ts';

/**
 * A pinhole camera on a cliff with a level axis (tilt is a shift of the image, so vertical lines stay vertical).
 * Shore coordinates in metres: `s` along the shore, positive to the right when facing the sea; `c` from the still water
 * line out to sea.
 */
export interface View {
  readonly focalPx: number;
  readonly centreX: number;
  readonly horizonY: number;
  readonly cameraHeightM: number;
  /** Distance from the camera to the still water line, perpendicular to the shore, metres. */
  readonly setbackM: number;
  /** Sine and cosine of the angle between the camera axis and the seaward direction, positive to the left. */
  readonly sin: number;
  readonly cos: number;
}

export function computeView(scene: Scene): View {
  const { seed, widthPx, heightPx } = scene;
  const { panPx = 0, tiltPx = 0, zoom = 1 } = scene.conditions.move ?? {};
  const focalPx = 0.86 * widthPx * zoom;
  const { tiltDeg = 0, swayDeg = 0 } = scene.conditions;
  const pxPerDeg = (focalPx * Math.PI) / 180;
  const yawRad = ((46 + 6 * unit(seed, 401)) * Math.PI) / 180;
  return {
    focalPx,
    centreX: widthPx / 2 + panPx + pxPerDeg * swayDeg * swayAt(seed + 404, scene.motionS),
    horizonY:
      heightPx / 2 -
      0.17 * heightPx * zoom +
      tiltPx -
      pxPerDeg * (tiltDeg + swayDeg * swayAt(seed + 405, scene.motionS)),
    cameraHeightM: 15 + 2 * unit(seed, 402),
    setbackM: 27 + 3 * unit(seed, 403),
    sin: Math.sin(yawRad),
    cos: Math.cos(yawRad),
  };
}

/** Movement of a pole in the wind, with standard deviation 1: half of it within a second, half with the gusts. */
const swayAt = (seed: number, motionS: number): number =>
  2.9 * (wander(seed, motionS * 1.3) + wander(seed + 10, motionS / 6) - 1);

export interface ScreenPoint {
  readonly x: number;
  readonly y: number;
  /** Pixels per metre at the distance of the point. */
  readonly pxPerM: number;
}

/** Image position of a point in shore coordinates; null if the point is behind the camera. */
export function project(view: View, sM: number, cM: number, upM: number): ScreenPoint | null {
  const outM = cM + view.setbackM;
  const forwardM = outM * view.cos - sM * view.sin;
  if (forwardM < 1) return null;
  const pxPerM = view.focalPx / forwardM;
  return {
    x: view.centreX + (sM * view.cos + outM * view.sin) * pxPerM,
    y: view.horizonY + (view.cameraHeightM - upM) * pxPerM,
    pxPerM,
  };
}
