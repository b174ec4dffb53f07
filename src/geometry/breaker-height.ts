import { seededRandom } from '../base/random.ts';
import { mean, median } from '../base/statistics.ts';
import type { CameraView } from './camera-view.ts';
import { breakerSpeedSquared, measureFaces, type MeasuredFace, type SeenBreaker } from './face-height.ts';

/** Why the height of the breakers is not known. */
export type BreakerReason =
  /** The level of the water is unknown, and the camera is so low that it matters. */
  | 'tide_unknown'
  /** Fewer than `MIN_BREAKERS` breaking crests. */
  | 'too_few_breakers'
  /** Enough crests break, but most of their faces have too few pixels. */
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
   * height and depth allow. Null when the speed of too few is known.
   */
  readonly scaleRatio: number | null;
}

const MIN_BREAKERS = 20;
/** Nominal coverage of the interval, 0..1. */
const COVERAGE = 0.8;
/** No comparison with wave gauges exists yet: the interval is at least this share to each side. */
const MIN_HALF_WIDTH = 0.2;
/** Half of the range of most tides: heights are proportional to the height of the camera above the water. */
const UNKNOWN_TIDE_M = 1.5;
const MAX_UNKNOWN_SHARE = 0.1;
/** The speed of fewer breakers tells nothing about the camera. */
const MIN_SPEEDS = 10;
/**
 * Beyond these ratios the camera height is doubtful. With the right one, those of simulated seas lie between 0.46 and 1.4, and
 * that of Boomerang Beach is 1.1.
 */
const SCALE_RATIO = { min: 0.4, max: 2 } as const;
const REPLICATES = 200;
const SEED = 20_261_201;

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
  const measured = measureFaces(breakers, view, levelM ?? 0);
  const count = new Set(measured.map(({ crest }) => crest)).size;
  if (count < MIN_BREAKERS)
    return new Set(breakers.map(({ crest }) => crest)).size < MIN_BREAKERS
      ? 'too_few_breakers'
      : 'breakers_too_small';
  const waves = [...Map.groupBy(measured, ({ timeS }) => Math.floor(timeS / periodS)).values()].map((wave) =>
    [...Map.groupBy(wave, ({ column }) => column).values()].map(highest),
  );
  const heightOf = (some: readonly (readonly MeasuredFace[])[]): number =>
    mean(highestThird(some.flat()).map(({ heightM }) => heightM)) ?? NaN;
  const heightM = heightOf(waves);
  const next = seededRandom(SEED);
  const replicates = Array.from({ length: REPLICATES }, () =>
    heightOf(waves.map(() => waves[Math.floor(next() * waves.length)] ?? [])),
  ).toSorted((a, b) => a - b);
  const quantile = (share: number): number => replicates[Math.round(share * (REPLICATES - 1))] ?? heightM;
  return {
    heightM,
    lowM: Math.min(quantile((1 - COVERAGE) / 2), heightM * (1 - MIN_HALF_WIDTH)) * (1 - unknownShare),
    highM: Math.max(quantile((1 + COVERAGE) / 2), heightM * (1 + MIN_HALF_WIDTH)) * (1 + unknownShare),
    count,
    scaleRatio: scaleRatioOf(highestThird(waves.flat())),
  };
}

/**
 * With a camera height that is wrong by a factor, the measured speed is wrong by that factor, but the speed that belongs to the
 * measured height only by its root.
 */
function scaleRatioOf(faces: readonly MeasuredFace[]): number | null {
  const ratios = faces.flatMap(({ heightM, speedMps }) =>
    speedMps === null ? [] : [breakerSpeedSquared(heightM) / speedMps ** 2],
  );
  return ratios.length < MIN_SPEEDS ? null : median(ratios);
}

const highest = (some: readonly MeasuredFace[]): MeasuredFace =>
  some.reduce((best, other) => (other.heightM > best.heightM ? other : best));

const highestThird = (some: readonly MeasuredFace[]): readonly MeasuredFace[] =>
  some.toSorted((a, b) => b.heightM - a.heightM).slice(0, Math.ceil(some.length / 3));

/** True when the speed of the breakers contradicts the height of the camera. */
export const isScaleDoubtful = ({ scaleRatio }: BreakerHeight): boolean =>
  scaleRatio !== null && (scaleRatio > SCALE_RATIO.max || scaleRatio < SCALE_RATIO.min);
