import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import { estimateSeaState } from '../../../src/sea-state/estimate.ts';
import type { PixelSeries } from '../../../src/sea-state/types.ts';
import { randomSea, reversed, type SeaTrain } from '../../fixtures/random-sea.ts';

const estimate = (series: PixelSeries) => estimateSeaState(series, { isShoreKnown: true, findings: null });
const SWELL: readonly SeaTrain[] = [{ periodS: 12, amount: 1 }];
/** Half a frequency bin at this period, seconds: segments of 128 s. */
const halfBinS = (periodS: number): number => periodS ** 2 / 128 / 2;

const still = (grey: (cell: number) => number, noise: number): PixelSeries => {
  const base = randomSea({ trains: SWELL, durationS: 1 });
  const samples = 1024;
  const stride = base.columns * base.rows;
  const random = seededRandom(5);
  const values = Uint8Array.from(
    { length: samples * stride },
    (_, i) => grey(i % stride) + Math.round(noise * (random() + random() + random() - 1.5) * 2),
  );
  return { ...base, samples, values };
};

describe('estimateSeaState', () => {
  it('finds the period, its interval and the direction of travel', () => {
    const { period, reasons, travelDeg, shoreward } = estimate(randomSea({ trains: SWELL }));
    expect(reasons).toEqual([]);
    expect(Math.abs((period?.peakS ?? 0) - 12)).toBeLessThan(0.05 * 12 + halfBinS(12));
    expect(period?.lowS).toBeLessThanOrEqual(12);
    expect(period?.highS).toBeGreaterThanOrEqual(12);
    expect((period?.highS ?? 0) - (period?.lowS ?? 0)).toBeGreaterThanOrEqual(2 * halfBinS(12) * 0.9);
    expect(period?.second).toBeNull();
    // Down, and a little to the right.
    expect(travelDeg).toBeGreaterThan(150);
    expect(travelDeg).toBeLessThan(180);
    expect(shoreward).toBeGreaterThan(0.9);
  });

  it('gives the same result for the same clip', () => {
    const sea = randomSea({ trains: SWELL, seed: 3 });
    expect(estimate(sea)).toEqual(estimate(sea));
  });

  it('reports two trains, and the period of the one with more energy', () => {
    const { period } = estimate(
      randomSea({ trains: [...SWELL, { periodS: 5, amount: 0.8 }], seed: 2, durationS: 840 }),
    );
    expect(Math.abs((period?.peakS ?? 0) - 12)).toBeLessThan(1);
    expect(Math.abs((period?.second?.peakS ?? 0) - 5)).toBeLessThan(0.5);
    expect(period?.second?.interval?.lowS).toBeLessThan(5);
    expect(period?.second?.interval?.highS).toBeGreaterThan(5);
  });

  it('refuses reversed frames', () => {
    expect(estimate(reversed(randomSea({ trains: SWELL })))).toMatchObject({
      period: null,
      reasons: ['seaward'],
    });
  });

  it('answers reversed frames when nobody knows where the shore is', () => {
    const { period } = estimateSeaState(reversed(randomSea({ trains: SWELL })), {
      isShoreKnown: false,
      findings: null,
    });
    expect(Math.abs((period?.peakS ?? 0) - 12)).toBeLessThan(1);
  });

  it('refuses standing waves', () => {
    const { reasons, shoreward } = estimate(randomSea({ trains: SWELL, reflected: 1 }));
    expect([reasons, shoreward]).toEqual([[expect.stringMatching(/seaward|incoherent/)], expect.any(Number)]);
  });

  it('refuses a clip that repeats a part', () => {
    const part = randomSea({ trains: SWELL, durationS: 45 });
    const times = 12;
    const values = Uint8Array.from(
      { length: part.values.length * times },
      (_, i) => part.values[i % part.values.length] ?? 0,
    );
    expect(estimate({ ...part, samples: part.samples * times, values })).toMatchObject({
      reasons: ['repeated'],
    });
  });

  it.each<[string, PixelSeries, string]>([
    ['a short clip', randomSea({ trains: SWELL, durationS: 170 }), 'too_short'],
    ['a low rate', randomSea({ trains: SWELL, rateHz: 0.5 }), 'too_few_frames'],
    ['missing samples', { ...randomSea({ trains: SWELL }), missing: 300 }, 'gaps'],
    ['one long gap', { ...randomSea({ trains: SWELL }), missing: 24, longestGapS: 12 }, 'gaps'],
    [
      'no sample',
      { ...randomSea({ trains: SWELL, durationS: 1 }), samples: 0, values: new Uint8Array(0) },
      'too_short',
    ],
    ['a frozen picture', still((cell) => cell % 251, 0), 'frozen'],
    ['a flat sea', still((cell) => 60 + (cell % 100), 2), 'no_water'],
    ['a dark picture', still(() => 3, 1), 'dark'],
    ['fog', still(() => 200, 1), 'no_water'],
    ['strong noise', still(() => 120, 40), 'incoherent|no_peak|no_water'],
  ])('refuses %s', (_what, series, reason) => {
    const { period, reasons } = estimate(series);
    expect(period).toBeNull();
    expect(reasons.join()).toMatch(new RegExp(`^(${reason})$`));
  });

  it('finds the dominant period of 40 seas, and its interval covers it as often as it states', () => {
    const random = seededRandom(20_261_201);
    let answered = 0;
    let close = 0;
    let covered = 0;
    for (let sea = 0; sea < 40; sea += 1) {
      const periodS = 5 + 11 * random();
      const trains: SeaTrain[] = [{ periodS, amount: 1 }];
      if (sea % 2 === 1) trains.push({ periodS: Math.max(3.5, periodS / (2.2 + random())), amount: 0.5 });
      const { period } = estimate(randomSea({ trains, seed: sea + 100, sway: (sea % 3) * 0.1 }));
      if (!period) continue;
      answered += 1;
      if (Math.abs(period.peakS - periodS) <= 0.05 * periodS + halfBinS(periodS)) close += 1;
      if (period.lowS <= periodS && period.highS >= periodS) covered += 1;
    }
    console.log(`${String(answered)} of 40 answered, ${String(close)} close, ${String(covered)} covered`);
    expect(answered).toBeGreaterThanOrEqual(36);
    expect(close).toBeGreaterThanOrEqual(36);
    expect(covered / answered).toBeGreaterThanOrEqual(0.7);
  });
});
