/** Upper end of the fit, Hz: above it, noise of the camera dominates. */
const MAX_FIT_HZ = 0.45;
const ITERATIONS = 20;

/**
 * The smooth part of a spectrum: a parabola through the logarithms of density and frequency. Densities above it count
 * less with each iteration, so that the peaks of wave trains do not lift it.
 */
export function fitBackground(
  frequenciesHz: Float64Array,
  density: Float64Array,
  minHz: number,
): Float64Array {
  const x: number[] = [];
  const y: number[] = [];
  for (const [bin, frequency] of frequenciesHz.entries())
    if (frequency >= minHz && frequency <= MAX_FIT_HZ) {
      x.push(Math.log(frequency));
      y.push(Math.log(Math.max(density[bin] ?? 0, 1e-12)));
    }
  let weights = x.map(() => 1);
  let curve: Parabola = [0, 0, 0];
  for (let iteration = 0; iteration < ITERATIONS; iteration += 1) {
    curve = fitParabola(x, y, weights);
    const residuals = x.map((at, i) => (y[i] ?? 0) - valueAt(curve, at));
    const spread = residuals.map(Math.abs).toSorted((a, b) => a - b)[residuals.length >> 1] ?? 0;
    weights = residuals.map((residual) => 1 / (1 + (Math.max(0, residual) / (spread + 1e-9)) ** 2));
  }
  return frequenciesHz.map((frequency) =>
    frequency < minHz ? 0 : Math.exp(valueAt(curve, Math.log(Math.min(frequency, MAX_FIT_HZ)))),
  );
}

type Parabola = readonly [constant: number, linear: number, square: number];

const valueAt = ([constant, linear, square]: Parabola, x: number): number =>
  constant + linear * x + square * x * x;

/** Weighted least squares by the normal equations, solved with Cramer's rule around the mean of `x`. */
function fitParabola(x: readonly number[], y: readonly number[], weights: readonly number[]): Parabola {
  const centre = x.reduce((sum, value) => sum + value, 0) / x.length;
  const moments = [0, 0, 0, 0, 0];
  const right = [0, 0, 0];
  for (const [i, value] of x.entries()) {
    const weight = weights[i] ?? 0;
    const at = value - centre;
    for (let power = 0; power < 5; power += 1) moments[power] = (moments[power] ?? 0) + weight * at ** power;
    for (let power = 0; power < 3; power += 1)
      right[power] = (right[power] ?? 0) + weight * at ** power * (y[i] ?? 0);
  }
  const [m0 = 0, m1 = 0, m2 = 0, m3 = 0, m4 = 0] = moments;
  const [r0 = 0, r1 = 0, r2 = 0] = right;
  const whole = determinant(m0, m1, m2, m1, m2, m3, m2, m3, m4);
  const a = determinant(r0, m1, m2, r1, m2, m3, r2, m3, m4) / whole;
  const b = determinant(m0, r0, m2, m1, r1, m3, m2, r2, m4) / whole;
  const c = determinant(m0, m1, r0, m1, m2, r1, m2, m3, r2) / whole;
  return [a - b * centre + c * centre * centre, b - 2 * c * centre, c];
}

const determinant = (
  a: number,
  b: number,
  c: number,
  d: number,
  e: number,
  f: number,
  g: number,
  h: number,
  i: number,
): number => a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
