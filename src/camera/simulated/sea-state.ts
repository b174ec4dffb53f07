import type { SeaTruth } from '../camera.ts';
import { smoothstep, unit, wander } from './noise.ts';

/** One wave train with its own source. */
export interface Swell {
  /** Significant wave height of this train, metres. */
  readonly heightM: number;
  /** Peak period, seconds. */
  readonly periodS: number;
  /** Mean direction of travel in deep water, as in `WaveTrainTruth`. Default: almost straight to the shore. */
  readonly directionDeg?: number;
}

export const DEFAULT_DIRECTION_DEG = 3.4;

/** Correlation time of the sea state: noise values this far apart are independent. */
const CORRELATION_S = 4 * 3600;

/** Distant swell, near swell and wind sea. Their total height reaches 3.5 m. */
const TRAINS = [
  { minHeightM: 0.2, heightSpanM: 2.55, power: 1.5, minPeriodS: 10.5, periodSpanS: 5.5 },
  { minHeightM: 0.15, heightSpanM: 1.6, power: 2, minPeriodS: 7.5, periodSpanS: 2.5 },
  { minHeightM: 0.12, heightSpanM: 0.9, power: 2, minPeriodS: 3.6, periodSpanS: 2 },
] as const;

/** The wave trains at a moment. Each one varies smoothly and independently. */
export function swellsAt(seed: number, seaTimeS: number): readonly Swell[] {
  return TRAINS.map((train, index) => {
    const phase = seaTimeS / CORRELATION_S + unit(seed, index);
    return {
      // `smoothstep` makes small and large heights more frequent: flat days and days with swell, few days between.
      heightM:
        train.minHeightM +
        train.heightSpanM * smoothstep(0, 1, wander(seed + 101 + index, phase)) ** train.power,
      periodS: train.minPeriodS + train.periodSpanS * wander(seed + 201 + index, phase),
    };
  });
}

/** Significant height of all wave trains together: their energies add up. */
const totalHeightM = (swells: readonly Swell[]): number =>
  Math.hypot(...swells.map(({ heightM }) => heightM));

/** A period close to that of the highest train, which changes without jumps when another train becomes the highest. */
export function blendedPeriodS(swells: readonly Swell[]): number {
  let weight = 0;
  let weightedS = 0;
  for (const { heightM, periodS } of swells) {
    weight += heightM ** 4;
    weightedS += heightM ** 4 * periodS;
  }
  return weight > 0 ? weightedS / weight : 0;
}

export function truthOf(swells: readonly Swell[], tideM = 0): SeaTruth {
  const trains = swells
    .filter(({ heightM }) => heightM > 0)
    .map((swell) => ({ ...swell, directionDeg: swell.directionDeg ?? DEFAULT_DIRECTION_DEG }))
    .toSorted((a, b) => b.heightM - a.heightM);
  return { heightM: totalHeightM(swells), periodS: trains[0]?.periodS ?? 0, trains, tideM };
}

/** The sea state of this seed: height 0.27..3.5 m, period 3.6..16 s, smooth over hours. */
export const truthAt = (seed: number, seaTimeS: number): SeaTruth => truthOf(swellsAt(seed, seaTimeS));
