import { mean } from '../base/statistics.ts';

/** Nominal coverage of every interval of a site calibration, 0..1. */
export const INTERVAL_COVERAGE = 0.8;

/**
 * Prior spread of wave heights at an unknown site: standard deviation of the log height. This value and `PRIOR_LABELS`
 * are design choices; docs/calibration.md has the measured coverage.
 */
const PRIOR_LOG_SD = 0.6;
/** Weight of the prior spread: it counts as much as this many labels. */
const PRIOR_LABELS = 4;
/** Added to a height before the logarithm, so that the logarithm of height 0 is finite, metres. */
const LOG_OFFSET_M = 0.1;

export interface HeightInterval {
  readonly lowM: number;
  readonly highM: number;
}

/** The result of one labelled burst with a fit that was made without the group of this burst. */
export interface HeldOutSample {
  /** Absolute error of this fit for the labelled burst, metres. */
  readonly errorM: number;
  /** Prediction of this fit for the burst whose height is being estimated, metres. */
  readonly predictionM: number;
  /** 1 / number of bursts in the group, so that each group counts once, with any number of labels. */
  readonly weight: number;
}

/**
 * Conformal interval by the jackknife+ (Barber et al. 2021): from the lower quantile of `prediction - error` to the upper
 * quantile of `prediction + error`. Whole groups are held out and each group counts once (Lee, Barber and Willett 2023,
 * hierarchical data). Null if there are too few groups for the coverage: fewer than 4 for 0.8.
 */
export function jackknifeInterval(
  heldOut: readonly HeldOutSample[],
  coverage = INTERVAL_COVERAGE,
): HeightInterval | null {
  const weights = heldOut.map(({ weight }) => weight);
  const highM = upperQuantile(
    heldOut.map(({ predictionM, errorM }) => predictionM + errorM),
    weights,
    coverage,
  );
  const negativeLowM = upperQuantile(
    heldOut.map(({ predictionM, errorM }) => errorM - predictionM),
    weights,
    coverage,
  );
  return highM === null || negativeLowM === null ? null : { lowM: -negativeLowM, highM };
}

/**
 * Weighted quantile of the values and one further value at infinity with weight 1: the smallest value that reaches
 * `coverage` of the total weight. With equal weights this is the `ceil(coverage * (n + 1))`-th smallest value. Null if it
 * is the value at infinity.
 */
export function upperQuantile(
  values: readonly number[],
  weights: readonly number[],
  coverage: number,
): number | null {
  const ordered = values
    .map((value, index) => ({ value, weight: weights[index] ?? 0 }))
    .sort((a, b) => a.value - b.value);
  const totalWeight = ordered.reduce((sum, { weight }) => sum + weight, 1);
  let reached = 0;
  for (const { value, weight } of ordered) {
    reached += weight;
    // The tolerance absorbs rounding in the sum of weights.
    if (reached >= coverage * totalWeight - 1e-9) return value;
  }
  return null;
}

/**
 * Interval around the median of few labels: the predictive Student t interval of the log height, with a flat prior for
 * the mean and a scaled inverse chi-squared prior for the variance (see Gelman et al., Bayesian Data Analysis, chapter 3).
 * One label gives a very wide interval; each further one narrows it. `heightsM` contains one height for each group and
 * must not be empty.
 */
export function fewLabelsInterval(medianM: number, heightsM: readonly number[]): HeightInterval {
  const n = heightsM.length;
  const logs = heightsM.map((heightM) => Math.log(heightM + LOG_OFFSET_M));
  const meanLog = mean(logs) ?? 0;
  const squares = logs.reduce((sum, log) => sum + (log - meanLog) ** 2, 0);
  const degreesOfFreedom = PRIOR_LABELS + n - 1;
  const sd = Math.sqrt((PRIOR_LABELS * PRIOR_LOG_SD ** 2 + squares) / degreesOfFreedom);
  const half = studentQuantile90(degreesOfFreedom) * sd * Math.sqrt(1 + 1 / n);
  const centre = Math.log(medianM + LOG_OFFSET_M);
  return { lowM: Math.exp(centre - half) - LOG_OFFSET_M, highM: Math.exp(centre + half) - LOG_OFFSET_M };
}

/**
 * The 0.9 quantile of Student's t by the Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5, two terms). The error is
 * below 0.005 from 4 degrees of freedom.
 */
function studentQuantile90(degreesOfFreedom: number): number {
  const z = 1.2815515655446004;
  return (
    z +
    (z ** 3 + z) / (4 * degreesOfFreedom) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * degreesOfFreedom * degreesOfFreedom)
  );
}

/** Extends the interval so that it contains the point, and cuts it off at zero. */
export function includePoint(pointM: number, interval: HeightInterval): HeightInterval {
  return {
    lowM: Math.max(0, Math.min(interval.lowM, pointM)),
    highM: Math.max(interval.highM, pointM),
  };
}
