import { mean, median } from '../base/statistics.ts';
import { fitRidge, predictRidge, type RidgeModel } from './ridge.ts';
import type { Steps } from './steps.ts';

/** One labelled burst, reduced to what a fit needs. */
export interface Sample {
  readonly embedding: Float32Array;
  readonly heightM: number;
  readonly group: string;
}

/** Ridge and median fitted on the same samples. */
export interface Fit {
  readonly ridge: RidgeModel;
  readonly medianM: number;
  readonly largestM: number;
}

/** Every sample as the fit without its group knows it. */
export interface LeftOut {
  /** One per sample; samples of one fold share the object. */
  readonly fits: readonly Fit[];
  readonly ridgeErrorsM: readonly number[];
  readonly medianErrorsM: readonly number[];
  /** 1 / samples in the sample's group. */
  readonly weights: readonly number[];
  readonly groups: number;
  readonly ridgeMaeM: number;
  readonly medianMaeM: number;
}

/**
 * Mean squared standardised value beyond which an embedding resembles nothing that was labelled (1 is typical; bursts
 * of the same camera held out reach 4.6, the limit by clipping is 16). There the linear model only extrapolates.
 */
const FAR = 8;
/** An answer above this many times the largest label is extrapolation too. */
const MAX_FACTOR = 2;
/** Work that all folds together may cost, multiplications: about 0.4 s on a slow core. */
const FOLDS_MACS = 400_000_000;
const FEWEST_FOLDS = 10;

export function* fitSamples(samples: readonly Sample[]): Steps<Fit> {
  const heightsM = samples.map((sample) => sample.heightM);
  const ridge = yield* fitRidge(
    samples.map((sample) => sample.embedding),
    heightsM,
  );
  return { ridge, medianM: median(heightsM) ?? 0, largestM: Math.max(...heightsM) };
}

/** The ridge's height, limited to what its labels can vouch for; the median far away from them. Metres, 0 or more. */
export function predictHeightM(fit: Fit, embedding: Float32Array): number {
  const { heightM, distance } = predictRidge(fit.ridge, embedding);
  if (distance > FAR) return fit.medianM;
  return Math.min(Math.max(heightM, 0), MAX_FACTOR * fit.largestM);
}

/** True when the embedding lies so far from the labelled ones that the median answers in the ridge's place. */
export const isFar = (fit: Fit, embedding: Float32Array): boolean =>
  predictRidge(fit.ridge, embedding).distance > FAR;

/**
 * Leaves out one group at a time and fits everything anew, the standardisation and the target mean included: no
 * hat-matrix shortcut is exact here, for both depend on the group that is left out. When that would cost too much
 * (from about 85 groups on) neighbouring groups are left out together. Null with fewer than two groups.
 */
export function* leaveGroupsOut(samples: readonly Sample[]): Steps<LeftOut | null> {
  const sizes = new Map<string, number>();
  for (const { group } of samples) sizes.set(group, (sizes.get(group) ?? 0) + 1);
  if (sizes.size < 2) return null;
  const foldOf = assignFolds([...sizes.keys()], samples.length, samples[0]?.embedding.length ?? 1);
  const fits: Fit[] = [];
  for (let fold = 0; fold < foldOf.folds; fold += 1)
    fits.push(yield* fitSamples(samples.filter(({ group }) => foldOf.of.get(group) !== fold)));

  const fitOf = samples.map(({ group }) => {
    const fit = fits[foldOf.of.get(group) ?? 0];
    if (fit === undefined) throw new RangeError('a group without a fold');
    return fit;
  });
  const errorsM = (predict: (fit: Fit, sample: Sample) => number): number[] =>
    samples.map((sample, index) => {
      const fit = fitOf[index];
      return fit === undefined ? 0 : Math.abs(predict(fit, sample) - sample.heightM);
    });
  const ridgeErrorsM = errorsM((fit, sample) => predictHeightM(fit, sample.embedding));
  const medianErrorsM = errorsM((fit) => fit.medianM);
  return {
    fits: fitOf,
    ridgeErrorsM,
    medianErrorsM,
    weights: samples.map(({ group }) => 1 / (sizes.get(group) ?? 1)),
    groups: sizes.size,
    ridgeMaeM: mean(ridgeErrorsM) ?? 0,
    medianMaeM: mean(medianErrorsM) ?? 0,
  };
}

/** Neighbours (in the samples' order, that is in time) go together: they share a swell. */
function assignFolds(
  groups: readonly string[],
  n: number,
  d: number,
): { readonly of: ReadonlyMap<string, number>; readonly folds: number } {
  const affordable = Math.floor(FOLDS_MACS / ((n * n * d) / 2));
  const folds = Math.min(groups.length, Math.max(FEWEST_FOLDS, affordable));
  return {
    of: new Map(groups.map((group, index) => [group, Math.floor((index * folds) / groups.length)])),
    folds,
  };
}
