import { describe, expect, it } from 'vitest';
import { measureSimulatedBreakers } from '../../scripts/sea-state/breakers.ts';
import { createSeas } from '../../scripts/sea-state/seas.ts';
import { isScaleDoubtful } from '../../src/geometry/breaker-height.ts';

/** The short form of `npm run check:breakers`. */
describe('the height of breakers of a simulated sea, from its images', () => {
  const clip = { durationS: 100, fps: 2, widthPx: 640 };

  it.each([
    ['0.8', 2],
    ['1.4', 8],
  ])(
    'is close to the truth of %s m',
    (_height, index) => {
      const sea = createSeas(20, 1000)[index];
      if (!sea) throw new TypeError('no sea');
      const { height, truthM } = measureSimulatedBreakers(sea, clip);
      if (typeof height === 'string') throw new Error(height);
      expect(truthM).toBeGreaterThan(0.5);
      expect(Math.abs(height.heightM / truthM - 1)).toBeLessThan(0.25);
      expect(isScaleDoubtful(height)).toBe(false);
    },
    120_000,
  );

  it('is refused for a flat sea', () => {
    const flat = { seed: 5, conditions: { swells: [] } };
    expect(measureSimulatedBreakers(flat, { ...clip, durationS: 30 }).height).toBe('too_few_breakers');
  }, 120_000);
});
