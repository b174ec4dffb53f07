import { median } from '../base/statistics.ts';
import type { BreakerFace } from '../sea-state/types.ts';
import type { CameraView } from './camera-view.ts';
import { headingOf, type CrestPassage } from './crest-motion.ts';
import type { PixelPoint } from './types.ts';

/** The face of a breaking wave in one column of the image, from the moment at which it turns white. */
export interface SeenBreaker {
  readonly column: number;
  /** Faces with the same number belong to one crest. */
  readonly crest: number;
  readonly timeS: number;
  /** Upper edge of the white water when it appears. */
  readonly crestPixel: PixelPoint;
  /** Its lower edge at that moment, and every `stepS` seconds afterwards. */
  readonly toePixels: readonly PixelPoint[];
  readonly stepS: number;
}

/** The faces in pixels of the image. `pixelOf`: the upper edge of a row of a column. */
export const toSeenBreakers = (
  faces: readonly BreakerFace[],
  rateHz: number,
  pixelOf: (column: number, row: number) => PixelPoint,
): readonly SeenBreaker[] =>
  faces.map(({ column, crest, sample, crestRow, toeRows }) => ({
    ...{ column, crest, timeS: sample / rateHz, stepS: 1 / rateHz },
    crestPixel: pixelOf(column, crestRow),
    // The lower edge of the last white row.
    toePixels: toeRows.map((row) => pixelOf(column, row + 1)),
  }));

export interface MeasuredFace extends Pick<SeenBreaker, 'column' | 'crest' | 'timeS'> {
  readonly heightM: number;
  /** Speed of the crest when it breaks; null when it was not seen for long enough. */
  readonly speedMps: number | null;
  /** Length of the face in the image, pixels. */
  readonly extentPx: number;
}

/** Slope of the face of a breaking wave, as CoastCams assumes (Nuyts et al. 2023). */
const FACE_SLOPE = Math.tan((35 * Math.PI) / 180);
/** Cosine of the largest angle between the line of sight and the path of the wave: beyond it a face is seen from the side. */
const MIN_COSINE = 0.4;
/** The toe must be seen at so many moments. */
const MIN_TOES = 3;
/** The water falls down the face within so many steps at the least. */
const MIN_STEPS = 1;
/** Faces of one crest in columns this near are as high as their median. */
const NEAR_COLUMNS = 2;
/** The speed is measured over this share of the length of the face. */
const SPEED_PATH = 0.5;
/** A pixel more or less changes a shorter face too much. */
const MIN_EXTENT_PX = 4;
const MAX_HEIGHT_M = 15;
const BISECTIONS = 24;
const GRAVITY = 9.81;
/** Height of a breaking wave divided by the depth (McCowan 1894). */
const BREAKER_INDEX = 0.78;

/**
 * Square of the speed of a breaking wave, by its height H: over the depth d = H / 0.78 it runs as in the depth d + H / 2
 * (Hedges 1976).
 */
export const breakerSpeedSquared = (heightM: number): number => GRAVITY * heightM * (1 / BREAKER_INDEX + 0.5);

/** A face on the plane of the water. */
interface PlacedFace {
  readonly breaker: SeenBreaker;
  /** Distance at which its crest seems to be. */
  readonly crestM: number;
  /** Distance of its toe in each step. */
  readonly toesM: readonly number[];
  /** Direction from the camera to it. */
  readonly sight: readonly [x: number, y: number];
  readonly passages: readonly CrestPassage[];
}

/** The heights of faces. `levelM`: level of the water in the coordinates of the pose. */
export function measureFaces(
  breakers: readonly SeenBreaker[],
  view: CameraView,
  levelM: number,
): readonly MeasuredFace[] {
  const placed = breakers.map((breaker) => placeFace(breaker, view, levelM)).filter((face) => face !== null);
  const crests = [...Map.groupBy(placed, ({ breaker }) => breaker.crest).values()];
  const heading = headingOf(crests.map((faces) => faces.flatMap(({ passages }) => passages)));
  const cosineOf = ({ sight: [x, y] }: PlacedFace): number =>
    heading ? -(heading[0] * x + heading[1] * y) : 1;
  const cameraM = view.heightAbove(levelM);
  return crests.flatMap((faces) => {
    const seen = faces.filter((face) => cosineOf(face) >= MIN_COSINE);
    const speedMps = median(seen.map((face) => sightSpeed(face) * cosineOf(face))) ?? 0;
    const measured = seen
      .map((face) => measureFace(face, { speedMps, cosine: cosineOf(face), cameraM }))
      .filter((face) => face !== null);
    return measured.map((face) => ({
      ...face,
      heightM:
        median(
          measured
            .filter(({ column }) => Math.abs(column - face.column) <= NEAR_COLUMNS)
            .map(({ heightM }) => heightM),
        ) ?? face.heightM,
    }));
  });
}

function placeFace(breaker: SeenBreaker, view: CameraView, levelM: number): PlacedFace | null {
  const { crestPixel, toePixels, timeS, stepS } = breaker;
  const crest = view.pointAtLevel(crestPixel, levelM);
  const toes = toePixels.map((pixel) => view.pointAtLevel(pixel, levelM)).filter((toe) => toe !== null);
  const [first] = toes;
  if (!crest || !first || toes.length < Math.max(MIN_TOES, toePixels.length)) return null;
  return {
    breaker,
    crestM: view.distanceTo(crest),
    toesM: toes.map((toe) => view.distanceTo(toe)),
    sight: view.directionTo(first),
    // At first the toe is on its way down the face.
    passages: toes.slice(1).map(([x, y], step) => ({ x, y, timeS: timeS + (step + 1) * stepS })),
  };
}

/** Speed of the toe along the line of sight, towards the camera: the median over all pairs of moments (Theil 1950). */
function sightSpeed({ toesM, breaker: { stepS } }: PlacedFace): number {
  const used = toesM.slice(1);
  const speeds = used.flatMap((from, i) => used.slice(i + 1).map((to, k) => (from - to) / ((k + 1) * stepS)));
  return median(speeds) ?? 0;
}

/**
 * Speed along the line of sight while the toe runs the first half of the length of its face; null when it does not run so far.
 * Later the wave runs in another depth than that in which it broke.
 */
function speedAtBreaking({ toesM, breaker: { stepS } }: PlacedFace, lengthM: number): number | null {
  const [, fromM] = toesM;
  if (fromM === undefined) return null;
  const step = toesM.findIndex((toeM, index) => index > 1 && fromM - toeM >= lengthM * SPEED_PATH);
  return step < 0 ? null : (fromM - (toesM[step] ?? fromM)) / ((step - 1) * stepS);
}

/**
 * Height of one face. On the plane of the water its crest seems to be farther away than its toe by the length L. With the
 * camera at the height h above the water, and a face that leans back by its slope, H = L h / (X + h / slope), where X is the
 * distance at which the crest seems to be. Across the line of sight the slope is smaller.
 */
function measureFace(
  face: PlacedFace,
  {
    speedMps,
    cosine,
    cameraM,
  }: { readonly speedMps: number; readonly cosine: number; readonly cameraM: number },
): MeasuredFace | null {
  const { breaker, crestM, toesM } = face;
  const { column, crest, timeS, crestPixel, toePixels } = breaker;
  const heightPerM = cameraM / (crestM + cameraM / (FACE_SLOPE * cosine));
  const heightFor = (assumedM: number): number =>
    heightPerM * faceLength(face, Math.max(speedMps, Math.sqrt(breakerSpeedSquared(assumedM))) / cosine);
  // The length falls with the assumed height: one height agrees with itself.
  let [low, high] = [0, MAX_HEIGHT_M];
  for (let round = 0; round < BISECTIONS; round += 1) {
    const middle = (low + high) / 2;
    if (heightFor(middle) > middle) low = middle;
    else high = middle;
  }
  const toe = toePixels.at(-1) ?? crestPixel;
  const pathPx = Math.hypot(crestPixel[0] - toe[0], crestPixel[1] - toe[1]);
  const pathM = crestM - (toesM.at(-1) ?? crestM);
  const extentPx = (pathPx * low) / heightPerM / pathM;
  if (!(extentPx >= MIN_EXTENT_PX)) return null;
  const atBreaking = speedAtBreaking(face, low / heightPerM);
  const speed = atBreaking === null ? null : atBreaking * cosine;
  return { column, crest, timeS, heightM: low, speedMps: speed, extentPx };
}

/**
 * Length of a face on the plane of the water. White water begins at the crest, falls down the face, and stays behind on the
 * water as foam: so the crest is not where white water ends, but where it has run since it turned white. Of the lengths at
 * several moments the largest counts, while the wave runs not farther than that.
 */
function faceLength({ crestM, toesM, breaker: { stepS } }: PlacedFace, speed: number): number {
  // It turned white between two moments; by then the crest has run over some of the white water.
  const before = Math.min((speed * stepS) / 2, crestM - (toesM[0] ?? crestM));
  let length = -Infinity;
  for (const [step, toeM] of toesM.entries()) {
    const ranM = before + speed * step * stepS;
    if (step > MIN_STEPS && ranM > length) break;
    length = Math.max(length, crestM - toeM - ranM);
  }
  return length;
}
