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

/** Smallest number of labels for ridge regression. With fewer labels it was measured to be no better than the median. */
export const MIN_RIDGE_LABELS = 8;
/** Smallest number of groups for ridge regression: with fewer, no jackknife interval with coverage 0.8 exists. */
const MIN_RIDGE_GROUPS = 4;

/** Everything that is fitted to the labels of one view; immutable. All embeddings must have the same length. */
export interface ViewCalibration {
  readonly labels: number;
  /** How many more labels or groups ridge regression needs; 0 if there are enough. */
  readonly labelsWanted: number;
  readonly medianM: number;
  /** One height for each group, metres. */
  readonly groupHeightsM: readonly number[];
  readonly fit: HeightFit;
  /** Null with fewer than two groups. */
  readonly validation: CrossValidation | null;
  /** True if ridge regression is used: enough labels, and a smaller error on left-out groups than the median. */
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

/** Fits one view. `samples` must not be empty. */
export function* calibrateView(samples: readonly TrainingSample[]): Steps<ViewCalibration> {
  const heightsByGroup = Map.groupBy(samples, ({ group }) => group);
  const labelsWanted = Math.max(0, MIN_RIDGE_LABELS - samples.length, MIN_RIDGE_GROUPS - heightsByGroup.size);
  const validation = yield* leaveOneGroupOut(samples);
  return {
    labels: samples.length,
    labelsWanted,
    medianM: medianHeightM(samples),
    groupHeightsM: [...heightsByGroup.values()].map(medianHeightM),
    fit: yield* fitSamples(samples),
    validation,
    isRidgeBetter: labelsWanted === 0 && validation !== null && validation.ridgeMaeM < validation.medianMaeM,
  };
}

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
