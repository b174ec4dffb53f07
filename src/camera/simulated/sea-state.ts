import type { SeaTruth } from '../camera.ts';
import { smoothstep, unit, wander } from './noise.ts';

/** One train of waves with its own source. */
export interface Swell {
  /** Significant height of this train alone, metres. */
  readonly heightM: number;
  /** Peak period, seconds. */
  readonly periodS: number;
}

/** How long the sea keeps its mood: noise values this far apart are independent. */
const MOOD_S = 4 * 3600;

/** Low, middle and high trains: distant swell, near swell, wind sea. Heights reach 3.5 m together. */
const TRAINS = [
  { lowM: 0.2, spanM: 2.55, power: 1.5, shortestS: 10.5, spanS: 5.5 },
  { lowM: 0.15, spanM: 1.6, power: 2, shortestS: 7.5, spanS: 2.5 },
  { lowM: 0.12, spanM: 0.9, power: 2, shortestS: 3.6, spanS: 2 },
] as const;

/** The trains at a moment of the sea's own time; each wanders smoothly and independently. */
export function swellsAt(seed: number, seaTimeS: number): readonly Swell[] {
  return TRAINS.map((train, index) => {
    const moods = seaTimeS / MOOD_S + unit(seed, index);
    return {
      // The step favours decided moods: flat days and days of swell, not one middle sea for ever.
      heightM: train.lowM + train.spanM * smoothstep(0, 1, wander(seed + 101 + index, moods)) ** train.power,
      periodS: train.shortestS + train.spanS * wander(seed + 201 + index, moods),
    };
  });
}

/** Significant height of trains that cross: energies add. Period near that of the strongest train. */
export function truthOf(swells: readonly Swell[]): SeaTruth {
  let energy = 0;
  let weight = 0;
  let weightedS = 0;
  for (const { heightM, periodS } of swells) {
    energy += heightM ** 2;
    weight += heightM ** 4;
    weightedS += heightM ** 4 * periodS;
  }
  return { heightM: Math.sqrt(energy), periodS: weight > 0 ? weightedS / weight : 0 };
}

/** What the sea of this seed is like: height 0.27..3.5 m, period 3.6..16 s, smooth over hours. */
export const truthAt = (seed: number, seaTimeS: number): SeaTruth => truthOf(swellsAt(seed, seaTimeS));
