import type { SeaTruth } from '../camera/camera.ts';
import type { HeightEstimate } from './types.ts';

export interface SelfLabelOptions {
  /** Standard deviation of the reading, metres; 0 reads exactly. */
  readonly noiseM: number;
  readonly seed: number;
  /** Labels given before it falls silent; the score goes on. */
  readonly maxLabels: number;
}

/** Mean absolute errors of estimates made before their own label was known, beside those of the median of that time. */
export interface PrequentialScore {
  /** Estimates that were scored: a height was given. */
  readonly n: number;
  readonly maeM: number | null;
  readonly medianMaeM: number | null;
  /** The same for estimates on the basis `site_calibrated` alone. */
  readonly calibrated: {
    readonly n: number;
    readonly maeM: number | null;
    readonly medianMaeM: number | null;
  };
}

/** Plays the person at a simulated beach, where the truth is known: reads each burst after it was estimated. */
export class SelfLabeller {
  readonly #options: SelfLabelOptions;
  readonly #random: () => number;
  readonly #all = new Tally();
  readonly #calibrated = new Tally();
  #labels = 0;

  constructor(options: SelfLabelOptions) {
    this.#options = options;
    this.#random = seeded(options.seed);
  }

  /**
   * Scores the estimate against the truth of its burst, then gives the label, rounded to 5 cm as people read.
   * Null when the burst carries no truth or the labels have all been given. `estimate` is null for a burst that was
   * not estimated; it is labelled all the same.
   */
  read(estimate: HeightEstimate | null, truths: readonly (SeaTruth | undefined)[]): number | null {
    const heightsM = truths.flatMap((truth) => (truth === undefined ? [] : [truth.heightM]));
    if (heightsM.length === 0) return null;
    const truthM = heightsM.reduce((sum, heightM) => sum + heightM, 0) / heightsM.length;
    if (estimate !== null && estimate.heightM !== null && estimate.medianM !== null) {
      const errorM = Math.abs(estimate.heightM - truthM);
      const medianErrorM = Math.abs(estimate.medianM - truthM);
      this.#all.add(errorM, medianErrorM);
      if (estimate.basis === 'site_calibrated') this.#calibrated.add(errorM, medianErrorM);
    }
    if (this.#labels >= this.#options.maxLabels) return null;
    this.#labels += 1;
    const readM = truthM + (this.#options.noiseM === 0 ? 0 : this.#options.noiseM * this.#normal());
    return Math.max(0, Math.round(readM * 20) / 20);
  }

  score(): PrequentialScore {
    return { ...this.#all.score(), calibrated: this.#calibrated.score() };
  }

  /** Box and Muller 1958. */
  #normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.#random()));
    return radius * Math.cos(2 * Math.PI * this.#random());
  }
}

class Tally {
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

/** mulberry32: 32 bits of state, uniform in 0..1. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
