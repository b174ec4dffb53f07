import { seededRandom } from '../base/random.ts';
import { mean, median } from '../base/statistics.ts';
import type { BreakerFace } from '../sea-state/types.ts';
import type { CameraView } from './camera-view.ts';
import type { PixelPoint } from './types.ts';

/** The face of a breaking wave in one column of the image, at the moment at which it turns white. */
export interface SeenBreaker {
  readonly column: number;
  /** Faces with the same number belong to one crest. */
  readonly crest: number;
  readonly timeS: number;
  readonly crestPixel: PixelPoint;
  readonly toePixel: PixelPoint;
  /** Where the toe is `laterS` seconds later. */
  readonly laterToePixel: PixelPoint;
  readonly laterS: number;
}

/** The faces in pixels of the image. `pixelOf`: the upper edge of a row of a column. */
export const toSeenBreakers = (
  faces: readonly BreakerFace[],
  rateHz: number,
  pixelOf: (column: number, row: number) => PixelPoint,
): readonly SeenBreaker[] =>
  faces.map(({ column, crest, sample, crestRow, toeRow, laterToeRow, laterS }) => ({
    ...{ column, crest, laterS, timeS: sample / rateHz },
    crestPixel: pixelOf(column, crestRow),
    // The lower edge of the last white row.
    toePixel: pixelOf(column, toeRow + 1),
    laterToePixel: pixelOf(column, laterToeRow + 1),
  }));

/** Why the height of the breakers is not known. */
export type BreakerReason =
  /** The level of the water is unknown, and the camera is so low that it matters. */
  | 'tide_unknown'
  /** Fewer than `MIN_BREAKERS` breaking crests. */
  | 'too_few_breakers'
  /** A pixel more or less changes the height too much. */
  | 'breakers_too_small';

export interface BreakerHeight {
  /** Mean height from toe to crest of the highest third of the breakers, metres. */
  readonly heightM: number;
  readonly lowM: number;
  readonly highM: number;
  /** Crests that were seen. */
  readonly count: number;
  /**
   * Camera height that the speed of the breakers suggests, divided by the given one: a wave that breaks runs as fast as its
   * height and depth allow.
   */
  readonly scaleRatio: number;
}

const MIN_BREAKERS = 20;
/** Nominal coverage of the interval, 0..1. */
const COVERAGE = 0.8;
/** No comparison with wave gauges exists yet: the interval is at least this share to each side. */
const MIN_HALF_WIDTH = 0.2;
/**
 * White water on the back of a crest counts as part of its face: in simulated seas, small breakers were measured up to so much
 * too high, metres.
 */
const MAX_EXCESS_M = 0.8;
const MIN_EXTENT_PX = 4;
/** Half of the range of most tides: heights are proportional to the height of the camera above the water. */
const UNKNOWN_TIDE_M = 1.5;
const MAX_UNKNOWN_SHARE = 0.1;
/** Slope of the face of a breaking wave, as CoastCams assumes (Nuyts et al. 2023). */
const FACE_SLOPE = Math.tan((35 * Math.PI) / 180);
/** Height of a breaking wave divided by the depth (McCowan 1894). */
const BREAKER_INDEX = 0.78;
const GRAVITY = 9.81;
/** A camera height that the speed of the breakers contradicts by more than this factor is doubtful: it shows gross faults alone. */
const MAX_SCALE_RATIO = 2.7;
const REPLICATES = 200;
const SEED = 20_261_201;

interface Measured extends Pick<SeenBreaker, 'column' | 'crest' | 'timeS'> {
  readonly heightM: number;
  readonly speedMps: number;
  readonly extentPx: number;
}

/**
 * The significant height of the breakers: in each column the highest breaker of each wave period, and of all these the mean
 * of the highest third. `levelM`: level of the water in the coordinates of the pose; null when it is unknown.
 */
export function measureBreakerHeight(
  breakers: readonly SeenBreaker[],
  view: CameraView,
  { levelM, periodS }: { readonly levelM: number | null; readonly periodS: number },
): BreakerHeight | BreakerReason {
  const unknownShare = levelM === null ? UNKNOWN_TIDE_M / view.heightAbove(0) : 0;
  if (!(unknownShare <= MAX_UNKNOWN_SHARE)) return 'tide_unknown';
  const measured = breakers.flatMap((breaker) => measure(breaker, view, levelM ?? 0) ?? []);
  const count = new Set(measured.map(({ crest }) => crest)).size;
  if (count < MIN_BREAKERS) return 'too_few_breakers';
  const waves = [...Map.groupBy(measured, ({ timeS }) => Math.floor(timeS / periodS)).values()].map((wave) =>
    [...Map.groupBy(wave, ({ column }) => column).values()].map(highest),
  );
  const third = highestThird(waves.flat());
  if ((median(third.map(({ extentPx }) => extentPx)) ?? 0) < MIN_EXTENT_PX) return 'breakers_too_small';
  const heightOf = (some: readonly (readonly Measured[])[]): number =>
    mean(highestThird(some.flat()).map(({ heightM }) => heightM)) ?? NaN;
  const heightM = heightOf(waves);
  const next = seededRandom(SEED);
  const replicates = Array.from({ length: REPLICATES }, () =>
    heightOf(waves.map(() => waves[Math.floor(next() * waves.length)] ?? [])),
  ).toSorted((a, b) => a - b);
  const quantile = (share: number): number => replicates[Math.round(share * (REPLICATES - 1))] ?? heightM;
  return {
    heightM,
    lowM: Math.max(
      0,
      Math.min(quantile((1 - COVERAGE) / 2), heightM * (1 - MIN_HALF_WIDTH), heightM - MAX_EXCESS_M) *
        (1 - unknownShare),
    ),
    highM: Math.max(quantile((1 + COVERAGE) / 2), heightM * (1 + MIN_HALF_WIDTH)) * (1 + unknownShare),
    count,
    scaleRatio: median(third.map(scaleRatioOf)) ?? NaN,
  };
}

/**
 * Height of one face. On the plane of the water the crest seems to be farther away than the toe by the length L. With the
 * camera at the height h above the water, and a face that leans back by its slope, H = L h / (X + h / slope), where X is
 * the distance at which the crest seems to be.
 */
function measure(breaker: SeenBreaker, view: CameraView, levelM: number): Measured | null {
  const [crest, toe, later] = [breaker.crestPixel, breaker.toePixel, breaker.laterToePixel].map((pixel) =>
    view.pointAtLevel(pixel, levelM),
  );
  if (!crest || !toe || !later) return null;
  const cameraM = view.heightAbove(levelM);
  const seemingM = view.distanceTo(crest);
  const heightM = ((seemingM - view.distanceTo(toe)) * cameraM) / (seemingM + cameraM / FACE_SLOPE);
  if (!(heightM > 0)) return null;
  const { column, crest: number, timeS, crestPixel, toePixel, laterS } = breaker;
  return {
    column,
    crest: number,
    timeS,
    heightM,
    speedMps: Math.hypot(toe[0] - later[0], toe[1] - later[1]) / laterS,
    extentPx: Math.hypot(crestPixel[0] - toePixel[0], crestPixel[1] - toePixel[1]),
  };
}

/**
 * A breaking wave of height H over the depth d = H / 0.78 runs between sqrt(g d) and sqrt(g (d + H)). With a camera height that
 * is wrong by a factor, the measured speed is wrong by that factor, but the speed that belongs to the measured height only by
 * its root.
 */
function scaleRatioOf({ heightM, speedMps }: Measured): number {
  const expected = GRAVITY * heightM * (1 / BREAKER_INDEX + 0.5);
  return expected / speedMps ** 2;
}

const highest = (some: readonly Measured[]): Measured =>
  some.reduce((best, other) => (other.heightM > best.heightM ? other : best));

const highestThird = (some: readonly Measured[]): readonly Measured[] =>
  some.toSorted((a, b) => b.heightM - a.heightM).slice(0, Math.ceil(some.length / 3));

/** True when the speed of the breakers contradicts the height of the camera. */
export const isScaleDoubtful = ({ scaleRatio }: BreakerHeight): boolean =>
  scaleRatio > MAX_SCALE_RATIO || scaleRatio < 1 / MAX_SCALE_RATIO;
