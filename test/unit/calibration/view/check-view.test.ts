import { describe, expect, it } from 'vitest';
import { runNow } from '../../../../src/calibration/steps.ts';
import { buildViewReference, checkView } from '../../../../src/calibration/view/check-view.ts';
import { packBurst, unpackBurst } from '../../../../src/store/packed-burst.ts';
import { drawnView } from '../../../fixtures/labelled.ts';
import type { ViewSignature } from '../../../../src/vision/protocol.ts';

const labelled = Array.from({ length: 8 }, (_, i) => drawnView({ seed: i, light: 0.5 + 0.08 * i }));
const reference = runNow(buildViewReference(labelled, true));
const withText = (view: ViewSignature): ViewSignature => {
  const luma = view.luma.slice();
  for (let y = 78; y < 86; y += 1)
    for (let x = 4; x < 44; x += 1) luma[y * 160 + x] = (x * 7 + y * 3) % 5 < 2 ? 235 : 15;
  return { ...view, luma };
};

/** A quarter of the frame is masked. The light hardly changes, so only the constant luma shows the mask. */
const withMask = (view: ViewSignature): ViewSignature => {
  const luma = view.luma.slice();
  for (let y = 20; y < 65; y += 1) luma.fill(128, y * 160 + 50, y * 160 + 130);
  return { ...view, luma };
};

/** The view as the store returns it: rounded. */
const stored = (view: ViewSignature): ViewSignature =>
  unpackBurst(packBurst({ embedding: new Float32Array(), view })).view ?? view;

describe('checkView', () => {
  it.each([3, 8])(
    'finds a move after %d labels in the same light, whose stored views are rounded',
    (count) => {
      const views = Array.from({ length: count }, (_, i) => stored(drawnView({ seed: i, light: 0.9 })));
      const sameLight = runNow(buildViewReference(views, true));
      expect(sameLight?.weights).toBeNull();
      expect(checkView(sameLight, drawnView({ seed: 95, light: 0.9 })).state).toBe('same');
      for (const move of [{ shiftX01: 0.1 }, { shiftX01: -0.2, shiftY01: 0.2 }])
        expect(checkView(sameLight, drawnView({ seed: 94, light: 0.9, ...move }))).toMatchObject({
          state: 'changed',
          zoom: 1,
        });
    },
  );

  it.each([3, 8])('ignores a privacy mask, with %d labels in the same light', (count) => {
    const views = Array.from({ length: count }, (_, i) =>
      stored(withMask(drawnView({ seed: i, light: 0.9 + 0.01 * i }))),
    );
    const maskedReference = runNow(buildViewReference(views, true));
    expect(checkView(maskedReference, withMask(drawnView({ seed: 95, light: 0.93 })))).toMatchObject({
      state: 'same',
    });
    for (const move of [{ shiftX01: 0.1 }, { shiftY01: -0.1 }, { zoom: 1.13 }]) {
      const check = checkView(maskedReference, withMask(drawnView({ seed: 94, light: 0.93, ...move })));
      expect(check.state, JSON.stringify(move)).not.toBe('same');
    }
  });

  it.each([
    ['at another hour', { light: 0.35 }],
    ['in glare', { light: 1.3 }],
    ['with a mast in the wind', { shiftX01: 0.009, shiftY01: 0.006 }],
  ])('recognises the place %s', (_, more) => {
    expect(checkView(reference, drawnView({ seed: 99, ...more }))).toMatchObject({ state: 'same', zoom: 1 });
  });

  it.each([
    [0.05, 0],
    [-0.1, 0],
    [0.2, 0],
    [0, 0.06],
    [0, -0.15],
    [-0.08, 0.08],
  ])('finds a shift by %d of the width and %d of the height', (shiftX01, shiftY01) => {
    const check = checkView(reference, drawnView({ seed: 98, shiftX01, shiftY01 }));
    expect(check).toMatchObject({ state: 'changed', zoom: 1 });
    expect(check.shiftX01).toBeCloseTo(shiftX01, 1);
    expect(check.shiftY01).toBeCloseTo(shiftY01, 1);
  });

  it.each([0.84, 0.92, 1.13, 1.2])('finds a zoom of %d', (zoom) => {
    const check = checkView(reference, drawnView({ seed: 97, zoom }));
    expect(check.state).toBe('changed');
    expect(check.zoom).toBeGreaterThan(zoom - 0.06);
    expect(check.zoom).toBeLessThan(zoom + 0.06);
  });

  it('reports another place as changed if the reference has enough views', () => {
    expect(checkView(reference, drawnView({ seed: 96, place: 5 })).state).toBe('changed');
  });

  it('ignores text that the camera draws into the frame', () => {
    const textReference = runNow(buildViewReference(labelled.map(withText), true));
    expect(checkView(textReference, withText(drawnView({ seed: 95 }))).state).toBe('same');
    expect(checkView(textReference, withText(drawnView({ seed: 95, shiftX01: 0.08 }))).state).toBe('changed');
  });

  it.each([
    ['no reference', null, drawnView({ seed: 1 })],
    ['no view signature', reference, null],
    ['a uniform view', reference, { luma: new Uint8Array(14_400).fill(90), width: 160, height: 90 }],
    ['a view of one pixel', reference, { luma: Uint8Array.of(1), width: 1, height: 1 }],
    ['an empty view', reference, { luma: new Uint8Array(0), width: 0, height: 0 }],
  ])('reports unknown with %s', (_, of, view) => {
    expect(checkView(of, view).state).toBe('unknown');
  });

  it.each([0.3, 0.05, 0.02, 0.01, 0])(
    'never reports changed if fog leaves %d of the contrast',
    (contrast) => {
      const clear = drawnView({ seed: 94 });
      const fogged = { ...clear, luma: clear.luma.map((value) => 150 + (value - 150) * contrast) };
      expect(checkView(reference, fogged).state).not.toBe('changed');
    },
  );
});
