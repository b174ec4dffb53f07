import type { SeaTruth } from '../camera/camera.ts';
import { seededRandom } from '../base/random.ts';
import { mean } from '../base/statistics.ts';
import type { HeightEstimate } from './types.ts';

export interface SelfLabelOptions {
  /** Standard deviation of the reading error, metres; 0 for exact readings. */
  readonly noiseM: number;
  readonly seed: number;
  /** Maximum number of labels; estimates are scored after that too. */
  readonly maxLabels: number;
}

/**
 * Prequential score (Dawid 1984), metres: mean absolute error of estimates that were made before the label of their burst
 * was known, and mean absolute error of the median of the labels known then.
 */
export interface PrequentialScore {
  /** Number of scored estimates; estimates without a height are not scored. */
  readonly n: number;
  readonly maeM: number | null;
  readonly medianMaeM: number | null;
  /** The same for the estimates with the basis `site_calibrated`. */
  readonly calibrated: {
    readonly n: number;
    readonly maeM: number | null;
    readonly medianMaeM: number | null;
  };
}

/** Acts as the person who labels a simulated camera, where the true height is known. */
export class SelfLabeller {
  readonly #options: SelfLabelOptions;
  readonly #random: () => number;
  readonly #all = new ErrorTally();
  readonly #calibrated = new ErrorTally();
  #labels = 0;

  constructor(options: SelfLabelOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  /**
   * Compares the estimate with the true height of its burst, then returns the label, metres, rounded to 5 cm like the
   * labels of people. Null if the burst has no true height or `maxLabels` is reached. `estimate` is null for a burst
   * without an estimate; it gets a label too.
   */
  label(
    estimate: HeightEstimate | null,
    truths: readonly (Pick<SeaTruth, 'heightM'> | undefined)[],
  ): number | null {
    const heightsM = truths.flatMap((truth) => (truth === undefined ? [] : [truth.heightM]));
    const truthM = mean(heightsM);
    if (truthM === null) return null;
    if (estimate !== null && estimate.heightM !== null && estimate.medianM !== null) {
      const errorM = Math.abs(estimate.heightM - truthM);
      const medianErrorM = Math.abs(estimate.medianM - truthM);
      this.#all.add(errorM, medianErrorM);
      if (estimate.basis === 'site_calibrated') this.#calibrated.add(errorM, medianErrorM);
    }
    if (this.#labels >= this.#options.maxLabels) return null;
    this.#labels += 1;
    const readingM = truthM + (this.#options.noiseM === 0 ? 0 : this.#options.noiseM * this.#normal());
    return Math.max(0, Math.round(readingM * 20) / 20);
  }

  score(): PrequentialScore {
    return { ...this.#all.score(), calibrated: this.#calibrated.score() };
  }

  /** Standard normal value (Box and Muller 1958). */
  #normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.#random()));
    return radius * Math.cos(2 * Math.PI * this.#random());
  }
}

class ErrorTally {
  #n = 0;
  #sumM = 0;
  #medianSumM = 0;

  add(errorM: number, medianErrorM: number): void {
    this.#n += 1;
    this.#sumM += errorM;
    this.#medianSumM += medianErrorM;
  }

  score(): { n: number; maeM: number | null; medianMaeM: number | null } {
    const n = this.#n;
    return {
      n,
      maeM: n === 0 ? null : this.#sumM / n,
      medianMaeM: n === 0 ? null : this.#medianSumM / n,
    };
  }
}
