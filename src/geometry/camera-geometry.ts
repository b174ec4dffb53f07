import { readFile } from 'node:fs/promises';
import { AgentError } from '../base/errors.ts';
import type { GeometrySettings } from '../config/schema.ts';
import { CameraView } from './camera-view.ts';
import { viewInImage } from './image-scale.ts';
import { parsePoseFile, type ImageSize } from './pose-file.ts';
import { parseTideStation, predictTide } from './tide.ts';

/** The level of the water as people set it, metres; null: not set. */
export interface SetLevel {
  /** Mean sea level, in place of `tide.offsetM`. */
  readonly offsetM: number | null;
  /** Level above mean sea level, where none is predicted. */
  readonly heightM: number | null;
}

/** Where a camera is, and the level of its water. */
export interface CameraGeometry {
  /** The view in frames of a size. Throws `pose_unusable` when the pose is for frames of another shape. */
  viewIn(size: ImageSize): CameraView;
  /** First row below the horizon over the whole width, 0..1 of the height; 1 when the view sees no water. */
  readonly horizon01: number;
  /**
   * Level of the water in the heights of the geometry, metres; null when it is unknown. `timeMs`: ms since 1970, null while the
   * clock is not set.
   */
  levelAt(timeMs: number | null, set?: SetLevel): number | null;
}

const NOT_SET: SetLevel = { offsetM: null, heightM: null };
/** Without a field of view it only matters for the lean of the faces and for distances. */
const DEFAULT_FOV_DEG = 60;
/** For the horizon, before the first frame has come. */
const USUAL_SIZE = { width: 1600, height: 900 } as const;
const RADIANS = Math.PI / 180;

/** Reads the files of the geometry. Rejects with `pose_unusable` and `tide_invalid`. */
export async function loadGeometry(settings: GeometrySettings): Promise<CameraGeometry> {
  const { pose, tide } = settings;
  const file = pose === undefined ? null : parsePoseFile(await readText(pose, 'pose_unusable'));
  const offsetM = tide?.offsetM ?? 0;
  const constituents =
    tide?.station === undefined
      ? tide?.constituents
      : parseTideStation(await readText(tide.station, 'tide_invalid'));
  const predict = constituents && predictTide(constituents);
  const viewIn = (size: ImageSize): CameraView =>
    file ? viewInImage(file, size) : levelView(settings, size);
  const size = file?.image ?? USUAL_SIZE;
  return {
    viewIn,
    horizon01: firstWaterRow(viewIn(size), size),
    levelAt: (timeMs, set = NOT_SET) => {
      const meanM = set.offsetM ?? offsetM;
      if (predict) return timeMs === null ? null : meanM + predict(timeMs);
      if (set.heightM !== null) return meanM + set.heightM;
      return tide || set.offsetM !== null ? meanM : null;
    },
  };
}

/** The view of a level camera of which its height and the horizon, or its tilt and field of view, are known. */
function levelView(
  { cameraHeightM = NaN, horizonRow = 0, tiltDeg, fovDeg = DEFAULT_FOV_DEG }: GeometrySettings,
  { width, height }: ImageSize,
): CameraView {
  const focal = width / 2 / Math.tan((fovDeg / 2) * RADIANS);
  const horizonTilt = Math.atan((height / 2 - horizonRow * height) / focal) / RADIANS;
  return new CameraView(
    { fx: focal, fy: focal, cx: width / 2, cy: height / 2, distortion: [0, 0, 0, 0, 0] },
    { position: [0, 0, cameraHeightM], azimuthDeg: 0, tiltDeg: tiltDeg ?? horizonTilt, rollDeg: 0 },
  );
}

/** First row below the horizon over the whole width, 0..1 of the height; 1 when the view sees no water. */
export function firstWaterRow(view: CameraView, { width, height }: ImageSize): number {
  const isWater = (row: number): boolean =>
    [0, width / 2, width - 1].every((column) => view.pointAtLevel([column, row], 0) !== null);
  for (let row = 0; row < height; row += 1) if (isWater(row)) return row / height;
  return 1;
}

const readText = (path: string, code: 'pose_unusable' | 'tide_invalid'): Promise<string> =>
  readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AgentError(code, 'a file of the geometry cannot be read', { cause, context: { path } });
  });
