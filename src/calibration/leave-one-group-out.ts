import { median, weightedMean } from '../base/statistics.ts';
import {
  fitRidge,
  predictRidge,
  ridgeFromDual,
  ridgeWorkspace,
  type RidgeModel,
  type RidgeWorkspace,
} from './ridge.ts';
import type { Steps } from './steps.ts';

/** The data of a labelled burst that a fit needs. */
export interface TrainingSample {
  readonly embedding: Float32Array;
  readonly heightM: number;
  readonly group: string;
}

/** Ridge regression and median, fitted to the same samples. */
export interface HeightFit {
  readonly ridge: RidgeModel;
  readonly medianM: number;
  readonly maxLabelM: number;
}

/** Result of leave-one-group-out cross-validation: each sample with a fit that was made without its group. */
export interface CrossValidation {
  /** One fit for each fold: groups that are left out together. */
  readonly foldFits: readonly HeightFit[];
  /** The fit of its fold, for each sample. */
  readonly fits: readonly HeightFit[];
  /** Absolute error of the ridge regression for each sample, metres. */
  readonly ridgeErrorsM: readonly number[];
  /** Absolute error of the median for each sample, metres. */
  readonly medianErrorsM: readonly number[];
  /** 1 / number of samples in the sample's group. */
  readonly weights: readonly number[];
  readonly groups: number;
  /** Mean absolute errors, in which each group counts once, metres. */
  readonly ridgeMaeM: number;
  readonly medianMaeM: number;
}

/**
 * Limit for the mean squared standardised value of an embedding. Above it the embedding resembles no labelled burst and
 * the linear model would extrapolate, so the median is used instead of the ridge regression. 1 is typical; held-out
 * bursts of the same camera reached 4.6; clipping limits the value to 16.
 */
const MAX_DISTANCE = 8;
/** The ridge regression gives at most this many times the largest label; a larger value would be extrapolation. */
const MAX_LABEL_FACTOR = 2;
/** Limit for the computation of all folds together, multiply-adds: about 0.2 s on a busy core. */
const MAX_FOLD_MACS = 250_000_000;
/** Smallest number of folds, even if `MAX_FOLD_MACS` is exceeded. */
const MIN_FOLDS = 10;

/** `dual`: the solution of an earlier fit of the same samples, which then need no new fit. */
export function* fitSamples(
  samples: readonly TrainingSample[],
  dual?: Float64Array,
  workspace: RidgeWorkspace = ridgeWorkspace(samples.length, samples[0]?.embedding.length ?? 0),
): Steps<HeightFit> {
  const heightsM = samples.map((sample) => sample.heightM);
  const rows = samples.map((sample) => sample.embedding);
  yield;
  const ridge = dual
    ? ridgeFromDual(rows, heightsM, dual, workspace)
    : yield* fitRidge(rows, heightsM, workspace);
  return { ridge, medianM: median(heightsM) ?? 0, maxLabelM: Math.max(...heightsM) };
}

/** Height by ridge regression, metres, from 0 to 2 times the largest label; the median for an extrapolation. */
export function predictHeightM(fit: HeightFit, embedding: Float32Array): number {
  const { heightM, distance } = predictRidge(fit.ridge, embedding);
  if (distance > MAX_DISTANCE) return fit.medianM;
  return Math.min(Math.max(heightM, 0), MAX_LABEL_FACTOR * fit.maxLabelM);
}

/** True if the embedding resembles no labelled burst, so that the median is used instead of the ridge regression. */
export const isExtrapolation = (fit: HeightFit, embedding: Float32Array): boolean =>
  predictRidge(fit.ridge, embedding).distance > MAX_DISTANCE;

/**
 * Leaves out one group at a time and repeats the whole fit, with its standardisation and target mean. Both depend on the
 * group, so the shortcut without new fits (the hat matrix) would not be exact. If the cost would exceed
 * `MAX_FOLD_MACS` (from about 75 groups), neighbouring groups are left out together. Null with fewer than two groups.
 * `duals`: the solutions of an earlier validation of the same samples, one for each fold.
 */
export function* leaveOneGroupOut(
  samples: readonly TrainingSample[],
  duals?: readonly Float64Array[],
): Steps<CrossValidation | null> {
  const groupSizes = new Map<string, number>();
  for (const { group } of samples) groupSizes.set(group, (groupSizes.get(group) ?? 0) + 1);
  if (groupSizes.size < 2) return null;
  const embeddingLength = samples[0]?.embedding.length ?? 1;
  const { foldOf, folds } = assignFolds([...groupSizes.keys()], samples.length, embeddingLength);
  const foldFits: HeightFit[] = [];
  const workspace = ridgeWorkspace(samples.length, embeddingLength);
  if (duals && duals.length !== folds) throw new RangeError('the solutions belong to other samples');
  for (let fold = 0; fold < folds; fold += 1)
    foldFits.push(
      yield* fitSamples(
        samples.filter(({ group }) => foldOf.get(group) !== fold),
        duals?.[fold],
        workspace,
      ),
    );

  const fits = samples.map(({ group }) => {
    const fit = foldFits[foldOf.get(group) ?? 0];
    if (fit === undefined) throw new RangeError('a group without a fold');
    return fit;
  });
  const errorsM = (predict: (fit: HeightFit, sample: TrainingSample) => number): number[] =>
    samples.map((sample, index) => {
      const fit = fits[index];
      return fit === undefined ? 0 : Math.abs(predict(fit, sample) - sample.heightM);
    });
  const ridgeErrorsM = errorsM((fit, sample) => predictHeightM(fit, sample.embedding));
  const medianErrorsM = errorsM((fit) => fit.medianM);
  const weights = samples.map(({ group }) => 1 / (groupSizes.get(group) ?? 1));
  return {
    foldFits,
    fits,
    ridgeErrorsM,
    medianErrorsM,
    weights,
    groups: groupSizes.size,
    ridgeMaeM: weightedMean(ridgeErrorsM, weights) ?? 0,
    medianMaeM: weightedMean(medianErrorsM, weights) ?? 0,
  };
}

/** Puts neighbouring groups (in the order of the samples, which is time) into one fold: they share a swell. */
function assignFolds(
  groups: readonly string[],
  samples: number,
  embeddingLength: number,
): { readonly foldOf: ReadonlyMap<string, number>; readonly folds: number } {
  // The kernel matrix of one fit costs about n^2 d / 2 multiply-adds.
  const affordable = Math.floor(MAX_FOLD_MACS / ((samples * samples * embeddingLength) / 2));
  const folds = Math.min(groups.length, Math.max(MIN_FOLDS, affordable));
  const foldOf = new Map(groups.map((group, index) => [group, Math.floor((index * folds) / groups.length)]));
  return { foldOf, folds };
}
