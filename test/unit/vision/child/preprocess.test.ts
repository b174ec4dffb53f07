import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StageInput } from '../../../../src/model/manifest.ts';
import { fromHalf, toHalf } from '../../../../src/vision/child/half.ts';
import { WHOLE } from '../../../../src/vision/child/picture.ts';
import {
  fitPixels,
  fitRegion,
  framePlanes,
  mapPlanes,
  packPlanes,
  sizeWanted,
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
/** Two pixels. */
const RGB = Uint8Array.from([10, 20, 30, 40, 50, 60]);

describe('planes of the frame', () => {
  it('keep the order of colours', () => {
    expect([...framePlanes(RGB, input())]).toEqual([10, 40, 20, 50, 30, 60]);
    expect([...framePlanes(RGB, input({ color: 'bgr' }))]).toEqual([30, 60, 20, 50, 10, 40]);
    expect([...framePlanes(RGB, input({ color: 'gray' }))]).toEqual([18, 48]);
  });

  it('are (pixel * scale - mean) / std, per channel in the order of the input', () => {
    const normalised = framePlanes(RGB, input({ color: 'bgr', scale: 0.5, mean: [1, 2, 3], std: [2, 4, 1] }));
    expect([...normalised]).toEqual([7, 14.5, 2, 5.75, 2, 17]);
    expect([...framePlanes(RGB, input({ mean: [10], std: [10] }))]).toEqual([0, 3, 1, 4, 2, 5]);
  });
});

describe('packPlanes', () => {
  const planes = Float32Array.from([1, 2, 3, 4, 5, 6]);

  it('lays channels out as the model wants them', () => {
    expect([...packPlanes(planes, 3, input())]).toEqual([1, 2, 3, 4, 5, 6]);
    expect([...packPlanes(planes, 3, input({ layout: 'NHWC' }))]).toEqual([1, 3, 5, 2, 4, 6]);
  });

  it('rounds and clamps to uint8', () => {
    const packed = packPlanes(Float32Array.from([-4, 300, 1.6]), 3, input({ dtype: 'uint8', width: 1 }));
    expect(packed).toEqual(Uint8Array.from([0, 255, 2]));
  });
});

describe('mapPlanes', () => {
  const map = { data: Float32Array.from([0, 10, 20, 30]), dims: [1, 1, 2, 2] };

  it('hands on a map of the right size as it is, whatever its axes', () => {
    for (const dims of [
      [2, 2],
      [1, 2, 2],
      [1, 1, 2, 2],
    ]) {
      expect([...mapPlanes({ ...map, dims }, { width: 2, height: 2 })]).toEqual([0, 10, 20, 30]);
    }
  });

  it('resizes on pixel centres, edges clamped', () => {
    const wide = mapPlanes({ data: Float32Array.from([0, 10]), dims: [1, 2] }, { width: 4, height: 1 });
    expect([...wide]).toEqual([0, 2.5, 7.5, 10]);
  });

  it('takes channels from the end when there are few', () => {
    const data = Float32Array.from({ length: 50 }, (_, i) => i % 2);
    const planes = mapPlanes({ data, dims: [1, 5, 5, 2] }, { width: 5, height: 5 });
    expect([...planes.subarray(0, 25)]).toEqual(new Array(25).fill(0));
    expect([...planes.subarray(25)]).toEqual(new Array(25).fill(1));
  });

  it('refuses what is no map', () => {
    expect(() => mapPlanes({ data: new Float32Array(8), dims: [2, 2, 2] }, { width: 2, height: 2 })).toThrow(
      /no map/,
    );
  });
});

describe('fitRegion', () => {
  const wide = { width: 200, height: 100 };
  const square = { width: 50, height: 50 };

  it('cover cuts the centre on the true aspect ratio', () => {
    const { crop } = fitRegion(wide, WHOLE, square, 'cover');
    expect(crop).toEqual({ left: 0.25, right: 0.75, top: 0, bottom: 1 });
  });

  it('contain keeps all and pads', () => {
    const { scaled, offset } = fitRegion(wide, WHOLE, square, 'contain');
    expect([scaled, offset]).toEqual([
      { width: 50, height: 25 },
      { x: 0, y: 12 },
    ]);
  });

  it('asks for a larger decode the smaller the region is', () => {
    const region = { left: 0, right: 0.25, top: 0, bottom: 0.5 };
    expect(sizeWanted(wide, region, input({ width: 50, height: 50 }))).toEqual({ width: 200, height: 100 });
  });
});

describe('fitPixels', () => {
  const picture = {
    width: 4,
    height: 2,
    source: { width: 4, height: 2 },
    data: Uint8Array.from({ length: 24 }, (_, i) => (i % 12 < 6 ? 200 : 0)),
  };

  it('copies nothing when the size is right', async () => {
    expect(await fitPixels(picture, WHOLE, { width: 4, height: 2, fit: 'stretch' })).toBe(picture.data);
  });

  it('cuts the region', async () => {
    const right = { left: 0.5, right: 1, top: 0, bottom: 1 };
    const cut = await fitPixels(picture, right, { width: 2, height: 2, fit: 'stretch' });
    expect([...cut]).toEqual(new Array(12).fill(0));
  });

  it('pads with mid grey', async () => {
    const padded = await fitPixels(picture, WHOLE, { width: 4, height: 4, fit: 'contain' });
    expect([...padded.subarray(0, 12)]).toEqual(new Array(12).fill(128));
    expect([...padded.subarray(12, 18)]).toEqual(new Array(6).fill(200));
    expect([...padded.subarray(36)]).toEqual(new Array(12).fill(128));
  });
});

describe('half floats', () => {
  it('gives back every one of the 65,536 words', () => {
    const words = Uint16Array.from({ length: 65_536 }, (_, word) => word);
    const back = toHalf(fromHalf(words));
    const isNan = (word: number): boolean => (word & 0x7c00) === 0x7c00 && (word & 0x3ff) !== 0;
    const wrong = [...words].filter((word) => !isNan(word) && back[word] !== word);
    expect(wrong).toEqual([]);
    expect(isNan(back[0x7e00]!)).toBe(true);
  });

  it('rounds to the nearest', () => {
    fc.assert(
      fc.property(fc.double({ min: -65_000, max: 65_000, noNaN: true }), (value) => {
        const half = fromHalf(toHalf(Float32Array.of(value)))[0]!;
        expect(Math.abs(half - value)).toBeLessThanOrEqual(
          Math.max(2 ** -25, Math.abs(value) * 2 ** -11 * 1.0001),
        );
      }),
    );
  });
});
