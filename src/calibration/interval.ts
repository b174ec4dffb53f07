/** Nominal coverage of every interval that a site calibration gives. */
export const INTERVAL_COVERAGE = 0.8;

/** Spread of sea states before anything is known of a site: standard deviation of log height, and its weight. */
const PRIOR_LOG_SD = 0.6;
const PRIOR_WEIGHT = 4;
/** Keeps a flat sea finite on the log scale, metres. */
const LOG_OFFSET_M = 0.1;

export interface Interval {
  readonly lowM: number;
  readonly highM: number;
}

/** One labelled burst as the model that had not seen its group knows it. */
export interface HeldOut {
  /** Absolute error of that model on the labelled burst, metres. */
  readonly errorM: number;
  /** What that same model says of the burst in question, metres. */
  readonly predictionM: number;
  /** 1 / bursts in its group: each group counts once, however many labels it holds. */
  readonly weight: number;
}

/**
 * Jackknife+ interval (Barber et al. 2021), with whole groups left out and each group counted once
 * (Lee, Barber and Willett 2023, hierarchical data). Null with too few groups for the coverage: fewer than 4 at 0.8.
 */
export function jackknifeInterval(
  heldOut: readonly HeldOut[],
  coverage = INTERVAL_COVERAGE,
): Interval | null {
  const weights = heldOut.map((one) => one.weight);
  const highM = upperQuantile(
    heldOut.map((one) => one.predictionM + one.errorM),
    weights,
    coverage,
  );
  const negativeLowM = upperQuantile(
    heldOut.map((one) => one.errorM - one.predictionM),
    weights,
    coverage,
  );
  return highM === null || negativeLowM === null ? null : { lowM: -negativeLowM, highM };
}

/**
 * The smallest value that holds `coverage` of the weight when one more unit of weight lies at infinity: with equal
 * weights the ceil(coverage * (n + 1))-th smallest. Null when that is the one at infinity.
 */
export function upperQuantile(
  values: readonly number[],
  weights: readonly number[],
  coverage: number,
): number | null {
  const order = values
    .map((value, index) => ({ value, weight: weights[index] ?? 0 }))
    .sort((a, b) => a.value - b.value);
  const total = order.reduce((sum, one) => sum + one.weight, 1);
  let reached = 0;
  for (const { value, weight } of order) {
    reached += weight;
    if (reached >= coverage * total - 1e-9) return value;
  }
  return null;
}

/**
 * Interval around the median of few readings: predictive Student t of log height under a prior spread of sea states,
 * so that one label gives a very wide interval and a few more narrow it. `heightsM` holds one value per group.
 */
export function fewLabelsInterval(medianM: number, heightsM: readonly number[]): Interval {
  const n = heightsM.length;
  const logs = heightsM.map((heightM) => Math.log(heightM + LOG_OFFSET_M));
  const mean = logs.reduce((sum, log) => sum + log, 0) / n;
  const squares = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0);
  const freedom = PRIOR_WEIGHT + n - 1;
  const sd = Math.sqrt((PRIOR_WEIGHT * PRIOR_LOG_SD ** 2 + squares) / freedom);
  const half = studentQuantile90(freedom) * sd * Math.sqrt(1 + 1 / n);
  const centre = Math.log(medianM + LOG_OFFSET_M);
  return { lowM: Math.exp(centre - half) - LOG_OFFSET_M, highM: Math.exp(centre + half) - LOG_OFFSET_M };
}

/** 0.9 quantile of Student's t, by the Cornish-Fisher expansion; within 0.005 from 4 degrees of freedom on. */
function studentQuantile90(freedom: number): number {
  const z = 1.2815515655446004;
  return z + (z ** 3 + z) / (4 * freedom) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom * freedom);
}

/** The interval around a point: never below zero, never without the point. */
export function around(pointM: number, interval: Interval): Interval {
  return {
    lowM: Math.max(0, Math.min(interval.lowM, pointM)),
    highM: Math.max(interval.highM, pointM),
  };
}
