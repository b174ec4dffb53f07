import { describe, expect, it } from 'vitest';
import { parseTideStation, predictTide } from '../../../src/geometry/tide.ts';

const HOUR_MS = 3_600_000;
const START = Date.UTC(2026, 5, 1);
const day = (levelAt: (timeMs: number) => number, days = 1): readonly number[] =>
  Array.from({ length: days * 24 * 6 }, (_, step) => levelAt(START + (step * HOUR_MS) / 6));

describe('predictTide', () => {
  it('gives two high waters in 24 h 50 min for the principal lunar constituent', () => {
    const levels = predictTide([{ name: 'M2', amplitude: 1.5, phase: 40 }]);
    const period = 2 * 12.4206 * HOUR_MS;
    for (const hour of [0, 5, 11]) {
      const at = START + hour * HOUR_MS;
      expect(levels(at + period)).toBeCloseTo(levels(at), 1);
      expect(levels(at + period / 4)).toBeCloseTo(-levels(at), 1);
    }
    // The nodal factor of M2 is between 0.96 and 1.04.
    expect(Math.max(...day(levels))).toBeGreaterThan(1.5 * 0.95);
    expect(Math.max(...day(levels))).toBeLessThan(1.5 * 1.05);
  });

  it('adds spring and neap tides from moon and sun', () => {
    const levels = predictTide([
      { name: 'M2', amplitude: 1, phase: 0 },
      { name: 'S2', amplitude: 0.4, phase: 0 },
    ]);
    const ranges = Array.from({ length: 15 }, (_, index) => {
      const of = day((timeMs) => levels(timeMs + index * 24 * HOUR_MS));
      return Math.max(...of) - Math.min(...of);
    });
    expect(Math.max(...ranges)).toBeGreaterThan(2.6);
    expect(Math.min(...ranges)).toBeLessThan(1.4);
  });

  it('refuses a constituent that is not known, unless it is too small to matter', () => {
    expect(() => predictTide([{ name: 'X9', amplitude: 0.2, phase: 0 }])).toThrow(
      expect.objectContaining({ code: 'tide_invalid' }),
    );
    expect(predictTide([{ name: 'X9', amplitude: 0.005, phase: 0 }])(START)).toBe(0);
  });
});

describe('parseTideStation', () => {
  it('reads the constituents of a station file', () => {
    const constituents = [{ name: 'M2', amplitude: 0.5, phase: 231.2 }];
    const file = { name: 'Somewhere', latitude: 1, harmonic_constituents: constituents, datums: { MSL: 1 } };
    expect(parseTideStation(JSON.stringify(file))).toEqual(constituents);
  });

  it.each([
    ['{', 'no JSON'],
    ['{}', 'invalid'],
    ['{"harmonic_constituents": []}', 'invalid at /harmonic_constituents'],
    [
      '{"harmonic_constituents": [{"name": "M2", "amplitude": "1", "phase": 0}]}',
      '/harmonic_constituents/0/amplitude',
    ],
  ])('refuses %s', (text, message) => {
    expect(() => parseTideStation(text)).toThrow(message);
  });
});
