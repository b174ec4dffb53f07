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

  it('are refused when a part of the frame is damaged', async () => {
    const bytes = Buffer.from(await jpeg(1280, 720));
    const cut = bytes.subarray(0, bytes.length >> 1);
    await expect(shrink(cut)).rejects.toMatchObject({ code: 'image_corrupt' });
  });
});
