import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { loadGeometry } from '../../../src/geometry/camera-geometry.ts';
import { breakerFields, type BreakerInput } from '../../../src/observation/clips/breaker-record.ts';
import type { BreakerFace } from '../../../src/sea-state/types.ts';

const PLACE = { columns: 16, rows: 432, firstRow: 288, frameWidth: 1280, frameHeight: 720 };
const RATE_HZ = 2;
const PERIOD_S = 10;

/** Breakers of 8 rows, 12 rows below the first one: 1.3 m at a distance of 200 m. */
const faces = (count: number): BreakerFace[] =>
  Array.from({ length: count }, (_, crest) =>
    [4, 5, 6].map((column) => ({
      ...{ column, crest, sample: crest * PERIOD_S * RATE_HZ + 3 },
      ...{ crestRow: 60, toeRows: [67, 68, 69, 70, 71, 72, 73] },
    })),
  ).flat();

const geometry = await loadGeometry({
  cameraHeightM: 14,
  horizonRow: 0.4,
  fovDeg: 60,
  tide: { offsetM: 0.2 },
});
const INPUT: BreakerInput = {
  ...{ geometry, faces: faces(25), place: PLACE, rateHz: RATE_HZ, periodS: PERIOD_S },
  ...{ capturedAtMs: 1e12, isClockSynced: true },
  levelAt: (place, timeMs) => place.levelAt(timeMs),
};
const NOTHING = { height_m: null, low_m: null, high_m: null, count: null };

describe('breakerFields', () => {
  it('gives height, interval, count and tide', () => {
    const { breaker } = breakerFields(INPUT);
    expect(breaker).toMatchObject({ count: 25, tide_m: 0.2, reason: null });
    // The faces span rows 348 to 356 of the frame, with the horizon at row 288.
    const rough = (13.8 * 8) / (356 - 288);
    expect(breaker.height_m).toBeGreaterThan(0.8 * rough);
    expect(breaker.height_m).toBeLessThan(rough);
    expect(breaker.low_m).toBeLessThan(breaker.height_m ?? 0);
    expect(breaker.high_m).toBeGreaterThan(breaker.height_m ?? 99);
  });

  it('gives the same in frames that were reduced', () => {
    const half = { ...PLACE, rows: 216, frameWidth: 2560, frameHeight: 1440, firstRow: 576 };
    const coarse = faces(25).map((face) => ({
      ...{ ...face, crestRow: 30 },
      toeRows: face.toeRows.map((row) => (row + 1) / 2 - 1),
    }));
    const { breaker } = breakerFields({ ...INPUT, place: half, faces: coarse });
    expect(breaker.height_m).toBeCloseTo(breakerFields(INPUT).breaker.height_m ?? NaN, 1);
  });

  it.each([
    ['no geometry', { geometry: null }, 'no_geometry', null],
    [
      'a file that cannot be read',
      { geometry: new AgentError('pose_unusable', 'gone') },
      'geometry_unusable',
      null,
    ],
    ['no period', { periodS: null, faces: null }, 'no_period', null],
    ['few breakers', { faces: faces(5) }, 'too_few_breakers', 0.2],
    ['no breakers', { faces: [] }, 'too_few_breakers', 0.2],
  ])('says why there is no height: %s', (_, change, reason, tide_m) => {
    expect(breakerFields({ ...INPUT, ...change }).breaker).toEqual({ ...NOTHING, tide_m, reason });
  });

  it('says that a low camera needs the tide', async () => {
    const unknown = await loadGeometry({ cameraHeightM: 8, horizonRow: 0.4 });
    expect(breakerFields({ ...INPUT, geometry: unknown }).breaker.reason).toBe('tide_unknown');
  });

  it('reports a camera height that the speed of the breakers contradicts', async () => {
    const doubtful = await Promise.all(
      [3, 10, 40].map(async (cameraHeightM) => {
        const tide = { offsetM: 0 };
        const other = await loadGeometry({ cameraHeightM, horizonRow: 0.4, fovDeg: 60, tide });
        return breakerFields({ ...INPUT, geometry: other }).isDoubtful;
      }),
    );
    expect(doubtful).toContain(true);
    expect(doubtful).toContain(false);
  });
});
