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
  it('labels a burst with its mean true height, rounded to 5 cm', () => {
    const labeller = new SelfLabeller({ noiseM: 0, seed: 1, maxLabels: 10 });
    expect(labeller.label(null, [truth(1), truth(1.26), undefined])).toBeCloseTo(1.15, 9);
    expect(labeller.label(null, [undefined])).toBeNull();
    expect(labeller.label(null, [])).toBeNull();
  });

  it('scores each estimate against the true height before its label, and the median at that time', () => {
    const labeller = new SelfLabeller({ noiseM: 0, seed: 1, maxLabels: 10 });
    labeller.label(estimate(null, null, null), [truth(1)]);
    labeller.label(estimate(1, 1, 'site_median'), [truth(2)]);
    labeller.label(estimate(1.75, 1.5, 'site_calibrated'), [truth(2)]);
    expect(labeller.score()).toEqual({
      n: 2,
      maeM: 0.625,
      medianMaeM: 0.75,
      calibrated: { n: 1, maeM: 0.25, medianMaeM: 0.5 },
    });
  });

  it('stops labelling after the maximum, and continues to score', () => {
    const labeller = new SelfLabeller({ noiseM: 0, seed: 1, maxLabels: 2 });
    const labels = [1, 2, 3].map((heightM) =>
      labeller.label(estimate(1, 1, 'site_median'), [truth(heightM)]),
    );
    expect(labels).toEqual([1, 2, null]);
    expect(labeller.score()).toMatchObject({ n: 3, maeM: 1 });
  });

  it('adds the configured noise, never below zero, and repeats it for the same seed', () => {
    const readings = (seed: number) => {
      const labeller = new SelfLabeller({ noiseM: 0.3, seed, maxLabels: 4000 });
      return Array.from({ length: 4000 }, () => labeller.label(null, [truth(2)]) ?? NaN);
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
    expect(Math.min(...Array.from({ length: 100 }, () => flat.label(null, [truth(0)]) ?? NaN))).toBe(0);
  });
});
