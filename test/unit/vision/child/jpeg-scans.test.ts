import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { readImageHeader } from '../../../../src/vision/child/decode.ts';
import { jpegScanWork } from '../../../../src/vision/child/jpeg-scans.ts';
import { jpegOf } from '../../../fixtures/jpeg.ts';
import { scanBomb } from '../../../fixtures/scan-bomb.ts';

const BLOCKS = (512 / 8) * (256 / 8);
const size = { width: 512, height: 256 };
/** The widest square of a progressive colour JPEG that fits the memory limit. */
const LARGEST_PX = 5160;

/** A real JPEG whose frame header states another size. */
function claiming(jpeg: Buffer, widthPx: number): Buffer {
  const bytes = Buffer.from(jpeg);
  const at = Math.max(bytes.indexOf(Buffer.from([0xff, 0xc0])), bytes.indexOf(Buffer.from([0xff, 0xc2])));
  bytes.writeUInt16BE(widthPx, at + 5);
  bytes.writeUInt16BE(widthPx, at + 7);
  return bytes;
}

describe('jpegScanWork', () => {
  it('counts the blocks of each scan of a progressive image', async () => {
    const scans = [...Array.from({ length: 6 }, (_, scan) => scan)];
    expect(jpegScanWork(scanBomb({ ...size, scans: scans.length }))).toBe(
      3 * BLOCKS + 1000 + 6 * (BLOCKS + 1000),
    );
    // Ten scans, 14 passes over one component.
    const real = await sharp(await jpegOf(1, { ...size, progressive: true }))
      .jpeg({ progressive: true, chromaSubsampling: '4:4:4' })
      .toBuffer();
    expect(jpegScanWork(real)).toBe(14 * BLOCKS + 10 * 1000);
  });

  it('counts the padding of subsampled components', async () => {
    const real = await sharp(await jpegOf(1, { width: 17, height: 17 }))
      .jpeg({ progressive: true, chromaSubsampling: '4:2:0' })
      .toBuffer();
    // 2 x 2 units with four blocks of luma and one of each colour: luma in 6 passes, each colour in 4.
    expect(jpegScanWork(real)).toBe(4 * (4 * 6 + 2 * 4) + 10 * 1000);
  });

  it('is 0 for a sequential image with one scan, and counts the scans of others', async () => {
    expect(jpegScanWork(await jpegOf(1, size))).toBe(0);
    expect(jpegScanWork(scanBomb({ ...size, scans: 9, kind: 'sequential' }))).toBe(9 * (BLOCKS + 1000));
  });

  const segmentOf = (marker: number, body: Buffer): Buffer =>
    Buffer.concat([Buffer.from([0xff, marker, (body.length + 2) >> 8, (body.length + 2) & 255]), body]);

  it.each([
    ['fill bytes', Buffer.from([0xff, 0xff, 0xff])],
    ['a restart marker', Buffer.from([0xff, 0xd3])],
    ['a marker without a length', Buffer.from([0xff, 0x01])],
    ['a comment', segmentOf(0xfe, Buffer.from('text'))],
    ['a comment with a scan header', segmentOf(0xfe, Buffer.from([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]))],
    ['a comment with an end marker', segmentOf(0xfe, Buffer.from([0xff, 0xd9]))],
    ['a segment whose length is too short', Buffer.from([0xff, 0xfe, 0, 0])],
    ['a number of lines', segmentOf(0xdc, Buffer.from([1, 0]))],
    ['a table', segmentOf(0xdb, Buffer.from([1, ...Array.from({ length: 64 }, () => 1)]))],
  ])('sees, as the decoder does, each scan behind %s', async (_what, between) => {
    const plain = scanBomb({ ...size, scans: 6 });
    const hidden = scanBomb({ ...size, scans: 6, between });
    await sharp(hidden, { failOn: 'error' }).raw().toBuffer();
    expect(jpegScanWork(hidden)).toBe(jpegScanWork(plain));
  });

  it('accepts any bytes without an exception', () => {
    for (let length = 0; length < 300; length += 1) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i % 3 === 0 ? 0xff : (i * 37 + length) & 0xff));
      expect(jpegScanWork(bytes)).toBeGreaterThanOrEqual(0);
    }
  });
});

describe('the limit of scans of readImageHeader', () => {
  it.each([
    ['26 megapixels', { width: 5100, height: 5100, scans: 42 }],
    [
      '26 megapixels, again and again the same coefficients',
      { width: 5100, height: 5100, scans: 40, kind: 'sequential' as const },
    ],
    ['2 megapixels', { width: 1920, height: 1080, scans: 500 }],
    ['64 pixels', { width: 8, height: 8, scans: 15_000 }],
  ])('rejects a JPEG of %s with too many scans', async (_what, bomb) => {
    await expect(readImageHeader(scanBomb(bomb))).rejects.toMatchObject({
      code: 'image_too_large',
      message: 'the JPEG has too many scans for its size',
    });
  });

  it.each([
    ['the usual ten scans', { progressive: true }],
    ['scans that an encoder optimised', { progressive: true, mozjpeg: true }],
    ['one scan', {}],
  ])('accepts real pictures with %s at the largest size', async (_what, options) => {
    const real = await sharp(await jpegOf(1, { width: 320, height: 240 }))
      .jpeg({ ...options, quality: 95, chromaSubsampling: '4:4:4' })
      .toBuffer();
    const header = await readImageHeader(claiming(real, LARGEST_PX));
    expect(header.size).toEqual({ width: LARGEST_PX, height: LARGEST_PX });
  });
});
