import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StageInput } from '../../../../src/model/manifest.ts';
import type { Polygon } from '../../../../src/config/schema.ts';
import {
  applyPrivacyMasks,
  boundingBox,
  decodeSizeFor,
  fitPixels,
  fitRegion,
  framePlanes,
  mapPlanes,
  packPlanes,
  paintOutsideRegion,
  rasterize,
  WHOLE_FRAME,
} from '../../../../src/vision/child/preprocess.ts';

const input = (changes: Partial<StageInput> = {}): StageInput => ({
  name: 'image',
  from: 'frame',
  layout: 'NCHW',
  dtype: 'float32',
  width: 2,
  height: 1,
  color: 'rgb',
  fit: 'stretch',
  ...changes,
});
/** IEEE 754 binary16, a second implementation for comparison. */
function decodeFloat16(word: number): number {
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >>> 10) & 0x1f;
  const mantissa = word & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** Two pixels. */
const RGB = Uint8Array.from([10, 20, 30, 40, 50, 60]);

describe('framePlanes', () => {
  it('uses the colour order of the input', () => {
    expect([...framePlanes(RGB, input())]).toEqual([10, 40, 20, 50, 30, 60]);
    expect([...framePlanes(RGB, input({ color: 'bgr' }))]).toEqual([30, 60, 20, 50, 10, 40]);
    expect([...framePlanes(RGB, input({ color: 'gray' }))]).toEqual([18, 48]);
  });

  it('computes (pixel * scale - mean) / std for each channel in the order of the input', () => {
    const normalised = framePlanes(RGB, input({ color: 'bgr', scale: 0.5, mean: [1, 2, 3], std: [2, 4, 1] }));
    expect([...normalised]).toEqual([7, 14.5, 2, 5.75, 2, 17]);
    expect([...framePlanes(RGB, input({ mean: [10], std: [10] }))]).toEqual([0, 3, 1, 4, 2, 5]);
  });
});

describe('packPlanes', () => {
  const planes = Float32Array.from([1, 2, 3, 4, 5, 6]);

  it('stores channels in the layout of the input', () => {
    expect([...packPlanes(planes, 3, input())]).toEqual([1, 2, 3, 4, 5, 6]);
    expect([...packPlanes(planes, 3, input({ layout: 'NHWC' }))]).toEqual([1, 3, 5, 2, 4, 6]);
  });

  const toFloat16Words = (values: Float32Array): Uint16Array =>
    new Uint16Array(packPlanes(values, 1, input({ dtype: 'float16' })).buffer);

  it('writes each of the 65,536 half-precision values as its own word', () => {
    const words = Uint16Array.from({ length: 65_536 }, (_, word) => word);
    const isNan = (word: number): boolean => (word & 0x7c00) === 0x7c00 && (word & 0x3ff) !== 0;
    const back = toFloat16Words(Float32Array.from(words, decodeFloat16));
    const wrong = [...words].filter((word) => !isNan(word) && back[word] !== word);
    expect(wrong).toEqual([]);
    expect(isNan(back[0x7e00]!)).toBe(true);
  });

  it('rounds to the nearest half-precision value', () => {
    fc.assert(
      fc.property(fc.double({ min: -65_000, max: 65_000, noNaN: true }), (value) => {
        const half = decodeFloat16(toFloat16Words(Float32Array.of(value))[0]!);
        expect(Math.abs(half - value)).toBeLessThanOrEqual(
          Math.max(2 ** -25, Math.abs(value) * 2 ** -11 * 1.0001),
        );
      }),
    );
  });

  it('rounds and clamps to uint8', () => {
    const packed = packPlanes(Float32Array.from([-4, 300, 1.6]), 3, input({ dtype: 'uint8', width: 1 }));
    expect(packed).toEqual(Uint8Array.from([0, 255, 2]));
  });
});

describe('mapPlanes', () => {
  const map = { data: Float32Array.from([0, 10, 20, 30]), dims: [1, 1, 2, 2] };

  it('keeps a map of the right size unchanged, with any of the supported axes', () => {
    for (const dims of [
      [2, 2],
      [1, 2, 2],
      [1, 1, 2, 2],
    ]) {
      expect([...mapPlanes({ ...map, dims }, { width: 2, height: 2 })]).toEqual([0, 10, 20, 30]);
    }
  });

  it('resizes on pixel centres and clamps at the edges', () => {
    const wide = mapPlanes({ data: Float32Array.from([0, 10]), dims: [1, 2] }, { width: 4, height: 1 });
    expect([...wide]).toEqual([0, 2.5, 7.5, 10]);
  });

  it('reads channels from the last axis if it is short', () => {
    const data = Float32Array.from({ length: 50 }, (_, i) => i % 2);
    const planes = mapPlanes({ data, dims: [1, 5, 5, 2] }, { width: 5, height: 5 });
    expect([...planes.subarray(0, 25)]).toEqual(new Array(25).fill(0));
    expect([...planes.subarray(25)]).toEqual(new Array(25).fill(1));
  });

  it('rejects a shape that is not a map', () => {
    expect(() => mapPlanes({ data: new Float32Array(8), dims: [2, 2, 2] }, { width: 2, height: 2 })).toThrow(
      /not a map/,
    );
  });
});

describe('fitRegion', () => {
  const wide = { width: 200, height: 100 };
  const square = { width: 50, height: 50 };

  it('cuts out the centre in the true aspect ratio with cover', () => {
    const { crop } = fitRegion(wide, WHOLE_FRAME, square, 'cover');
    expect(crop).toEqual({ left: 0.25, right: 0.75, top: 0, bottom: 1 });
  });

  it('keeps the whole region and pads with contain', () => {
    const { scaled, offset } = fitRegion(wide, WHOLE_FRAME, square, 'contain');
    expect([scaled, offset]).toEqual([
      { width: 50, height: 25 },
      { x: 0, y: 12 },
    ]);
  });

  it('needs a larger decode size for a smaller region', () => {
    const region = { left: 0, right: 0.25, top: 0, bottom: 0.5 };
    expect(decodeSizeFor(wide, region, input({ width: 50, height: 50 }))).toEqual({
      width: 200,
      height: 100,
    });
  });
});

describe('fitPixels', () => {
  const image = {
    width: 4,
    height: 2,
    source: { width: 4, height: 2 },
    data: Uint8Array.from({ length: 24 }, (_, i) => (i % 12 < 6 ? 200 : 0)),
  };

  it('returns the same memory if the size is right', async () => {
    expect(await fitPixels(image, WHOLE_FRAME, { width: 4, height: 2, fit: 'stretch' })).toBe(image.data);
  });

  it('cuts out the region', async () => {
    const right = { left: 0.5, right: 1, top: 0, bottom: 1 };
    const cut = await fitPixels(image, right, { width: 2, height: 2, fit: 'stretch' });
    expect([...cut]).toEqual(new Array(12).fill(0));
  });

  it('pads with mid grey', async () => {
    const padded = await fitPixels(image, WHOLE_FRAME, { width: 4, height: 4, fit: 'contain' });
    expect([...padded.subarray(0, 12)]).toEqual(new Array(12).fill(128));
    expect([...padded.subarray(12, 18)]).toEqual(new Array(6).fill(200));
    expect([...padded.subarray(36)]).toEqual(new Array(12).fill(128));
  });
});

const SIZE = { width: 40, height: 20 };
const whiteImage = () => ({
  ...SIZE,
  source: SIZE,
  data: new Uint8Array(SIZE.width * SIZE.height * 3).fill(255),
});
const countOnes = (mask: Uint8Array): number => mask.reduce((sum, value) => sum + value, 0);
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

/** Even-odd test of one point, a second implementation for comparison. */
function isInside(polygon: Polygon, x: number, y: number): boolean {
  let isIn = false;
  polygon.forEach(([x1, y1], i) => {
    const [x0, y0] = polygon[(i + polygon.length - 1) % polygon.length]!;
    if (y0 > y !== y1 > y && x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)) isIn = !isIn;
  });
  return isIn;
}

describe('rasterize', () => {
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
  ])('marks every point of a %s', (_, polygon) => {
    const mask = rasterize([polygon], SIZE, 0);
    const shown: string[] = [];
    for (let y = 0.05; y < SIZE.height; y += 0.1) {
      for (let x = 0.05; x < SIZE.width; x += 0.1) {
        const isHidden = mask[Math.floor(y) * SIZE.width + Math.floor(x)] === 1;
        if (!isHidden && isInside(polygon, x / SIZE.width, y / SIZE.height)) shown.push(`${x},${y}`);
      }
    }
    expect(shown).toEqual([]);
  });

  it('marks few pixels outside the polygon, and marks a polygon thinner than a pixel', () => {
    expect(countOnes(rasterize([quarter], SIZE, 0))).toBeLessThanOrEqual(21 * 11);
    const thin: Polygon = [
      [0.1, 0.52],
      [0.9, 0.52],
      [0.9, 0.521],
    ];
    expect(countOnes(rasterize([thin], SIZE, 0))).toBeGreaterThanOrEqual(32);
  });

  it('widens the polygon by the margin', () => {
    const mask = rasterize([quarter], SIZE, 3);
    expect(mask[5 * SIZE.width + 22]).toBe(1);
    expect(mask[12 * SIZE.width + 5]).toBe(1);
    expect(mask[15 * SIZE.width + 30]).toBe(0);
  });
});

describe('applyPrivacyMasks', () => {
  it('paints the masked pixels and leaves distant pixels unchanged', () => {
    const image = whiteImage();
    applyPrivacyMasks(image, [quarter]);
    expect(image.data[(5 * SIZE.width + 10) * 3]).toBe(128);
    expect(image.data[(15 * SIZE.width + 30) * 3]).toBe(255);
  });
});

describe('region of interest', () => {
  it('has its bounding box, or the whole frame', () => {
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

  it('is grey outside the polygon, and the original image stays unchanged', () => {
    const image = whiteImage();
    const seen = paintOutsideRegion(image, triangle);
    expect(seen.data[(3 * SIZE.width + 5) * 3]).toBe(128);
    expect(seen.data[(15 * SIZE.width + 20) * 3]).toBe(255);
    expect(image.data.every((value) => value === 255)).toBe(true);
  });

  it('returns the same image for a rectangle', () => {
    const image = whiteImage();
    expect(paintOutsideRegion(image, quarter)).toBe(image);
    expect(paintOutsideRegion(image, null)).toBe(image);
  });
});
