import { describe, expect, it } from 'vitest';
import { Fourier } from '../../../../src/calibration/view/fourier.ts';
import { runNow } from '../../../../src/calibration/steps.ts';
import { buildViewReference, checkView } from '../../../../src/calibration/view/check-view.ts';
import { drawnView, randomFrom } from '../../../fixtures/labelled.ts';
import type { ViewSignature } from '../../../../src/vision/protocol.ts';

describe('Fourier', () => {
  it('equals the sum that defines it', () => {
    const { normal } = randomFrom(1);
    const re = Float64Array.from({ length: 32 }, normal);
    const im = Float64Array.from({ length: 32 }, normal);
    const grid = { re: re.slice(), im: im.slice() };
    new Fourier(8, 4).transform(grid);
    for (let v = 0; v < 4; v += 1)
      for (let u = 0; u < 8; u += 1) {
        let [sumRe, sumIm] = [0, 0];
        for (let y = 0; y < 4; y += 1)
          for (let x = 0; x < 8; x += 1) {
            const turn = -2 * Math.PI * ((u * x) / 8 + (v * y) / 4);
            const [a, b] = [re[y * 8 + x]!, im[y * 8 + x]!];
            sumRe += a * Math.cos(turn) - b * Math.sin(turn);
            sumIm += a * Math.sin(turn) + b * Math.cos(turn);
          }
        expect(grid.re[v * 8 + u]).toBeCloseTo(sumRe, 10);
        expect(grid.im[v * 8 + u]).toBeCloseTo(sumIm, 10);
      }
  });
});

const labelled = Array.from({ length: 8 }, (_, i) => drawnView({ seed: i, light: 0.5 + 0.08 * i }));
const reference = runNow(buildViewReference(labelled, true));
const text = (view: ViewSignature): ViewSignature => {
  const luma = view.luma.slice();
  for (let y = 78; y < 86; y += 1)
    for (let x = 4; x < 44; x += 1) luma[y * 160 + x] = (x * 7 + y * 3) % 5 < 2 ? 235 : 15;
  return { ...view, luma };
};

/** A quarter of the picture painted over, in light that hardly changes: only its being constant tells it. */
const masked = (view: ViewSignature): ViewSignature => {
  const luma = view.luma.slice();
  for (let y = 20; y < 65; y += 1) luma.fill(128, y * 160 + 50, y * 160 + 130);
  return { ...view, luma };
};

describe('checkView', () => {
  it.each([3, 8])('is not held fast by a privacy mask, from %d labels in the same light on', (count) => {
    const views = Array.from({ length: count }, (_, i) =>
      masked(drawnView({ seed: i, light: 0.9 + 0.01 * i })),
    );
    const behind = runNow(buildViewReference(views, true));
    expect(checkView(behind, masked(drawnView({ seed: 95, light: 0.93 })))).toMatchObject({ state: 'same' });
    for (const move of [{ shiftX01: 0.1 }, { shiftY01: -0.1 }, { zoom: 1.13 }]) {
      const check = checkView(behind, masked(drawnView({ seed: 94, light: 0.93, ...move })));
      expect(check.state, JSON.stringify(move)).not.toBe('same');
    }
  });

  it.each([
    ['at another hour', { light: 0.35 }],
    ['in glare', { light: 1.3 }],
    ['with a mast in the wind', { shiftX01: 0.009, shiftY01: 0.006 }],
  ])('knows the place %s', (_, more) => {
    expect(checkView(reference, drawnView({ seed: 99, ...more }))).toMatchObject({ state: 'same', zoom: 1 });
  });

  it.each([
    [0.05, 0],
    [-0.1, 0],
    [0.2, 0],
    [0, 0.06],
    [0, -0.15],
    [-0.08, 0.08],
  ])('finds a turn by %d of the width and %d of the height', (shiftX01, shiftY01) => {
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

  it('says changed for another place, once it knows its own well', () => {
    expect(checkView(reference, drawnView({ seed: 96, place: 5 })).state).toBe('changed');
  });

  it('is not held fast by text that the camera burns in', () => {
    const burnedIn = runNow(buildViewReference(labelled.map(text), true));
    expect(checkView(burnedIn, text(drawnView({ seed: 95 }))).state).toBe('same');
    expect(checkView(burnedIn, text(drawnView({ seed: 95, shiftX01: 0.08 }))).state).toBe('changed');
  });

  it.each([
    ['nothing to compare with', null, drawnView({ seed: 1 })],
    ['no picture', reference, null],
    ['a uniform picture', reference, { luma: new Uint8Array(14_400).fill(90), width: 160, height: 90 }],
    ['a tiny picture', reference, { luma: Uint8Array.of(1), width: 1, height: 1 }],
    ['an empty picture', reference, { luma: new Uint8Array(0), width: 0, height: 0 }],
  ])('is unknown with %s', (_, of, view) => {
    expect(checkView(of, view).state).toBe('unknown');
  });

  it.each([0.3, 0.05, 0.02, 0.01, 0])('is never changed when fog leaves %d of the contrast', (contrast) => {
    const clear = drawnView({ seed: 94 });
    const fogged = { ...clear, luma: clear.luma.map((value) => 150 + (value - 150) * contrast) };
    expect(checkView(reference, fogged).state).not.toBe('changed');
  });
});
