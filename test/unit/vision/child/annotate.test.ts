import { describe, expect, it } from 'vitest';
import { drawCaption, drawOutline } from '../../../../src/vision/child/annotate.ts';
import { GLYPH_ADVANCE, GLYPH_HEIGHT } from '../../../../src/vision/child/bitmap-font.ts';

const imageOf = (value: number, width = 400, height = 100) => ({
  width,
  height,
  source: { width, height },
  data: new Uint8Array(width * height * 3).fill(value),
});
const at = (image: { data: Uint8Array; width: number }, x: number, y: number): number =>
  image.data[(y * image.width + x) * 3]!;

describe('drawCaption', () => {
  it.each([0, 255])('draws readable text on a background of luma %i', (background) => {
    const image = imageOf(background);
    drawCaption(image, ['III']);
    const band = image.data.subarray((100 - GLYPH_HEIGHT - 1) * 400 * 3);
    expect(Math.max(...band)).toBe(255);
    // White letters on a band that is at most about a third as bright.
    expect(at(image, 399, 95)).toBeLessThanOrEqual(90);
    expect(at(image, 0, 0)).toBe(background);
  });

  it('changes nothing without lines, and cuts off text that does not fit', () => {
    const image = imageOf(90);
    drawCaption(image, []);
    expect(image.data.every((value) => value === 90)).toBe(true);
    drawCaption(image, ['x'.repeat(1000), ...new Array<string>(40).fill('y')]);
    expect(image.data.length).toBe(400 * 100 * 3);
    expect(GLYPH_ADVANCE * 1000).toBeGreaterThan(400);
  });
});

describe('drawOutline', () => {
  it('follows the polygon up to the border of the image', () => {
    const image = imageOf(0);
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
