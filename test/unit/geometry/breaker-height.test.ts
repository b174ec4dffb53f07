import { describe, expect, it } from 'vitest';
import { isScaleDoubtful, measureBreakerHeight } from '../../../src/geometry/breaker-height.ts';
import { CameraView } from '../../../src/geometry/camera-view.ts';
import type { SeenBreaker } from '../../../src/geometry/face-height.ts';
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

const SLOPE = Math.tan((35 * Math.PI) / 180);
const STEP_S = 0.25;
/** Foam stays behind: white water begins where the crest was when it broke, half a step before it is seen. */
const SEEN_AFTER_S = STEP_S / 2;

interface Waves {
  readonly atM?: number;
  /** Angle between the path of the waves and the line of sight, degrees. */
  readonly angleDeg?: number;
  /** In this time the white water falls from the crest to the toe. */
  readonly fallS?: number;
}

/** What a camera sees of waves that break in front of it: the face leans back at 35 degrees, and runs as fast as its height allows. */
function seen(
  view: CameraView,
  heightsM: readonly number[],
  { atM = 120, angleDeg = 0, fallS = 0 }: Waves = {},
): SeenBreaker[] {
  const pixelOf = (world: WorldPoint): PixelPoint => view.project(world) ?? [NaN, NaN];
  const [sin, cos] = [Math.sin((angleDeg * Math.PI) / 180), Math.cos((angleDeg * Math.PI) / 180)];
  return heightsM.flatMap((heightM, crest) =>
    [-0.15, -0.05, 0.05, 0.15].map((tangent, column): SeenBreaker => {
      const speed = Math.sqrt(9.81 * heightM * (1 / 0.78 + 0.5));
      /** A point of the wave, by its distance in front of the crest and its height, in the plane of this column. */
      const point = (runM: number, aheadM: number, upM: number): PixelPoint => {
        // The crest line passes (0, atM) before it breaks; waves run along (sin, -cos).
        const y = (atM * cos - runM - aheadM) / (cos - tangent * sin);
        return pixelOf([tangent * y, y, SEA.levelM + upM]);
      };
      const toe = (afterS: number): PixelPoint => {
        const fallen = fallS === 0 ? 1 : Math.min(1, afterS / fallS);
        return point(speed * afterS, (fallen * heightM) / SLOPE, heightM * (1 - fallen));
      };
      return {
        ...{ column, crest, timeS: crest * PERIOD_S + 5, stepS: STEP_S },
        crestPixel: point(0, 0, heightM),
        toePixels: Array.from({ length: 13 }, (_, step) => toe(SEEN_AFTER_S + step * STEP_S)),
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
    expect(height.lowM).toBeLessThanOrEqual(height.heightM * 0.8);
    expect(height.highM).toBeGreaterThanOrEqual(height.heightM * 1.2);
    expect(height.scaleRatio).toBeCloseTo(1, 1);
  });

  it.each<[string, Waves]>([
    ['run across the line of sight', { angleDeg: 50 }],
    ['turn white from the crest down to the toe within a second', { fallS: 1 }],
    ['break farther away', { atM: 200 }],
  ])('measures the same of waves that %s', (_what, waves) => {
    const height = measureBreakerHeight(seen(view, HEIGHTS_M, waves), view, SEA);
    const error = ((height as { heightM?: number }).heightM ?? NaN) / thirdOf(HEIGHTS_M) - 1;
    expect(Math.abs(error)).toBeLessThan(0.06);
  });

  it('counts the highest breaker of each wave and column once', () => {
    const all = seen(view, HEIGHTS_M);
    const inner = seen(
      view,
      HEIGHTS_M.map((heightM) => heightM / 2),
      { atM: 60 },
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

  it.each([
    [0.4, true],
    [1, false],
    [3, true],
  ])(
    'shows by the speed of the breakers that the camera height is wrong by the factor %d: %j',
    (factor, isWrong) => {
      const wrong = viewFrom(SEA.levelM + (15 - SEA.levelM) * factor);
      const height = measureBreakerHeight(seen(view, HEIGHTS_M), wrong, SEA);
      if (typeof height === 'string') throw new Error(height);
      expect((height.scaleRatio ?? 0) * factor).toBeGreaterThan(0.7);
      expect((height.scaleRatio ?? 0) * factor).toBeLessThan(1.4);
      expect(isScaleDoubtful(height)).toBe(isWrong);
    },
  );

  it('refuses fewer than 20 breakers, and breakers of which a few pixels are seen', () => {
    expect(measureBreakerHeight(seen(view, HEIGHTS_M.slice(0, 19)), view, SEA)).toBe('too_few_breakers');
    expect(measureBreakerHeight([], view, SEA)).toBe('too_few_breakers');
    expect(measureBreakerHeight(seen(view, HEIGHTS_M, { atM: 600 }), view, SEA)).toBe('breakers_too_small');
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
      toePixels: [[640, 10], ...breaker.toePixels.slice(1)],
    }));
    const all = seen(view, HEIGHTS_M);
    expect(measureBreakerHeight([...all, ...aboveHorizon], view, SEA)).toEqual(
      measureBreakerHeight(all, view, SEA),
    );
  });
});
