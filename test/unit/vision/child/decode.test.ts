import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { decode, readHeader, sniff } from '../../../../src/vision/child/decode.ts';
import { pngOf } from '../../../fixtures/png.ts';

const solid = (width: number, height: number, background: string) =>
  sharp({ create: { width, height, channels: 3, background } });

async function open(bytes: Uint8Array, width = 64, height = 64) {
  return decode(bytes, await readHeader(bytes), { width, height });
}

const pixel = (picture: { data: Uint8Array; width: number }, x: number, y: number): number[] => [
  ...picture.data.subarray((y * picture.width + x) * 3, (y * picture.width + x) * 3 + 3),
];

const near = (actual: readonly number[], wanted: readonly number[], tolerance = 4): void => {
  expect(actual).toHaveLength(wanted.length);
  actual.forEach((value, i) => expect(Math.abs(value - wanted[i]!)).toBeLessThanOrEqual(tolerance));
};

/** A PNG header that claims a size, with next to no data behind it. */
const pngClaiming = (width: number, height: number): Buffer =>
  pngOf({ width, height, bits: 8, colourType: 2 }, Buffer.alloc(64));

/** A sound JPEG whose frame header is rewritten to claim a size. */
async function jpegClaiming(width: number, height: number): Promise<Buffer> {
  const bytes = await solid(64, 64, '#888').jpeg().toBuffer();
  const at = bytes.indexOf(Buffer.from([0xff, 0xc0]));
  bytes.writeUInt16BE(height, at + 5);
  bytes.writeUInt16BE(width, at + 7);
  return bytes;
}

describe('sniff', () => {
  it('knows the three formats by their bytes', async () => {
    expect(sniff(await solid(8, 8, '#fff').jpeg().toBuffer())).toBe('jpeg');
    expect(sniff(await solid(8, 8, '#fff').png().toBuffer())).toBe('png');
    expect(sniff(await solid(8, 8, '#fff').webp().toBuffer())).toBe('webp');
    expect(sniff(Buffer.alloc(0))).toBeNull();
    expect(sniff(Buffer.from([0xff]))).toBeNull();
  });
});

describe('readHeader refuses', () => {
  it.each([
    ['no bytes', () => Buffer.alloc(0), 'image_empty'],
    ['10 MB of zeros', () => Buffer.alloc(10_000_000), 'image_unsupported'],
    [
      'SVG',
      () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
      'image_unsupported',
    ],
    ['TIFF', () => solid(8, 8, '#fff').tiff().toBuffer(), 'image_unsupported'],
    ['GIF', () => solid(8, 8, '#fff').gif().toBuffer(), 'image_unsupported'],
    ['AVIF', () => solid(8, 8, '#fff').avif().toBuffer(), 'image_unsupported'],
    ['text', () => Buffer.from('not an image at all'), 'image_unsupported'],
    ['a JPEG of three bytes', () => Buffer.from([0xff, 0xd8, 0xff]), 'image_corrupt'],
    ['a PNG signature alone', () => Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), 'image_corrupt'],
    ['a PNG that claims 400 megapixels', () => pngClaiming(20_000, 20_000), 'image_too_large'],
    ['a JPEG that claims 200 megapixels', () => jpegClaiming(20_000, 10_000), 'image_too_large'],
    ['a JPEG that claims no width', () => jpegClaiming(0, 100), 'image_corrupt'],
  ])('%s', async (_, make, code) => {
    await expect(readHeader(await make())).rejects.toMatchObject({ code });
  });
});

describe('decode', () => {
  it('scales to what is wanted, and never enlarges', async () => {
    const bytes = await solid(640, 360, '#336699').jpeg({ quality: 95 }).toBuffer();
    const small = await open(bytes, 512, 288);
    expect([small.width, small.height, small.data.length]).toEqual([512, 288, 512 * 288 * 3]);
    expect(small.source).toEqual({ width: 640, height: 360 });
    near(pixel(small, 100, 100), [0x33, 0x66, 0x99]);
    const whole = await open(bytes, 5000, 5000);
    expect([whole.width, whole.height]).toEqual([640, 360]);
  });

  it('is the same picture whether the decoder scales or not', async () => {
    const raw = Buffer.from(
      Uint8Array.from({ length: 1024 * 576 * 3 }, (_, i) => 128 + 100 * Math.sin(i / 4000)),
    );
    const bytes = await sharp(raw, { raw: { width: 1024, height: 576, channels: 3 } })
      .jpeg({ quality: 95 })
      .toBuffer();
    const fast = await open(bytes, 256, 144);
    const slow = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
    const reference = await sharp(slow.data, { raw: { width: 1024, height: 576, channels: 3 } })
      .resize(256, 144, { fit: 'fill' })
      .raw()
      .toBuffer();
    const difference = fast.data.reduce((sum, value, i) => sum + Math.abs(value - reference[i]!), 0);
    expect(difference / reference.length).toBeLessThan(2);
  });

  it('turns a picture upright by its EXIF orientation', async () => {
    const half = await solid(40, 20, '#ff0000').png().toBuffer();
    const sideways = await sharp({ create: { width: 40, height: 40, channels: 3, background: '#0000ff' } })
      .composite([{ input: half, left: 0, top: 0 }])
      .jpeg({ quality: 100 })
      .withMetadata({ orientation: 6 })
      .toBuffer();
    const tall = await sharp(sideways)
      .resize(80, 40, { fit: 'fill' })
      .jpeg({ quality: 100 })
      .withMetadata({ orientation: 6 })
      .toBuffer();
    const picture = await open(tall, 40, 80);
    expect(picture.source).toEqual({ width: 40, height: 80 });
    near(pixel(picture, 35, 40), [255, 0, 0], 12);
    near(pixel(picture, 5, 40), [0, 0, 255], 12);
  });

  it.each([
    ['grey JPEG', () => solid(32, 32, '#777').toColourspace('b-w').jpeg().toBuffer(), [0x77, 0x77, 0x77]],
    ['grey PNG', () => solid(32, 32, '#777').toColourspace('b-w').png().toBuffer(), [0x77, 0x77, 0x77]],
    [
      '16-bit PNG',
      () => solid(32, 32, '#336699').toColourspace('rgb16').png().toBuffer(),
      [0x33, 0x66, 0x99],
    ],
    ['palette PNG', () => solid(32, 32, '#336699').png({ palette: true }).toBuffer(), [0x33, 0x66, 0x99]],
    [
      'CMYK JPEG',
      () => solid(32, 32, '#777').toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer(),
      [0x77, 0x77, 0x77],
    ],
    ['WebP', () => solid(32, 32, '#336699').webp({ lossless: true }).toBuffer(), [0x33, 0x66, 0x99]],
    [
      'progressive JPEG',
      () => solid(32, 32, '#336699').jpeg({ progressive: true }).toBuffer(),
      [0x33, 0x66, 0x99],
    ],
  ] as const)('%s becomes 8-bit RGB', async (_, make, wanted) => {
    const picture = await open(await make(), 32, 32);
    expect(picture.data.length).toBe(32 * 32 * 3);
    expect(picture.brokenBytes01).toBe(0);
    // CMYK goes through a printer's profile: close, not equal.
    near(pixel(picture, 16, 16), wanted, 20);
  });

  it('puts transparency over black', async () => {
    const bytes = await sharp({
      create: { width: 8, height: 8, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 0 } },
    })
      .png()
      .toBuffer();
    near(pixel(await open(bytes, 8, 8), 4, 4), [0, 0, 0]);
  });

  it('refuses truncated bytes of every format', async () => {
    const noise = sharp(
      Buffer.from(Uint8Array.from({ length: 300 * 200 * 3 }, (_, i) => (i * i * 31) >> 5)),
      {
        raw: { width: 300, height: 200, channels: 3 },
      },
    );
    for (const bytes of [
      await noise.clone().jpeg().toBuffer(),
      await noise.clone().png().toBuffer(),
      await noise.clone().webp().toBuffer(),
    ]) {
      await expect(open(bytes.subarray(0, Math.floor(bytes.length * 0.6)), 300, 200)).rejects.toMatchObject({
        code: 'image_corrupt',
      });
    }
  });

  it('takes padding behind the end of a JPEG, as many cameras write it', async () => {
    const bytes = await solid(64, 64, '#336699').jpeg().toBuffer();
    const picture = await open(Buffer.concat([bytes, Buffer.alloc(512)]));
    expect(picture.brokenBytes01).toBe(0);
  });
});
