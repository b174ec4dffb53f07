import { median } from '../base/statistics.ts';
import { around, fewLabelsInterval, INTERVAL_COVERAGE, jackknifeInterval } from './interval.ts';
import {
  fitSamples,
  isFar,
  leaveGroupsOut,
  predictHeightM,
  type Fit,
  type LeftOut,
  type Sample,
} from './leave-one-group-out.ts';
import type { Steps } from './steps.ts';

/** Labelled bursts from which the ridge is tried (measured: fewer do not beat the median). */
export const RIDGE_LABELS = 8;
/** Groups from which errors can be judged: the first number at which an 80% jackknife interval exists. */
const RIDGE_GROUPS = 4;

/** Everything fitted to the labels of one view; immutable. Lengths of embeddings are equal and checked before. */
export interface ViewCalibration {
  readonly labels: number;
  /** 0 when the ridge has been tried. */
  readonly labelsWanted: number;
  readonly medianM: number;
  /** One height per group, metres. */
  readonly groupHeightsM: readonly number[];
  readonly fit: Fit;
  /** Null with fewer than two groups. */
  readonly leftOut: LeftOut | null;
  /** True when the ridge may answer: enough labels, and its error below the median's, groups left out. */
  readonly ridgeWins: boolean;
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
export function* calibrateView(samples: readonly Sample[]): Steps<ViewCalibration> {
  const byGroup = new Map<string, number[]>();
  for (const { group, heightM } of samples) byGroup.set(group, [...(byGroup.get(group) ?? []), heightM]);
  const labelsWanted = Math.max(0, RIDGE_LABELS - samples.length, RIDGE_GROUPS - byGroup.size);
  const leftOut = yield* leaveGroupsOut(samples);
  return {
    labels: samples.length,
    labelsWanted,
    medianM: median(samples.map(({ heightM }) => heightM)) ?? 0,
    groupHeightsM: [...byGroup.values()].map((heightsM) => median(heightsM) ?? 0),
    fit: yield* fitSamples(samples),
    leftOut,
    ridgeWins: labelsWanted === 0 && leftOut !== null && leftOut.ridgeMaeM < leftOut.medianMaeM,
  };
}

/** The rule of docs/calibration.md for a view that has labels. */
export function heightFor(calibration: ViewCalibration, embedding: Float32Array): HeightWithInterval {
  const ridge = calibration.ridgeWins && !isFar(calibration.fit, embedding);
  return heightBy(ridge ? 'ridge' : 'median', calibration, embedding);
}

/** Height and interval by one method, whether or not the rule would choose it. */
export function heightBy(
  method: 'ridge' | 'median',
  calibration: ViewCalibration,
  embedding: Float32Array,
): HeightWithInterval {
  const { fit, leftOut, medianM } = calibration;
  const heightM = method === 'ridge' ? predictHeightM(fit, embedding) : medianM;
  const few = fewLabelsInterval(medianM, calibration.groupHeightsM);
  const interval =
    leftOut === null || calibration.labelsWanted > 0 ? few : (jackknife(leftOut, embedding, method) ?? few);
  return {
    heightM,
    ...around(heightM, interval),
    coverage: INTERVAL_COVERAGE,
    basis: method === 'ridge' ? 'site_calibrated' : 'site_median',
  };
}

function jackknife(
  leftOut: LeftOut,
  embedding: Float32Array,
  method: 'ridge' | 'median',
): ReturnType<typeof jackknifeInterval> {
  const errorsM = method === 'ridge' ? leftOut.ridgeErrorsM : leftOut.medianErrorsM;
  const predictionOf = new Map<Fit, number>();
  return jackknifeInterval(
    leftOut.fits.map((fit, index) => {
      const predictionM =
        predictionOf.get(fit) ?? (method === 'ridge' ? predictHeightM(fit, embedding) : fit.medianM);
      predictionOf.set(fit, predictionM);
      return { errorM: errorsM[index] ?? 0, predictionM, weight: leftOut.weights[index] ?? 0 };
    }),
  );
}
