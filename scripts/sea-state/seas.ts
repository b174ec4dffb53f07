import { seededRandom } from '../../src/base/random.ts';
import type { Conditions } from '../../src/camera/simulated/scene.ts';

export interface SimulatedSea {
  readonly seed: number;
  readonly conditions: Conditions;
}

/** Waves of a sea are not steeper than this share of their length in deep water. */
const MAX_STEEPNESS = 0.05;

/**
 * Seas of 5 to 16 s and 0.3 to 3 m; every second one has two trains of different directions. The camera is tilted, two of
 * three sway in the wind, and the tide differs. The first train has the most energy.
 */
export function createSeas(count: number, seed: number): readonly SimulatedSea[] {
  const random = seededRandom(seed);
  const between = (low: number, high: number): number => low + (high - low) * random();
  return Array.from({ length: count }, (_, index) => {
    const periodS = between(5, 16);
    const steepestM = (MAX_STEEPNESS * 9.81 * periodS ** 2) / (2 * Math.PI);
    const heightM = Math.min(0.3 * 10 ** random(), steepestM);
    const main = { heightM, periodS, directionDeg: between(-12, 12) };
    // Far enough from the main period to be seen as a second train.
    const otherS = periodS > 9 ? periodS / between(1.9, 2.6) : periodS * between(1.7, 2);
    const second = { heightM: 0.55 * heightM, periodS: otherS, directionDeg: between(-25, 25) };
    const conditions = {
      swells: index % 2 === 1 ? [main, second] : [main],
      tiltDeg: between(-1.5, 1.5),
      rollDeg: between(-2, 2),
      swayDeg: [0, 0.05, 0.12][index % 3] ?? 0,
      tideM: between(-0.7, 0.7),
    };
    return { seed: seed + index, conditions };
  });
}
