import { describe, expect, it } from 'vitest';
import { readHeader } from '../../../../src/vision/child/decode.ts';
import { jpegOf } from '../../../fixtures/jpeg.ts';
import { pngOf } from '../../../fixtures/png.ts';

/** A PNG that claims a size and is next to nothing: 16 bits with alpha, interlaced or not. */
const deepPng = (width: number, height: number, interlaced: boolean): Buffer =>
  pngOf({ width, height, bits: 16, colourType: 6, interlaced }, Buffer.alloc(64));

/** 38 bytes of lossless WebP. */
function losslessWebp(width: number, height: number): Buffer {
  const bytes = Buffer.alloc(38);
  bytes.write('RIFF', 0, 'latin1');
  bytes.writeUInt32LE(30, 4);
  bytes.write('WEBPVP8L', 8, 'latin1');
  bytes.writeUInt32LE(17, 16);
  bytes[20] = 0x2f;
  bytes.writeUInt32LE(((width - 1) | ((height - 1) << 14)) >>> 0, 21);
  return bytes;
}

/** A JPEG whose frame header claims another size. */
function claiming(jpeg: Buffer, width: number, height: number): Buffer {
  const at = [0xc0, 0xc2]
    .map((marker) => jpeg.indexOf(Buffer.from([0xff, marker])))
    .find((found) => found > 0);
  if (at === undefined) throw new Error('no frame header');
  const bytes = Buffer.from(jpeg);
  bytes.writeUInt16BE(height, at + 5);
  bytes.writeUInt16BE(width, at + 7);
  return bytes;
}

describe('what an image would take is read from its header', () => {
  const tooLarge = { code: 'image_too_large' };

  it.each([
    ['an interlaced PNG of 16 bits', 5000, () => deepPng(5000, 5000, true)],
    ['WebP', 6500, () => losslessWebp(6500, 6500)],
    ['a progressive JPEG', 6000, async () => claiming(await jpegOf(1, { progressive: true }), 6000, 6000)],
  ])('%s is decoded as a whole: of %i px square it is refused', async (_what, _size, make) => {
    await expect(readHeader(await make())).rejects.toMatchObject(tooLarge);
  });

  it.each([
    ['the same PNG in rows', 5000, () => deepPng(5000, 5000, false)],
    ['an interlaced PNG', 4000, () => deepPng(4000, 4000, true)],
    ['WebP', 6000, () => losslessWebp(6000, 6000)],
    ['a progressive JPEG', 5000, async () => claiming(await jpegOf(1, { progressive: true }), 5000, 5000)],
    ['a JPEG in rows', 7000, async () => claiming(await jpegOf(1), 7000, 7000)],
  ])('%s of %i px square is taken', async (_what, size, make) => {
    expect((await readHeader(await make())).size).toEqual({ width: size, height: size });
  });

  it('refuses more than 50 megapixels of any kind', async () => {
    for (const bytes of [
      deepPng(8000, 8000, false),
      claiming(await jpegOf(1), 8000, 8000),
      losslessWebp(16000, 16000),
    ])
      await expect(readHeader(bytes)).rejects.toMatchObject(tooLarge);
  });
});
