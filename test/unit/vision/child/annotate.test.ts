import { describe, expect, it } from 'vitest';
import { drawCaption, drawOutline } from '../../../../src/vision/child/annotate.ts';
import { ADVANCE, drawable, GLYPH_HEIGHT, hasInk } from '../../../../src/vision/child/bitmap-font.ts';

const picture = (value: number, width = 400, height = 100) => ({
  width,
  height,
  source: { width, height },
  data: new Uint8Array(width * height * 3).fill(value),
});
const at = (image: { data: Uint8Array; width: number }, x: number, y: number): number =>
  image.data[(y * image.width + x) * 3]!;

describe('bitmap font', () => {
  it('has ink for every character but the space', () => {
    const blank = [];
    for (let code = 0x20; code <= 0x7e; code++) {
      let ink = 0;
      for (let x = 0; x < 5; x++)
        for (let y = 0; y < 7; y++) ink += Number(hasInk(String.fromCharCode(code), x, y));
      if (ink === 0) blank.push(String.fromCharCode(code));
    }
    expect(blank).toEqual([' ']);
  });

  it('spells what it has no shape for', () => {
    expect(drawable('0.6 ± 0.2 m – Praia do Norte, São Pedro 日')).toBe(
      '0.6 +- 0.2 m - Praia do Norte, Sao Pedro ?',
    );
  });

  it('draws an L as an L', () => {
    const rows = Array.from({ length: GLYPH_HEIGHT }, (_, y) =>
      Array.from({ length: 5 }, (_, x) => (hasInk('L', x, y) ? '#' : '.')).join(''),
    );
    expect(rows).toEqual(['#....', '#....', '#....', '#....', '#....', '#....', '#####']);
  });
});

describe('drawCaption', () => {
  it.each([0, 255])('is readable on a ground of %i', (ground) => {
    const image = picture(ground);
    drawCaption(image, ['III']);
    const band = image.data.subarray((100 - GLYPH_HEIGHT - 1) * 400 * 3);
    expect(Math.max(...band)).toBe(255);
    // White letters against a ground that is at most a third as bright.
    expect(at(image, 399, 95)).toBeLessThanOrEqual(90);
    expect(at(image, 0, 0)).toBe(ground);
  });

  it('does nothing without lines, and cuts off what does not fit', () => {
    const image = picture(90);
    drawCaption(image, []);
    expect(image.data.every((value) => value === 90)).toBe(true);
    drawCaption(image, ['x'.repeat(1000), ...new Array<string>(40).fill('y')]);
    expect(image.data.length).toBe(400 * 100 * 3);
    expect(ADVANCE * 1000).toBeGreaterThan(400);
  });
});

describe('drawOutline', () => {
  it('follows the polygon, up to the border', () => {
    const image = picture(0);
    drawOutline(image, [
      [0, 0],
      [1, 0],
      [1, 1],
      [0, 1],
    ]);
    expect(at(image, 200, 0)).toBe(255);
    expect(at(image, 399, 50)).toBe(255);
    expect(at(image, 200, 50)).toBe(0);
  });
});
