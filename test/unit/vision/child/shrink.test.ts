import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { shrinkFrame } from '../../../../src/vision/child/analyze.ts';

/** A white picture. */
const jpeg = (width: number, height: number): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background: '#fff' } })
    .jpeg({ quality: 90 })
    .toBuffer();

const shrink = (bytes: Uint8Array, privacyMasks: readonly [number, number][][] = []) =>
  shrinkFrame(bytes, { privacyMasks, maxSidePx: 320, source: 'clip of north' });

describe('pictures of a clip', () => {
  it.each([
    [1280, 720, 320, 180],
    [720, 1280, 180, 320],
    [2560, 1440, 320, 180],
    [160, 90, 160, 90],
  ])('of %i x %i pixels have %i x %i', async (width, height, ...small) => {
    const picture = await shrink(await jpeg(width, height));
    expect([picture.width, picture.height]).toEqual(small);
    expect(picture.luma.length).toBe(picture.width * picture.height);
    expect(Math.min(...picture.luma)).toBeGreaterThan(250);
  });

  it('are grey under privacy masks', async () => {
    const left: [number, number][] = [
      [0, 0],
      [0.5, 0],
      [0.5, 1],
      [0, 1],
    ];
    const { luma } = await shrink(await jpeg(1280, 720), [left]);
    expect([luma[90 * 320 + 10], luma[90 * 320 + 158], luma[90 * 320 + 310]]).toEqual([128, 128, 255]);
  });

  it('come with columns at the full height of the frame, when they are wanted', async () => {
    // A ramp: the grey value of a pixel is its column / 5.
    const ramp = Buffer.from(Uint8Array.from({ length: 1280 * 720 }, (_, at) => Math.floor((at % 1280) / 5)));
    const png = await sharp(ramp, { raw: { width: 1280, height: 720, channels: 1 } })
      .png()
      .toBuffer();
    const options = { privacyMasks: [], maxSidePx: 320, source: 'clip of north' };
    const plain = await shrinkFrame(png, options);
    const both = await shrinkFrame(png, { ...options, columns: { count: 4, from01: 0.25 } });
    expect(plain.columns).toBeNull();
    expect(both.columns).toMatchObject({
      width: 4,
      height: 540,
      firstRow: 180,
      frameWidth: 1280,
      frameHeight: 720,
    });
    // The middles of four parts of 320 columns.
    for (const [index, column] of [160, 480, 800, 1120].entries())
      expect(Math.abs((both.columns?.luma[4 * 300 + index] ?? 0) - column / 5)).toBeLessThan(2);
    expect([both.width, both.height]).toEqual([320, 180]);
    for (const [at, value] of plain.luma.entries())
      if (at % 50 === 0) expect(Math.abs((both.luma[at] ?? 0) - value)).toBeLessThan(3);
  });

  it('have no column under privacy masks, and few rows of large frames', async () => {
    const masks: [number, number][][] = [[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]]; // prettier-ignore
    const columns = { count: 2, from01: 0 };
    const picture = await shrinkFrame(await jpeg(3840, 2160), {
      privacyMasks: masks,
      maxSidePx: 320,
      source: 'x',
      columns,
    });
    expect(picture.columns).toMatchObject({
      width: 2,
      height: 1080,
      firstRow: 0,
      frameWidth: 3840,
      frameHeight: 2160,
    });
    expect([...(picture.columns?.luma.subarray(1000, 1002) ?? [])]).toEqual([128, 255]);
  });

  it('are refused when a part of the frame is damaged', async () => {
    const bytes = Buffer.from(await jpeg(1280, 720));
    const cut = bytes.subarray(0, bytes.length >> 1);
    await expect(shrink(cut)).rejects.toMatchObject({ code: 'image_corrupt' });
  });
});
