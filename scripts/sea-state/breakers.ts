import { seededRandom } from '../../src/base/random.ts';
import { median } from '../../src/base/statistics.ts';
import { findBreakers } from '../../src/camera/simulated/breakers.ts';
import { sceneAt } from '../../src/camera/simulated/scene.ts';
import {
  measureBreakerHeight,
  type BreakerHeight,
  type BreakerReason,
} from '../../src/geometry/breaker-height.ts';
import { CameraView } from '../../src/geometry/camera-view.ts';
import { toSeenBreakers } from '../../src/geometry/face-height.ts';
import { findBreakerFaces } from '../../src/sea-state/breaker-faces.ts';
import { findWhiteWater } from '../../src/sea-state/white-water.ts';
import { drawColumns } from './column-painter.ts';
import type { SimulatedSea } from './seas.ts';

interface BreakerClip {
  readonly durationS: number;
  readonly fps: number;
  readonly widthPx: number;
}

const COLUMNS = 24;
/** Places along the shore at which the true breakers are counted, metres. */
const SHORE_PLACES_M = [-60, -20, 20, 60];

/** Draws a sea at the full height of its images, and measures its breakers with the true pose. */
export function measureSimulatedBreakers(
  { seed, conditions }: SimulatedSea,
  { durationS, fps, widthPx }: BreakerClip,
): { readonly height: BreakerHeight | BreakerReason; readonly truthM: number } {
  const { swells = [], tideM = 0 } = conditions;
  const heightPx = Math.round((widthPx * 9) / 16);
  const sceneOf = (motionS: number) =>
    sceneAt({ seed, seaTimeS: 0, motionS, widthPx, heightPx, conditions: { swells, tideM } });
  const samples = durationS * fps;
  const middleOf = (column: number): number => Math.floor(((column + 0.5) * widthPx) / COLUMNS);
  const { view, firstRow, rows, values } = drawColumns({
    ...{ seed, samples, random: seededRandom(seed) },
    columnsPx: Array.from({ length: COLUMNS }, (_, column) => middleOf(column)),
    sceneOf: (sample) => sceneOf(sample / fps),
  });
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
    { position: [0, 0, cameraHeightM], azimuthDeg: 0, tiltDeg: 0, rollDeg: 0 },
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
