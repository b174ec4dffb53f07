import { describe, expect, it } from 'vitest';
import { measureSimulatedBreakers } from '../../scripts/sea-state/breakers.ts';
import { createSeas } from '../../scripts/sea-state/seas.ts';

/** The short form of `npm run check:breakers`. */
describe('the height of breakers of a simulated sea, from its images', () => {
  const [sea] = createSeas(1, 1000);
  if (!sea) throw new TypeError('no sea');
  const clip = { durationS: 80, fps: 2, widthPx: 640 };

  it('is close to the truth', () => {
    const { height, truthM } = measureSimulatedBreakers(sea, clip);
    if (typeof height === 'string') throw new Error(height);
    expect(truthM).toBeGreaterThan(1);
    expect(Math.abs(height.heightM / truthM - 1)).toBeLessThan(0.25);
    expect(height.lowM).toBeLessThan(truthM);
  }, 120_000);

  it('is refused for a flat sea', () => {
    const flat = { ...sea, conditions: { ...sea.conditions, swells: [] } };
    expect(measureSimulatedBreakers(flat, { ...clip, durationS: 40 }).height).toBe('too_few_breakers');
  }, 120_000);
});
