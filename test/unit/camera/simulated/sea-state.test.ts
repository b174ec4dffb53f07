import { describe, expect, it } from 'vitest';
import { blendedPeriodS, swellsAt, truthAt, truthOf } from '../../../../src/camera/simulated/sea-state.ts';

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

describe('truthAt', () => {
  it('depends on seed and time only', () => {
    expect(truthAt(7, 12_345)).toEqual(truthAt(7, 12_345));
    expect(truthAt(7, 12_345)).not.toEqual(truthAt(8, 12_345));
  });

  it('stays between 0.25 and 3.6 m, with small and large days for each seed', () => {
    for (const seed of [1, 2, 3, 40]) {
      const days = Array.from({ length: 400 }, (_, hour) => truthAt(seed, hour * 3600));
      const heights = days.map(({ heightM }) => heightM);
      expect(Math.min(...heights)).toBeGreaterThan(0.25);
      expect(Math.min(...heights)).toBeLessThan(0.7);
      expect(Math.max(...heights)).toBeGreaterThan(2.4);
      expect(Math.max(...heights)).toBeLessThan(3.6);
      for (const { periodS } of days) {
        expect(periodS).toBeGreaterThan(3.5);
        expect(periodS).toBeLessThan(16.5);
      }
    }
  });

  it('correlates over minutes, and not over eight hours', () => {
    const correlation = (lagS: number): number => {
      const a = Array.from({ length: 600 }, (_, i) => truthAt(5, i * 4000).heightM);
      const b = Array.from({ length: 600 }, (_, i) => truthAt(5, i * 4000 + lagS).heightM);
      const [ma, mb] = [mean(a), mean(b)];
      const cov = mean(a.map((value, i) => (value - ma) * (b[i]! - mb)));
      return cov / Math.sqrt(mean(a.map((v) => (v - ma) ** 2)) * mean(b.map((v) => (v - mb) ** 2)));
    };
    expect(correlation(600)).toBeGreaterThan(0.95);
    expect(Math.abs(correlation(8 * 3600))).toBeLessThan(0.2);
  });
});

describe('truthOf', () => {
  it('takes the period of the train with the most energy', () => {
    expect(
      truthOf([
        { heightM: 1, periodS: 14 },
        { heightM: 2, periodS: 6 },
      ]),
    ).toMatchObject({
      periodS: 6,
      trains: [{ periodS: 6 }, { periodS: 14 }],
    });
    expect(truthOf([])).toEqual({ heightM: 0, periodS: 0, trains: [], tideM: 0 });
  });

  it('adds the energies of the wave trains', () => {
    const trains = [
      { heightM: 3, periodS: 14 },
      { heightM: 4, periodS: 8 },
    ];
    expect(truthOf(trains).heightM).toBeCloseTo(5);
    expect(blendedPeriodS(trains)).toBeLessThan(11);
    expect(truthOf([{ heightM: 1.2, periodS: 9, directionDeg: -10 }], 0.4)).toEqual({
      heightM: 1.2,
      periodS: 9,
      trains: [{ heightM: 1.2, periodS: 9, directionDeg: -10 }],
      tideM: 0.4,
    });
    expect(swellsAt(1, 0)).toHaveLength(3);
  });
});
