import { mean } from '../base/statistics.ts';
import type { Steps } from './steps.ts';

/**
 * Regularisation, added to the diagonal of the kernel matrix. On three real cameras the error hardly changes between 0.03
 * and 3; fixed once, never tuned for a site.
 */
export const RIDGE_ALPHA = 0.2;
/** Standardised values are clipped at this: a feature almost constant in the labels may have extreme values later. */
export const MAX_STANDARD_DEVIATIONS = 4;
/** A feature with a smaller standard deviation (in units of the embedding) counts as constant and is not used. */
const MIN_STANDARD_DEVIATION = 1e-6;
/** The computation pauses after this many multiply-adds: about 2 ms on a slow core. */
const STEP_MACS = 500_000;
/** Features that are multiplied in one pass over all rows, so that the rows stay in the cache of the processor. */
const BLOCK_FEATURES = 320;

/** Ridge regression in its primal form: `meanM + sum(clip((x - centre) * scale) * weight)`, metres. */
export interface RidgeModel {
  readonly meanM: number;
  readonly centre: Float64Array;
  /** 1 / standard deviation of each feature; 0 for a constant feature. */
  readonly scale: Float64Array;
  readonly weight: Float64Array;
  /** Solution of the dual form, one value for each row. With the rows it gives the same model without a new fit. */
  readonly dual: Float64Array;
}

/** Memory for fits of at most n rows of d features, which many fits in turn can share. */
export interface RidgeWorkspace {
  readonly z: readonly Float64Array[];
  readonly gram: Float64Array;
}

export const ridgeWorkspace = (n: number, d: number): RidgeWorkspace => ({
  z: Array.from({ length: n }, () => new Float64Array(d)),
  gram: new Float64Array(n * n),
});

/**
 * Fits ridge regression in its dual form (Saunders, Gammerman and Vovk 1998): `(K + alpha I) a = y - mean(y)` with the
 * linear kernel `K = Z Z' / d`, where Z holds the d features, standardised over `rows` and clipped. The weights are
 * `Z' a / d`. The same rows in the same order give the same bits. `rows` must not be empty, and all rows must have the
 * same length.
 */
export function* fitRidge(
  rows: readonly Float32Array[],
  heightsM: readonly number[],
  workspace = ridgeWorkspace(rows.length, rows[0]?.length ?? 0),
): Steps<RidgeModel> {
  const standardised = standardiseRows(rows, workspace.z);
  yield;
  const gram = yield* kernelMatrix(standardised, workspace.gram);
  const meanM = mean(heightsM) ?? 0;
  const dual = yield* solveCholesky(
    gram,
    Float64Array.from(heightsM, (heightM) => heightM - meanM),
  );
  return primalForm(standardised, meanM, dual);
}

/** The model that `fitRidge` gave for these rows and heights, bit for bit, from its dual solution. */
export function ridgeFromDual(
  rows: readonly Float32Array[],
  heightsM: readonly number[],
  dual: Float64Array,
  workspace: RidgeWorkspace,
): RidgeModel {
  if (dual.length !== rows.length) throw new RangeError('the dual solution belongs to other rows');
  return primalForm(standardiseRows(rows, workspace.z), mean(heightsM) ?? 0, dual);
}

function primalForm({ centre, scale, z, n, d }: Standardised, meanM: number, dual: Float64Array): RidgeModel {
  const weight = new Float64Array(d);
  for (let i = 0; i < n; i += 1) {
    const share = at(dual, i) / d;
    const row = z[i] ?? EMPTY;
    for (let k = 0; k < d; k += 1) weight[k] = at(weight, k) + share * at(row, k);
  }
  return { meanM, centre, scale, weight, dual };
}

/** Predicts the height without limits, metres, and returns the mean squared standardised value of the embedding. */
export function predictRidge(
  model: RidgeModel,
  embedding: Float32Array,
): { readonly heightM: number; readonly distance: number } {
  let deviationM = 0;
  let squares = 0;
  let features = 0;
  for (let k = 0; k < embedding.length; k += 1) {
    const scale = at(model.scale, k);
    if (scale === 0) continue;
    const z = clip(((embedding[k] ?? 0) - at(model.centre, k)) * scale);
    deviationM += z * at(model.weight, k);
    squares += z * z;
    features += 1;
  }
  return { heightM: model.meanM + deviationM, distance: features === 0 ? 0 : squares / features };
}

const clip = (z: number): number =>
  z > MAX_STANDARD_DEVIATIONS
    ? MAX_STANDARD_DEVIATIONS
    : z < -MAX_STANDARD_DEVIATIONS
      ? -MAX_STANDARD_DEVIATIONS
      : z;
const at = (values: Float64Array, index: number): number => values[index] ?? 0;

const EMPTY = new Float64Array(0);

/** The first n rows of `z`, of d features each: standardised and clipped. */
interface Standardised {
  readonly centre: Float64Array;
  readonly scale: Float64Array;
  readonly z: readonly Float64Array[];
  readonly n: number;
  readonly d: number;
}

function standardiseRows(rows: readonly Float32Array[], z: readonly Float64Array[]): Standardised {
  const n = rows.length;
  const d = rows[0]?.length ?? 0;
  const centre = new Float64Array(d);
  const scale = new Float64Array(d);
  for (const row of rows) for (let k = 0; k < d; k += 1) centre[k] = at(centre, k) + (row[k] ?? 0);
  for (let k = 0; k < d; k += 1) centre[k] = at(centre, k) / n;
  for (const row of rows)
    for (let k = 0; k < d; k += 1) {
      const deviation = (row[k] ?? 0) - at(centre, k);
      scale[k] = at(scale, k) + deviation * deviation;
    }
  for (let k = 0; k < d; k += 1) {
    const sd = Math.sqrt(at(scale, k) / n);
    scale[k] = sd > MIN_STANDARD_DEVIATION ? 1 / sd : 0;
  }
  for (const [i, row] of rows.entries()) {
    const values = z[i] ?? EMPTY;
    for (let k = 0; k < d; k += 1) values[k] = clip(((row[k] ?? 0) - at(centre, k)) * at(scale, k));
  }
  return { centre, scale, z, n, d };
}

/** Lower triangle of `Z Z' / d + alpha I`, row-major, in the first n * n values of `gram`. */
function* kernelMatrix({ z, n, d }: Standardised, gram: Float64Array): Steps<Float64Array> {
  gram.fill(0, 0, n * n);
  let macs = 0;
  // Two rows against two columns at a time: each value that is read serves two products. This is the costly part of a fit.
  for (let from = 0; from < d; from += BLOCK_FEATURES) {
    const to = Math.min(from + BLOCK_FEATURES, d);
    for (let i = 0; i < n; i += 2)
      for (let j = 0; j <= i; j += 2) {
        addProducts(z, { i, j, from, to }, gram, n);
        macs += 4 * (to - from);
        if (macs < STEP_MACS) continue;
        macs = 0;
        yield;
      }
  }
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j <= i; j += 1) gram[i * n + j] = at(gram, i * n + j) / d;
    gram[i * n + i] = at(gram, i * n + i) + RIDGE_ALPHA;
  }
  return gram;
}

/** Adds the products of rows i and i + 1 with rows j and j + 1, as far as these rows exist, over some features. */
function addProducts(
  z: readonly Float64Array[],
  { i, j, from, to }: { readonly i: number; readonly j: number; readonly from: number; readonly to: number },
  gram: Float64Array,
  n: number,
): void {
  // In place of a missing last row: its products are not stored.
  const a0 = z[i] ?? EMPTY;
  const a1 = (i + 1 < n ? z[i + 1] : undefined) ?? a0;
  const b0 = z[j] ?? EMPTY;
  const b1 = (j + 1 < n ? z[j + 1] : undefined) ?? b0;
  let s00 = 0;
  let s01 = 0;
  let s10 = 0;
  let s11 = 0;
  for (let k = from; k < to; k += 1) {
    const x0 = at(a0, k);
    const x1 = at(a1, k);
    const y0 = at(b0, k);
    const y1 = at(b1, k);
    s00 += x0 * y0;
    s01 += x0 * y1;
    s10 += x1 * y0;
    s11 += x1 * y1;
  }
  const first = i * n + j;
  gram[first] = at(gram, first) + s00;
  if (j + 1 < n) gram[first + 1] = at(gram, first + 1) + s01;
  if (i + 1 >= n) return;
  gram[first + n] = at(gram, first + n) + s10;
  if (j + 1 < n) gram[first + n + 1] = at(gram, first + n + 1) + s11;
}

/**
 * Solves A x = b for a symmetric positive definite A by Cholesky decomposition. A is row-major; its lower triangle is read
 * and overwritten.
 */
function* solveCholesky(a: Float64Array, b: Float64Array): Steps<Float64Array> {
  const n = b.length;
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j <= i; j += 1) {
      let sum = at(a, i * n + j);
      for (let k = 0; k < j; k += 1) sum -= at(a, i * n + k) * at(a, j * n + k);
      a[i * n + j] = i === j ? Math.sqrt(sum) : sum / at(a, j * n + j);
    }
    if (i % 64 === 63) yield;
  }
  for (let i = 0; i < n; i += 1) {
    let sum = at(b, i);
    for (let k = 0; k < i; k += 1) sum -= at(a, i * n + k) * at(b, k);
    b[i] = sum / at(a, i * n + i);
  }
  for (let i = n - 1; i >= 0; i -= 1) {
    let sum = at(b, i);
    for (let k = i + 1; k < n; k += 1) sum -= at(a, k * n + i) * at(b, k);
    b[i] = sum / at(a, i * n + i);
  }
  return b;
}
