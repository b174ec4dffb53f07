import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { jpegDamage01, plainJpegSize } from '../../../../src/vision/child/jpeg-scan.ts';
import { jpegOf } from '../../../fixtures/jpeg.ts';

describe('jpegDamage01', () => {
  it.each([false, true])('finds nothing in a sound file (progressive: %s)', async (progressive) => {
    expect(jpegDamage01(await jpegOf(3, { width: 320, height: 240, progressive }))).toBe(0);
  });

  it('finds a marker that cannot stand in the data, and where', async () => {
    const bytes = await jpegOf(3, { width: 320, height: 240 });
    const at = Math.floor(bytes.length * 0.75);
    bytes.set([0xff, 0x07], at);
    expect(jpegDamage01(bytes)).toBeCloseTo(0.25, 2);
  });

  it('finds a restart marker where none belongs', async () => {
    const bytes = await jpegOf(3, { width: 320, height: 240 });
    bytes.set([0xff, 0xd3], Math.floor(bytes.length / 2));
    expect(jpegDamage01(bytes)).toBeCloseTo(0.5, 1);
  });

  it('survives any bytes', () => {
    for (let length = 0; length < 300; length++) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i % 3 === 0 ? 0xff : (i * 37 + length) & 0xff));
      expect(jpegDamage01(bytes)).toBeLessThanOrEqual(1);
      plainJpegSize(bytes);
    }
  });
});

describe('plainJpegSize', () => {
  it('reads the size of a plain JPEG', async () => {
    expect(plainJpegSize(await jpegOf(1, { width: 320, height: 240 }))).toEqual({ width: 320, height: 240 });
  });

  it('leaves grey, CMYK and EXIF to the decoder', async () => {
    const base = sharp(await jpegOf(1));
    expect(plainJpegSize(await base.clone().toColourspace('b-w').jpeg().toBuffer())).toBeNull();
    expect(plainJpegSize(await base.clone().toColourspace('cmyk').jpeg().toBuffer())).toBeNull();
    expect(plainJpegSize(await base.clone().withMetadata({ orientation: 6 }).jpeg().toBuffer())).toBeNull();
  });
});
