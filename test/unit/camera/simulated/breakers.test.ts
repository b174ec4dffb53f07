import { describe, expect, it } from 'vitest';
import { findBreakers, waveHeightM } from '../../../../src/camera/simulated/breakers.ts';

const CLIP = { fromS: 0, durationS: 512 };
const of = (heightM: number, periodS: number) =>
  findBreakers({ seed: 3, swells: [{ heightM, periodS }] }, CLIP);

describe('findBreakers', () => {
  it('finds breakers as high as the waves, at most one in each period', () => {
    for (const [heightM, periodS] of [
      [0.5, 12],
      [1.5, 10],
      [3, 15],
    ] as const) {
      const { count, perMinute, significantM, meanM } = of(heightM, periodS);
      expect(count).toBeGreaterThan(20);
      expect(perMinute).toBeLessThan((1.4 * 60) / periodS);
      expect(significantM).toBeGreaterThan(0.9 * heightM);
      expect(significantM).toBeLessThan(1.7 * heightM);
      expect(meanM).toBeLessThan(significantM ?? 0);
    }
  });

  it('finds none on a flat sea', () => {
    expect(findBreakers({ seed: 3, swells: [] }, CLIP)).toEqual({
      count: 0,
      perMinute: 0,
      significantM: null,
      meanM: null,
    });
  });
});

describe('waveHeightM', () => {
  it('is limited where the wave breaks', () => {
    expect([0.2, 0.5, 2].map((envelopeM) => waveHeightM(envelopeM, 1))).toEqual([0.4, 1, 1.2]);
  });
});
