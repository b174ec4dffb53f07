import { Matrix, solve } from 'ml-matrix';

export interface LeastSquares {
  readonly parameters: readonly number[];
  /** Sum of the squared residuals. */
  readonly error: number;
}

const FIRST_DAMPING = 1e-2;
const MAX_DAMPING = 1e8;
const MIN_DAMPING = 1e-9;
const DERIVATIVE_STEP = 1e-6;
/** A step that improves the error by a smaller share ends the search. */
const MIN_IMPROVEMENT = 1e-10;
/** Keeps the equations solvable when a parameter has no effect. */
const MIN_DIAGONAL = 1e-12;

/**
 * Minimises the sum of squares of `residualsOf` from a starting point (Levenberg 1944, Marquardt 1963). The parameters should
 * be of the order of 1. Only steps that reduce the error are taken, so the result is never worse than the start.
 */
export function minimiseSquares(
  residualsOf: (parameters: readonly number[]) => readonly number[],
  start: readonly number[],
  maxIterations: number,
): LeastSquares {
  let parameters = start;
  let residuals = residualsOf(parameters);
  let error = sumOfSquares(residuals);
  let damping = FIRST_DAMPING;
  for (let iteration = 0; iteration < maxIterations && damping < MAX_DAMPING; iteration += 1) {
    const jacobian = new Matrix(derivatives(residualsOf, parameters)).transpose();
    const normal = jacobian.transpose().mmul(jacobian);
    const gradient = jacobian.transpose().mmul(Matrix.columnVector([...residuals]));
    for (let isBetter = false; !isBetter && damping < MAX_DAMPING;) {
      const damped = normal.clone();
      for (let k = 0; k < parameters.length; k += 1)
        damped.set(k, k, normal.get(k, k) * (1 + damping) + MIN_DIAGONAL);
      const step = solve(damped, gradient).to1DArray();
      const next = parameters.map((value, k) => value - (step[k] ?? 0));
      const nextResiduals = residualsOf(next);
      const nextError = sumOfSquares(nextResiduals);
      isBetter = nextError < error;
      damping = isBetter ? Math.max(MIN_DAMPING, damping / 10) : damping * 10;
      if (!isBetter) continue;
      const isDone = nextError > error * (1 - MIN_IMPROVEMENT);
      [parameters, residuals, error] = [next, nextResiduals, nextError];
      if (isDone) return { parameters, error };
    }
  }
  return { parameters, error };
}

/** For each parameter the derivatives of all residuals (central differences). */
const derivatives = (
  residualsOf: (parameters: readonly number[]) => readonly number[],
  parameters: readonly number[],
): number[][] =>
  parameters.map((_, k) => {
    const shifted = (by: number): readonly number[] =>
      residualsOf(parameters.map((value, other) => (other === k ? value + by : value)));
    const [after, before] = [shifted(DERIVATIVE_STEP), shifted(-DERIVATIVE_STEP)];
    return after.map((value, index) => (value - (before[index] ?? 0)) / (2 * DERIVATIVE_STEP));
  });

const sumOfSquares = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value * value, 0);
