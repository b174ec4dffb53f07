import { median } from '../base/statistics.ts';
import {
  fewLabelsInterval,
  includePoint,
  INTERVAL_COVERAGE,
  jackknifeInterval,
  type HeightInterval,
} from './interval.ts';
import {
  fitSamples,
  isExtrapolation,
  leaveOneGroupOut,
  predictHeightM,
  type CrossValidation,
  type HeightFit,
  type TrainingSample,
} from './leave-one-group-out.ts';
import type { Steps } from './steps.ts';

/** Smallest number of sessions for ridge regression. With fewer it was measured to be no better than the median. */
export const MIN_RIDGE_SESSIONS = 8;

/** Everything that is fitted to the labels of one view; immutable. All embeddings must have the same length. */
export interface ViewCalibration {
  readonly labels: number;
  readonly sessions: number;
  /** How many more sessions ridge regression needs; 0 if there are enough. */
  readonly labelsWanted: number;
  readonly medianM: number;
  /** One height for each group, metres. */
  readonly groupHeightsM: readonly number[];
  readonly fit: HeightFit;
  /** Null with fewer than two groups. */
  readonly validation: CrossValidation | null;
  /** True if ridge regression is used: enough sessions, and a smaller error on left-out groups than the median. */
  readonly isRidgeBetter: boolean;
}

/** A height with its interval at the nominal coverage, metres. */
export interface HeightWithInterval {
  readonly heightM: number;
  readonly lowM: number;
  readonly highM: number;
  readonly coverage: number;
  readonly basis: 'site_calibrated' | 'site_median';
}

/**
 * Fits one view. `samples` must not be empty. `solutions`: those of an earlier fit of the same samples, which then need no
 * new fit. Throws RangeError if they belong to other samples.
 */
export function* calibrateView(
  samples: readonly TrainingSample[],
  solutions?: readonly Float64Array[],
): Steps<ViewCalibration> {
  const heightsByGroup = Map.groupBy(samples, ({ group }) => group);
  const labelsWanted = Math.max(0, MIN_RIDGE_SESSIONS - heightsByGroup.size);
  const validation = yield* leaveOneGroupOut(samples, solutions?.slice(1));
  return {
    labels: samples.length,
    sessions: heightsByGroup.size,
    labelsWanted,
    medianM: medianHeightM(samples),
    groupHeightsM: [...heightsByGroup.values()].map(medianHeightM),
    fit: yield* fitSamples(samples, solutions?.[0]),
    validation,
    isRidgeBetter: labelsWanted === 0 && validation !== null && validation.ridgeMaeM < validation.medianMaeM,
  };
}

/** The solutions from which `calibrateView` makes the same calibration without a new fit: of all samples, then each fold. */
export const solutionsOf = ({ fit, validation }: ViewCalibration): readonly Float64Array[] =>
  [fit, ...(validation?.foldFits ?? [])].map(({ ridge }) => ridge.dual);

const medianHeightM = (samples: readonly TrainingSample[]): number =>
  median(samples.map(({ heightM }) => heightM)) ?? 0;

/** Estimates the height by the rule of docs/calibration.md for a view with labels. */
export function estimateByRule(calibration: ViewCalibration, embedding: Float32Array): HeightWithInterval {
  const usesRidge = calibration.isRidgeBetter && !isExtrapolation(calibration.fit, embedding);
  return estimateBy(usesRidge ? 'ridge' : 'median', calibration, embedding);
}

/** Estimates height and interval by one method, even if the rule would not choose it. */
export function estimateBy(
  method: 'ridge' | 'median',
  calibration: ViewCalibration,
  embedding: Float32Array,
): HeightWithInterval {
  const { fit, validation, labelsWanted, medianM, groupHeightsM } = calibration;
  const heightM = method === 'ridge' ? predictHeightM(fit, embedding) : medianM;
  const conformal =
    validation === null || labelsWanted > 0 ? null : conformalInterval(validation, embedding, method);
  return {
    heightM,
    ...includePoint(heightM, conformal ?? fewLabelsInterval(medianM, groupHeightsM)),
    coverage: INTERVAL_COVERAGE,
    basis: method === 'ridge' ? 'site_calibrated' : 'site_median',
  };
}

function conformalInterval(
  { fits, weights, ridgeErrorsM, medianErrorsM }: CrossValidation,
  embedding: Float32Array,
  method: 'ridge' | 'median',
): HeightInterval | null {
  const errorsM = method === 'ridge' ? ridgeErrorsM : medianErrorsM;
  const predictionsM = new Map<HeightFit, number>();
  return jackknifeInterval(
    fits.map((fit, index) => {
      const predictionM =
        predictionsM.get(fit) ?? (method === 'ridge' ? predictHeightM(fit, embedding) : fit.medianM);
      predictionsM.set(fit, predictionM);
      return { errorM: errorsM[index] ?? 0, predictionM, weight: weights[index] ?? 0 };
    }),
  );
}
