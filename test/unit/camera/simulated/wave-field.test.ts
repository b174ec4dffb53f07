import { describe, expect, it } from 'vitest';
import type { Swell } from '../../../../src/camera/simulated/sea-state.ts';
import { WaveField, waveNumber } from '../../../../src/camera/simulated/wave-field.ts';

interface Point {
  readonly s: number;
  readonly c: number;
}

/** Mean phase by which the second point lags behind the first, radians, and the significant height at the first. */
function compare(swells: readonly Swell[], a: Point, b: Point): { lagRad: number; heightM: number } {
  const field = new WaveField(3);
  const [first, second] = [
    { upM: 0, acrossM: 0 },
    { upM: 0, acrossM: 0 },
  ];
  let re = 0;
  let im = 0;
  let square = 0;
  const count = 1000;
  for (let i = 0; i < count; i += 1) {
    field.set(swells, i * 1.7);
    field.sample(a.s, a.c, first);
    field.sample(b.s, b.c, second);
    re += first.upM * second.upM + first.acrossM * second.acrossM;
    im += first.acrossM * second.upM - first.upM * second.acrossM;
    square += first.upM ** 2;
  }
  return { lagRad: Math.atan2(im, re), heightM: 4 * Math.sqrt(square / count) };
}

describe('WaveField', () => {
  const swell: Swell = { heightM: 1, periodS: 10 };

  it('has the height of its trains, and higher waves over a shallow bottom', () => {
    const at = (c: number): number => compare([swell], { s: 0, c }, { s: 0, c }).heightM;
    expect(Math.abs(at(800) - 1)).toBeLessThan(0.15);
    expect(at(15)).toBeGreaterThan(1.1 * at(200));
    const two = [swell, { heightM: 2, periodS: 6 }];
    expect(Math.abs(compare(two, { s: 0, c: 800 }, { s: 0, c: 800 }).heightM - Math.sqrt(5))).toBeLessThan(
      0.3,
    );
  });

  it('travels to the shore with the speed of the dispersion relation', () => {
    const spanM = 4;
    const { lagRad } = compare([swell], { s: 0, c: 202 }, { s: 0, c: 198 });
    const expected = waveNumber(10, new WaveField(3).depthAt(200)) * spanM;
    expect(Math.abs(lagRad / expected - 1)).toBeLessThan(0.15);
  });

  it('travels along the shore in the direction of its train', () => {
    const alongRad = (directionDeg: number): number =>
      compare([{ ...swell, directionDeg }], { s: 0, c: 200 }, { s: 10, c: 200 }).lagRad;
    expect(alongRad(20)).toBeGreaterThan(0.05);
    expect(alongRad(-20)).toBeLessThan(-0.05);
  });
});
