import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import { measureBreaking } from '../../../src/sea-state/breaking.ts';
import type { PixelSeries } from '../../../src/sea-state/types.ts';

const COLUMNS = 12;
const ROWS = 40;
const RATE_HZ = 2;
const DURATION_S = 300;
const SAMPLES = DURATION_S * RATE_HZ;
/** Rows with water. */
const WATER = { from: 5, to: 34 };
const ROW_DELAY_S = 0.6;
const FOAM_S = 3;

interface Scene {
  /** Times at which a breaker appears, seconds. */
  readonly breakersS: readonly number[];
  /** Rows over which each breaker runs. */
  readonly rows?: number;
  /** +1 down the picture, -1 up, 0 all rows at once. */
  readonly direction?: -1 | 0 | 1;
  readonly light?: (atS: number) => number;
  /** Standard deviation of the shading of waves that do not break, grey levels. */
  readonly shading?: number;
}

/** Water of grey 70 with breakers of grey 220, under a sky of 180 and over a beach of 200. */
function scene({ breakersS, rows = 20, direction = 1, light = () => 0, shading = 4 }: Scene): PixelSeries {
  const random = seededRandom(7);
  const noise = (): number => (random() + random() + random() - 1.5) * 2;
  const values = new Uint8Array(SAMPLES * ROWS * COLUMNS);
  for (let sample = 0, at = 0; sample < SAMPLES; sample += 1)
    for (let row = 0; row < ROWS; row += 1)
      for (let column = 0; column < COLUMNS; column += 1, at += 1)
        values[at] = Math.min(255, Math.max(0, greyAt(row, sample / RATE_HZ)));
  return {
    ...{ rateHz: RATE_HZ, samples: SAMPLES, columns: COLUMNS, rows: ROWS, values },
    ...{ missing: 0, longestGapS: 0, cellAspect: 1 },
  };

  function greyAt(row: number, atS: number): number {
    const grey = light(atS) + 2 * noise();
    if (row < WATER.from) return grey + 180;
    if (row > WATER.to) return grey + 200;
    const along = direction < 0 ? WATER.to - row : row - WATER.from;
    const delayS = along * ROW_DELAY_S * Math.abs(direction);
    const isWhite =
      along < rows && breakersS.some((startS) => atS >= startS + delayS && atS < startS + delayS + FOAM_S);
    return grey + (isWhite ? 220 : 70 + shading * Math.SQRT2 * Math.sin((2 * Math.PI * (atS - delayS)) / 10));
  }
}

const every = (stepS: number): readonly number[] =>
  Array.from({ length: Math.floor((DURATION_S - 20) / stepS) }, (_, i) => 3 + i * stepS);
const WATER_CELLS = Array.from(
  { length: (WATER.to - WATER.from + 1) * COLUMNS },
  (_, i) => i + WATER.from * COLUMNS,
);
const ALL_CELLS = Array.from({ length: ROWS * COLUMNS }, (_, i) => i);
const measure = (series: PixelSeries, isShoreKnown = true, moving: readonly number[] = WATER_CELLS) =>
  measureBreaking(series, moving, { periodS: 10, isShoreKnown });
/** Share of the picture that is white in the scene. */
const trueShare = (breakers: number): number => ((breakers * FOAM_S) / DURATION_S) * (20 / ROWS);

describe('measureBreaking', () => {
  it('counts the breakers and measures the white area', () => {
    const breakersS = every(12);
    const { whiteShare, perMinute } = measure(scene({ breakersS }));
    expect(Math.abs((perMinute ?? 0) - breakersS.length / (DURATION_S / 60))).toBeLessThan(0.3);
    expect(Math.abs(whiteShare / trueShare(breakersS.length) - 1)).toBeLessThan(0.1);
  });

  it('counts a wave once that breaks twice', () => {
    const series = scene({ breakersS: every(15) });
    // Between two bars the foam disappears.
    const bar = 14;
    for (let sample = 0; sample < SAMPLES; sample += 1)
      series.values.fill(70, (sample * ROWS + bar) * COLUMNS, (sample * ROWS + bar + 4) * COLUMNS);
    expect(measure(series).perMinute).toBeCloseTo(measure(scene({ breakersS: every(15) })).perMinute ?? 0, 1);
  });

  it.each<[string, Scene]>([
    ['a flat sea', { breakersS: [], shading: 0 }],
    ['swell that does not break', { breakersS: [], shading: 12 }],
    ['clouds over swell', { breakersS: [], light: (atS) => 25 * Math.sin(atS / 15) }],
    ['flashes of light', { breakersS: [], light: (atS) => (Math.round(atS) % 20 === 0 ? 40 : 0) }],
  ])('finds nothing in %s', (_what, input) => {
    const { whiteShare, perMinute, sets } = measure(scene(input), true, ALL_CELLS);
    expect(whiteShare).toBeLessThan(0.002);
    expect([perMinute, sets]).toEqual([0, null]);
  });

  it('measures the same with clouds, with sand among the cells, and with less contrast', () => {
    const breakersS = every(12);
    const clear = measure(scene({ breakersS }));
    const cloudy = measure(scene({ breakersS, light: (atS) => 20 * Math.sin(atS / 20) }), true, ALL_CELLS);
    const dull = scene({ breakersS });
    for (const [at, value] of dull.values.entries()) dull.values[at] = 60 + value * 0.4;
    for (const other of [cloudy, measure(dull)]) {
      expect(other.perMinute).toBeCloseTo(clear.perMinute ?? 0, 0);
      expect(Math.abs(other.whiteShare / clear.whiteShare - 1)).toBeLessThan(0.15);
    }
  });

  it('gives no number of breakers when the white water does not travel to the shore', () => {
    const breakersS = every(12);
    expect(measure(scene({ breakersS, direction: -1 })).perMinute).toBeNull();
    expect(measure(scene({ breakersS, direction: 0 })).perMinute).toBe(0);
    // In a time stack nobody knows where the shore is.
    expect(measure(scene({ breakersS, direction: -1 }), false).perMinute).toBeGreaterThan(3);
  });

  it('separates sets with lulls between them, and none in even waves', () => {
    const groups = [20, 110, 200].flatMap((startS) => [0, 10, 20].map((afterS) => startS + afterS));
    const { sets, setIntervalS } = measure(scene({ breakersS: groups }));
    expect(sets).toBe(3);
    expect(Math.abs((setIntervalS ?? 0) - 90)).toBeLessThan(10);
    expect(measure(scene({ breakersS: every(10) }))).toMatchObject({ sets: null, setIntervalS: null });
    expect(measure(scene({ breakersS: groups.slice(0, 3) }))).toMatchObject({ sets: null });
  });
});
