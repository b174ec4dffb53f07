import { describe, expect, it } from 'vitest';
import type { Polygon } from '../../../../src/config/schema.ts';
import { applyPrivacyMasks, boundingBox, coverage, withinRegion } from '../../../../src/vision/child/mask.ts';

const SIZE = { width: 40, height: 20 };
const white = () => ({ ...SIZE, source: SIZE, data: new Uint8Array(SIZE.width * SIZE.height * 3).fill(255) });
const count = (mask: Uint8Array): number => mask.reduce((sum, value) => sum + value, 0);
const quarter: Polygon = [
  [0, 0],
  [0.5, 0],
  [0.5, 0.5],
  [0, 0.5],
];
const triangle: Polygon = [
  [0.1, 0.9],
  [0.5, 0.1],
  [0.9, 0.9],
];

/** Even-odd test of a point, independent of the scanlines. */
function inside(polygon: Polygon, x: number, y: number): boolean {
  let is = false;
  polygon.forEach(([x1, y1], i) => {
    const [x0, y0] = polygon[(i + polygon.length - 1) % polygon.length]!;
    if (y0 > y !== y1 > y && x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)) is = !is;
  });
  return is;
}

describe('coverage', () => {
  it.each([
    ['triangle', triangle],
    [
      'bow tie',
      [
        [0.1, 0.1],
        [0.9, 0.9],
        [0.9, 0.1],
        [0.1, 0.9],
      ] as Polygon,
    ],
    [
      'concave',
      [
        [0.1, 0.1],
        [0.9, 0.1],
        [0.9, 0.9],
        [0.5, 0.3],
        [0.1, 0.9],
      ] as Polygon,
    ],
    [
      'whole frame',
      [
        [0, 0],
        [1, 0],
        [1, 1],
        [0, 1],
      ] as Polygon,
    ],
  ])('covers every point of a %s', (_, polygon) => {
    const mask = coverage([polygon], SIZE, 0);
    const shown: string[] = [];
    for (let y = 0.05; y < SIZE.height; y += 0.1) {
      for (let x = 0.05; x < SIZE.width; x += 0.1) {
        const hidden = mask[Math.floor(y) * SIZE.width + Math.floor(x)] === 1;
        if (!hidden && inside(polygon, x / SIZE.width, y / SIZE.height)) shown.push(`${x},${y}`);
      }
    }
    expect(shown).toEqual([]);
  });

  it('covers little more than the polygon, and what is thinner than a pixel', () => {
    expect(count(coverage([quarter], SIZE, 0))).toBeLessThanOrEqual(21 * 11);
    const hair: Polygon = [
      [0.1, 0.52],
      [0.9, 0.52],
      [0.9, 0.521],
    ];
    expect(count(coverage([hair], SIZE, 0))).toBeGreaterThanOrEqual(32);
  });

  it('widens by the margin', () => {
    const mask = coverage([quarter], SIZE, 3);
    expect(mask[5 * SIZE.width + 22]).toBe(1);
    expect(mask[12 * SIZE.width + 5]).toBe(1);
    expect(mask[15 * SIZE.width + 30]).toBe(0);
  });
});

describe('applyPrivacyMasks', () => {
  it('paints what is hidden, and nothing far from it', () => {
    const picture = white();
    applyPrivacyMasks(picture, [quarter]);
    expect(picture.data[(5 * SIZE.width + 10) * 3]).toBe(128);
    expect(picture.data[(15 * SIZE.width + 30) * 3]).toBe(255);
  });
});

describe('region of interest', () => {
  it('is the bounding box, or the whole frame', () => {
    expect(boundingBox(triangle)).toEqual({ left: 0.1, top: 0.1, right: 0.9, bottom: 0.9 });
    expect(boundingBox(null)).toEqual({ left: 0, top: 0, right: 1, bottom: 1 });
    expect(
      boundingBox([
        [0.5, 0.5],
        [0.5, 0.5],
        [0.5, 0.5],
      ]),
    ).toEqual(boundingBox(null));
  });

  it('is neutral outside the polygon, and the frame itself stays untouched', () => {
    const picture = white();
    const seen = withinRegion(picture, triangle);
    expect(seen.data[(3 * SIZE.width + 5) * 3]).toBe(128);
    expect(seen.data[(15 * SIZE.width + 20) * 3]).toBe(255);
    expect(picture.data.every((value) => value === 255)).toBe(true);
  });

  it('copies nothing for a box', () => {
    const picture = white();
    expect(withinRegion(picture, quarter)).toBe(picture);
    expect(withinRegion(picture, null)).toBe(picture);
  });
});
