import { median } from '../../src/base/statistics.ts';
import { findBreakers } from '../../src/camera/simulated/breakers.ts';
import { sceneAt } from '../../src/camera/simulated/scene.ts';
import { SeaPainter } from '../../src/camera/simulated/sea-painter.ts';
import { computeView } from '../../src/camera/simulated/view.ts';
import {
  measureBreakerHeight,
  toSeenBreakers,
  type BreakerHeight,
  type BreakerReason,
} from '../../src/geometry/breaker-height.ts';
import { CameraView } from '../../src/geometry/camera-view.ts';
import { findBreakerFaces } from '../../src/sea-state/breaker-faces.ts';
import { findWhiteWater } from '../../src/sea-state/white-water.ts';
import type { SimulatedSea } from './seas.ts';

interface BreakerClip {
  readonly durationS: number;
  readonly fps: number;
  readonly widthPx: number;
  /** The height of the camera that is assumed, divided by the true one. Default 1. */
  readonly heightFactor?: number;
}

const COLUMNS = 24;
/** Places along the shore at which the true breakers are counted, metres. */
const SHORE_PLACES_M = [-60, -20, 20, 60];

/** Draws a sea at the full height of its images, and measures its breakers with the true pose. */
export function measureSimulatedBreakers(
  { seed, conditions }: SimulatedSea,
  { durationS, fps, widthPx, heightFactor = 1 }: BreakerClip,
): { readonly height: BreakerHeight | BreakerReason; readonly truthM: number } {
  const { swells = [], tideM = 0 } = conditions;
  const heightPx = Math.round((widthPx * 9) / 16);
  const sceneOf = (motionS: number) =>
    sceneAt({ seed, seaTimeS: 0, motionS, widthPx, heightPx, conditions: { swells, tideM } });
  const view = computeView(sceneOf(0));
  const firstRow = Math.ceil(view.horizonY) + 1;
  const rows = heightPx - firstRow;
  const samples = durationS * fps;
  const painter = new SeaPainter(seed);
  const values = new Uint8Array(samples * rows * COLUMNS);
  const middleOf = (column: number): number => Math.floor(((column + 0.5) * widthPx) / COLUMNS);
  for (let sample = 0; sample < samples; sample += 1) {
    const { rgb } = painter.paint(sceneOf(sample / fps));
    for (let row = 0; row < rows; row += 1)
      for (let column = 0; column < COLUMNS; column += 1) {
        const at = ((firstRow + row) * widthPx + middleOf(column)) * 3;
        values[(sample * rows + row) * COLUMNS + column] =
          0.3 * (rgb[at] ?? 0) + 0.59 * (rgb[at + 1] ?? 0) + 0.11 * (rgb[at + 2] ?? 0);
      }
  }
  const series = {
    ...{ rateHz: fps, samples, columns: COLUMNS, rows, values, cellAspect: null },
    ...{ missing: 0, longestGapS: 0 },
  };
  const cells = Array.from({ length: COLUMNS * rows }, (_, cell) => cell);
  const pixelOf = (column: number, row: number) => [middleOf(column), firstRow + row] as const;
  const seen = toSeenBreakers(findBreakerFaces(series, findWhiteWater(series, cells)), fps, pixelOf);
  const { focalPx, centreX, horizonY, cameraHeightM } = view;
  // The simulated camera is level; its image is shifted, not tilted.
  const camera = new CameraView(
    { fx: focalPx, fy: focalPx, cx: centreX, cy: horizonY, distortion: [0, 0, 0, 0, 0] },
    { position: [0, 0, cameraHeightM * heightFactor], azimuthDeg: 0, tiltDeg: 0, rollDeg: 0 },
  );
  const periodS = swells[0]?.periodS ?? 10;
  const truths = SHORE_PLACES_M.map(
    (sM) => findBreakers({ seed, swells, sM }, { fromS: 0, durationS }).significantM ?? 0,
  );
  return {
    height: measureBreakerHeight(seen, camera, { levelM: tideM, periodS }),
    truthM: median(truths) ?? 0,
  };
}
