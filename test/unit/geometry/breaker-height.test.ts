import { describe, expect, it } from 'vitest';
import { measureBreakerHeight, type SeenBreaker } from '../../../src/geometry/breaker-height.ts';
import { CameraView } from '../../../src/geometry/camera-view.ts';
import type { Lens, PixelPoint, WorldPoint } from '../../../src/geometry/types.ts';

const LENS: Lens = { fx: 1000, fy: 1000, cx: 640, cy: 360, distortion: [0, 0, 0, 0, 0] };
const viewFrom = (heightM: number): CameraView =>
  new CameraView(LENS, { position: [0, 0, heightM], azimuthDeg: 0, tiltDeg: 3, rollDeg: 0 });
const PERIOD_S = 12;
const SEA = { levelM: 0.8, periodS: PERIOD_S };
/** Wave after wave, metres. */
const HEIGHTS_M = [
  1, 1.4, 0.8, 2, 1.2, 1.6, 0.6, 1.1, 1.9, 1.3, 0.9, 1.5, 1, 1.2, 0.7, 1.8, 1.1, 1, 1.3, 0.8, 1.6, 1.2,
];
const thirdOf = (heights: readonly number[]): number => {
  const third = heights.toSorted((a, b) => b - a).slice(0, Math.ceil(heights.length / 3));
  return third.reduce((sum, height) => sum + height, 0) / third.length;
};

/** What a camera sees of waves that break 120 m away: the face leans back at 35 degrees, and runs as fast as its height allows. */
function seen(view: CameraView, heightsM: readonly number[], atM = 120): SeenBreaker[] {
  const pixelOf = (world: WorldPoint): PixelPoint => view.project(world) ?? [NaN, NaN];
  return heightsM.flatMap((heightM, crest) =>
    [-20, -10, 0, 10].map((aside, column): SeenBreaker => {
      const speed = Math.sqrt(9.81 * heightM * (1 / 0.78 + 0.5));
      const toe = (aheadM: number): PixelPoint => pixelOf([aside, aheadM, SEA.levelM]);
      const lean = heightM / Math.tan((35 * Math.PI) / 180);
      return {
        column,
        crest,
        timeS: crest * PERIOD_S + 5,
        crestPixel: pixelOf([aside, atM + lean, SEA.levelM + heightM]),
        toePixel: toe(atM),
        laterToePixel: toe(atM - speed * 2),
        laterS: 2,
      };
    }),
  );
}

describe('measureBreakerHeight', () => {
  const view = viewFrom(15);

  it('measures the mean height of the highest third of the breakers', () => {
    const height = measureBreakerHeight(seen(view, HEIGHTS_M), view, SEA);
    expect(height).toMatchObject({ count: HEIGHTS_M.length });
    if (typeof height === 'string') return;
    expect(height.heightM).toBeCloseTo(thirdOf(HEIGHTS_M), 1);
    expect(height.lowM).toBeLessThanOrEqual(height.heightM - 0.8);
    expect(height.highM).toBeGreaterThanOrEqual(height.heightM * 1.2);
    expect(height.scaleRatio).toBeCloseTo(1, 1);
  });

  it('counts the highest breaker of each wave and column once', () => {
    const all = seen(view, HEIGHTS_M);
    const inner = seen(
      view,
      HEIGHTS_M.map((heightM) => heightM / 3),
      60,
    ).map((breaker) => ({
      ...breaker,
      crest: breaker.crest + 100,
      timeS: breaker.timeS + 4,
    }));
    const [one, both] = [all, [...all, ...inner]].map((breakers) =>
      measureBreakerHeight(breakers, view, SEA),
    );
    expect(both).toMatchObject({ heightM: (one as { heightM: number }).heightM });
  });

  it.each([0.5, 2])(
    'shows by the speed of the breakers that the camera height is wrong by the factor %d',
    (factor) => {
      const wrong = viewFrom(SEA.levelM + (15 - SEA.levelM) * factor);
      const height = measureBreakerHeight(seen(view, HEIGHTS_M), wrong, SEA);
      expect((height as { scaleRatio: number }).scaleRatio).toBeCloseTo(1 / factor, 1);
    },
  );

  it('refuses fewer than 20 breakers, and breakers of which a few pixels are seen', () => {
    expect(measureBreakerHeight(seen(view, HEIGHTS_M.slice(0, 19)), view, SEA)).toBe('too_few_breakers');
    expect(measureBreakerHeight([], view, SEA)).toBe('too_few_breakers');
    expect(measureBreakerHeight(seen(view, HEIGHTS_M, 900), view, SEA)).toBe('breakers_too_small');
  });

  it('needs the tide, unless the camera stands so high that it hardly matters', () => {
    const unknown = { ...SEA, levelM: null };
    expect(measureBreakerHeight(seen(view, HEIGHTS_M), viewFrom(14), unknown)).toBe('tide_unknown');
    const high = viewFrom(40);
    const [wide, narrow] = [unknown, { ...SEA, levelM: 0 }].map((sea) =>
      measureBreakerHeight(seen(high, HEIGHTS_M), high, sea),
    ) as { lowM: number; highM: number }[];
    expect(wide?.lowM).toBeLessThan(narrow?.lowM ?? 0);
    expect(wide?.highM).toBeGreaterThan(narrow?.highM ?? 0);
  });

  it('ignores what is above the horizon', () => {
    const aboveHorizon = seen(view, HEIGHTS_M).map((breaker): SeenBreaker => ({
      ...breaker,
      crest: breaker.crest + 100,
      toePixel: [640, 10],
    }));
    const all = seen(view, HEIGHTS_M);
    expect(measureBreakerHeight([...all, ...aboveHorizon], view, SEA)).toEqual(
      measureBreakerHeight(all, view, SEA),
    );
  });
});
