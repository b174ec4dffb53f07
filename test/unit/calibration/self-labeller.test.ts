import { describe, expect, it } from 'vitest';
import { SelfLabeller } from '../../../src/calibration/self-labeller.ts';
import type { HeightEstimate } from '../../../src/calibration/types.ts';

const estimate = (
  heightM: number | null,
  medianM: number | null,
  basis: HeightEstimate['basis'],
): HeightEstimate => ({
  heightM,
  lowM: heightM,
  highM: heightM,
  coverage: null,
  basis,
  reason: heightM === null ? 'uncalibrated' : null,
  medianM,
  summary: { labels: 0, labels_wanted: 8, loo_mae_m: null, loo_median_mae_m: null, view: 'unknown' },
});
const truth = (heightM: number) => ({ heightM, periodS: 9 });

describe('SelfLabeller', () => {
  it('reads the mean of the burst, to 5 cm as people do', () => {
    const labeller = new SelfLabeller({ noiseM: 0, seed: 1, maxLabels: 10 });
    expect(labeller.read(null, [truth(1), truth(1.26), undefined])).toBeCloseTo(1.15, 9);
    expect(labeller.read(null, [undefined])).toBeNull();
    expect(labeller.read(null, [])).toBeNull();
  });

  it('scores each estimate against the truth, before its label, beside the median of that time', () => {
    const labeller = new SelfLabeller({ noiseM: 0, seed: 1, maxLabels: 10 });
    labeller.read(estimate(null, null, null), [truth(1)]);
    labeller.read(estimate(1, 1, 'site_median'), [truth(2)]);
    labeller.read(estimate(1.75, 1.5, 'site_calibrated'), [truth(2)]);
    expect(labeller.score()).toEqual({
      n: 2,
      maeM: 0.625,
      medianMaeM: 0.75,
      calibrated: { n: 1, maeM: 0.25, medianMaeM: 0.5 },
    });
  });

  it('falls silent after its labels, and scores on', () => {
    const labeller = new SelfLabeller({ noiseM: 0, seed: 1, maxLabels: 2 });
    const given = [1, 2, 3].map((heightM) => labeller.read(estimate(1, 1, 'site_median'), [truth(heightM)]));
    expect(given).toEqual([1, 2, null]);
    expect(labeller.score()).toMatchObject({ n: 3, maeM: 1 });
  });

  it('reads with the noise asked for, never below zero, the same for the same seed', () => {
    const readings = (seed: number) => {
      const labeller = new SelfLabeller({ noiseM: 0.3, seed, maxLabels: 4000 });
      return Array.from({ length: 4000 }, () => labeller.read(null, [truth(2)]) ?? NaN);
    };
    const some = readings(7);
    const mean = some.reduce((a, b) => a + b) / some.length;
    const sd = Math.sqrt(some.reduce((sum, r) => sum + (r - mean) ** 2, 0) / some.length);
    expect(mean).toBeCloseTo(2, 1);
    expect(sd).toBeGreaterThan(0.27);
    expect(sd).toBeLessThan(0.33);
    expect(readings(7)).toEqual(some);
    expect(readings(8)).not.toEqual(some);
    const flat = new SelfLabeller({ noiseM: 0.3, seed: 1, maxLabels: 100 });
    expect(Math.min(...Array.from({ length: 100 }, () => flat.read(null, [truth(0)]) ?? NaN))).toBe(0);
  });
});
