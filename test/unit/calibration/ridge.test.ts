import { describe, expect, it } from 'vitest';
import { fitRidge, predictRidge } from '../../../src/calibration/ridge.ts';
import { runInSlices, runNow } from '../../../src/calibration/steps.ts';
import { randomFrom } from '../../fixtures/labelled.ts';
import { plainRidge } from '../../fixtures/plain-ridge.ts';

const rows = (values: number[][]): Float32Array[] => values.map((row) => Float32Array.from(row));

describe('fitRidge', () => {
  it('equals the closed form for one feature', () => {
    // Two rows, one feature: z = -1 and 1, K = [[1, -1], [-1, 1]], (K + 0.2 I)^-1 (y - mean) = ±0.5 / 2.2.
    const model = runNow(fitRidge(rows([[3], [5]]), [1, 2]));
    expect(predictRidge(model, Float32Array.of(5)).heightM).toBeCloseTo(1.5 + (2 * 0.5) / 2.2, 6);
    expect(predictRidge(model, Float32Array.of(4)).heightM).toBeCloseTo(1.5, 12);
  });

  it('equals a plain Gaussian elimination of the dual form', () => {
    const { normal } = randomFrom(5);
    const data = Array.from({ length: 9 }, () => Array.from({ length: 33 }, () => normal()));
    const heightsM = data.map((row) => 1 + (row[0] ?? 0) * 0.2);
    const model = runNow(fitRidge(rows(data), heightsM));
    const probe = Float32Array.from({ length: 33 }, () => normal());
    expect(predictRidge(model, probe).heightM).toBeCloseTo(plainRidge(rows(data), heightsM, probe), 10);
  });

  it('ignores constant features, and clips values at four standard deviations', () => {
    const model = runNow(
      fitRidge(
        rows([
          [0, 7],
          [1, 7],
          [0, 7],
          [1, 7],
        ]),
        [0, 1, 0, 1],
      ),
    );
    const at = (x: number, constant: number) => predictRidge(model, Float32Array.of(x, constant)).heightM;
    expect(at(0.8, 7)).toBe(at(0.8, 1e9));
    expect(at(2.5, 7)).toBeCloseTo(at(1e6, 7), 12);
  });

  it('returns the mean for one row and for identical rows', () => {
    expect(predictRidge(runNow(fitRidge(rows([[1, 2]]), [0.7])), Float32Array.of(9, -9)).heightM).toBe(0.7);
    const identical = runNow(
      fitRidge(
        rows([
          [1, 2],
          [1, 2],
        ]),
        [0.4, 0.8],
      ),
    );
    expect(predictRidge(identical, Float32Array.of(3, 3)).heightM).toBeCloseTo(0.6, 12);
  });
});

describe('runInSlices', () => {
  it('lets timers run during a long fit, and gives the same result', async () => {
    const { normal } = randomFrom(6);
    const data = rows(Array.from({ length: 220 }, () => Array.from({ length: 1280 }, () => normal())));
    const heightsM = data.map((row) => row[0] ?? 0);
    let ticks = 0;
    const timer = setInterval(() => (ticks += 1), 1);
    const model = await runInSlices(fitRidge(data, heightsM));
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(1);
    expect(model.weight).toEqual(runNow(fitRidge(data, heightsM)).weight);
  });

  it('stops when the signal aborts', async () => {
    const endless = (function* (): Generator<undefined, never, undefined> {
      for (;;) yield;
    })();
    await expect(runInSlices(endless, AbortSignal.timeout(20))).rejects.toThrow();
  });
});
