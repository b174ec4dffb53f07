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

/**
 * Fits ridge regression in its dual form (Saunders, Gammerman and Vovk 1998): `(K + alpha I) a = y - mean(y)` with the
 * linear kernel `K = Z Z' / d`, where Z holds the d features, standardised over `rows` and clipped. The weights are
 * `Z' a / d`. The same rows in the same order give the same bits. `rows` must not be empty, and all rows must have the
 * same length.
 */
export function* fitRidge(
  rows: readonly Float32Array[],
  heightsM: readonly number[],
  alpha = RIDGE_ALPHA,
): Steps<RidgeModel> {
  const standardised = standardiseRows(rows);
  yield;
  const gram = yield* kernelMatrix(standardised, alpha);
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
): RidgeModel {
  if (dual.length !== rows.length) throw new RangeError('the dual solution belongs to other rows');
  return primalForm(standardiseRows(rows), mean(heightsM) ?? 0, dual);
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

/** n rows `z` of d features each, standardised and clipped. */
interface Standardised {
  readonly centre: Float64Array;
  readonly scale: Float64Array;
  readonly z: readonly Float64Array[];
  readonly n: number;
  readonly d: number;
}

function standardiseRows(rows: readonly Float32Array[]): Standardised {
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
  const z = rows.map((row) => {
    const values = new Float64Array(d);
    for (let k = 0; k < d; k += 1) values[k] = clip(((row[k] ?? 0) - at(centre, k)) * at(scale, k));
    return values;
  });
  return { centre, scale, z, n, d };
}

/** Lower triangle of `Z Z' / d + alpha I`, row-major. */
function* kernelMatrix({ z, n, d }: Standardised, alpha: number): Steps<Float64Array> {
  const gram = new Float64Array(n * n);
  let macs = 0;
  // Two rows against two columns at a time: each value that is read serves two products. This is the costly part of a fit.
  for (let i = 0; i < n; i += 2)
    for (let j = 0; j <= i; j += 2) {
      multiplyRows(z, i, j, { gram, n, d });
      macs += 4 * d;
      if (macs < STEP_MACS) continue;
      macs = 0;
      yield;
    }
  for (let i = 0; i < n; i += 1) gram[i * n + i] = at(gram, i * n + i) + alpha;
  return gram;
}

/** Sets the products of rows i and i + 1 with rows j and j + 1, as far as these rows exist. */
function multiplyRows(
  z: readonly Float64Array[],
  i: number,
  j: number,
  { gram, n, d }: { readonly gram: Float64Array; readonly n: number; readonly d: number },
): void {
  // In place of a missing last row: its products are not stored.
  const [a0 = EMPTY, a1 = a0] = [z[i], z[i + 1]];
  const [b0 = EMPTY, b1 = b0] = [z[j], z[j + 1]];
  let s00 = 0;
  let s01 = 0;
  let s10 = 0;
  let s11 = 0;
  for (let k = 0; k < d; k += 1) {
    const x0 = at(a0, k);
    const x1 = at(a1, k);
    const y0 = at(b0, k);
    const y1 = at(b1, k);
    s00 += x0 * y0;
    s01 += x0 * y1;
    s10 += x1 * y0;
    s11 += x1 * y1;
  }
  gram[i * n + j] = s00 / d;
  if (j + 1 < n) gram[i * n + j + 1] = s01 / d;
  if (i + 1 >= n) return;
  gram[(i + 1) * n + j] = s10 / d;
  if (j + 1 < n) gram[(i + 1) * n + j + 1] = s11 / d;
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
