import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import {
  decodeImage,
  jpegDamage01,
  plainJpegSize,
  readImageHeader,
  sniffFormat,
} from '../../../../src/vision/child/decode.ts';
import { jpegOf } from '../../../fixtures/jpeg.ts';
import { randomFrom } from '../../../fixtures/labelled.ts';
import { mutate } from '../../../fixtures/mutate.ts';
import { pngOf } from '../../../fixtures/png.ts';

/** The long form: SWELLSIGHT_MUTATIONS=1000000. */
const MUTATIONS = Number(process.env['SWELLSIGHT_MUTATIONS'] ?? 1000);

const solid = (width: number, height: number, background: string) =>
  sharp({ create: { width, height, channels: 3, background } });

async function open(bytes: Uint8Array, width = 64, height = 64) {
  return decodeImage(bytes, await readImageHeader(bytes), { width, height });
}

const pixel = (image: { data: Uint8Array; width: number }, x: number, y: number): number[] => [
  ...image.data.subarray((y * image.width + x) * 3, (y * image.width + x) * 3 + 3),
];

const near = (actual: readonly number[], wanted: readonly number[], tolerance = 4): void => {
  expect(actual).toHaveLength(wanted.length);
  actual.forEach((value, i) => expect(Math.abs(value - wanted[i]!)).toBeLessThanOrEqual(tolerance));
};

/** A PNG header that claims a size, with almost no data. */
const pngClaiming = (width: number, height: number): Buffer =>
  pngOf({ width, height, bits: 8, colourType: 2 }, Buffer.alloc(64));

/** A PNG header that claims a size, with 16 bits and alpha, interlaced or not, and almost no data. */
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

/** Rewrites the frame header of an intact JPEG so that it claims another size. */
function withClaimedSize(jpeg: Buffer, width: number, height: number): Buffer {
  const at = [0xc0, 0xc2]
    .map((marker) => jpeg.indexOf(Buffer.from([0xff, marker])))
    .find((found) => found > 0);
  if (at === undefined) throw new Error('no frame header');
  const bytes = Buffer.from(jpeg);
  bytes.writeUInt16BE(height, at + 5);
  bytes.writeUInt16BE(width, at + 7);
  return bytes;
}

describe('sniffFormat', () => {
  it('recognises the three formats by their first bytes', async () => {
    expect(sniffFormat(await solid(8, 8, '#fff').jpeg().toBuffer())).toBe('jpeg');
    expect(sniffFormat(await solid(8, 8, '#fff').png().toBuffer())).toBe('png');
    expect(sniffFormat(await solid(8, 8, '#fff').webp().toBuffer())).toBe('webp');
    expect(sniffFormat(Buffer.alloc(0))).toBeNull();
    expect(sniffFormat(Buffer.from([0xff]))).toBeNull();
  });
});

describe('readImageHeader', () => {
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
    [
      'a JPEG that claims 200 megapixels',
      async () => withClaimedSize(await jpegOf(1), 20_000, 10_000),
      'image_too_large',
    ],
    ['a JPEG that claims no width', async () => withClaimedSize(await jpegOf(1), 0, 100), 'image_corrupt'],
  ])('rejects %s', async (_, make, code) => {
    await expect(readImageHeader(await make())).rejects.toMatchObject({ code });
  });
});

describe('the memory limit of readImageHeader', () => {
  const tooLarge = { code: 'image_too_large' };

  it.each([
    ['an interlaced PNG of 16 bits', 5000, () => deepPng(5000, 5000, true)],
    ['WebP', 6500, () => losslessWebp(6500, 6500)],
    [
      'a progressive JPEG',
      6000,
      async () => withClaimedSize(await jpegOf(1, { progressive: true }), 6000, 6000),
    ],
  ])('rejects %s of %i px square, which must be decoded as a whole', async (_what, _size, make) => {
    await expect(readImageHeader(await make())).rejects.toMatchObject(tooLarge);
  });

  it.each([
    ['a PNG of 16 bits that is not interlaced', 5000, () => deepPng(5000, 5000, false)],
    ['an interlaced PNG', 4000, () => deepPng(4000, 4000, true)],
    ['WebP', 6000, () => losslessWebp(6000, 6000)],
    [
      'a progressive JPEG',
      5000,
      async () => withClaimedSize(await jpegOf(1, { progressive: true }), 5000, 5000),
    ],
    ['a baseline JPEG', 7000, async () => withClaimedSize(await jpegOf(1), 7000, 7000)],
  ])('accepts %s of %i px square', async (_what, size, make) => {
    expect((await readImageHeader(await make())).size).toEqual({ width: size, height: size });
  });

  it('rejects more than 50 megapixels of any format', async () => {
    for (const bytes of [
      deepPng(8000, 8000, false),
      withClaimedSize(await jpegOf(1), 8000, 8000),
      losslessWebp(16000, 16000),
    ])
      await expect(readImageHeader(bytes)).rejects.toMatchObject(tooLarge);
  });
});

describe('decodeImage', () => {
  it('scales to the wanted size and never enlarges', async () => {
    const bytes = await solid(640, 360, '#336699').jpeg({ quality: 95 }).toBuffer();
    const small = await open(bytes, 512, 288);
    expect([small.width, small.height, small.data.length]).toEqual([512, 288, 512 * 288 * 3]);
    expect(small.source).toEqual({ width: 640, height: 360 });
    near(pixel(small, 100, 100), [0x33, 0x66, 0x99]);
    const whole = await open(bytes, 5000, 5000);
    expect([whole.width, whole.height]).toEqual([640, 360]);
  });

  it('gives the same image whether the decoder or sharp scales it', async () => {
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

  it('rotates an image upright by its EXIF orientation', async () => {
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
    const image = await open(tall, 40, 80);
    expect(image.source).toEqual({ width: 40, height: 80 });
    near(pixel(image, 35, 40), [255, 0, 0], 12);
    near(pixel(image, 5, 40), [0, 0, 255], 12);
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
  ] as const)('decodes a %s to 8-bit RGB', async (_, make, wanted) => {
    const image = await open(await make(), 32, 32);
    expect(image.data.length).toBe(32 * 32 * 3);
    expect(image.brokenBytes01).toBe(0);
    // CMYK goes through a printer profile: close, not equal.
    near(pixel(image, 16, 16), wanted, 20);
  });

  it('renders transparent pixels as black', async () => {
    const bytes = await sharp({
      create: { width: 8, height: 8, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 0 } },
    })
      .png()
      .toBuffer();
    near(pixel(await open(bytes, 8, 8), 4, 4), [0, 0, 0]);
  });

  it('rejects truncated bytes of every format', async () => {
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

  it('accepts padding after the end of a JPEG, as many cameras write it', async () => {
    const bytes = await solid(64, 64, '#336699').jpeg().toBuffer();
    const image = await open(Buffer.concat([bytes, Buffer.alloc(512)]));
    expect(image.brokenBytes01).toBe(0);
  });
});

describe('jpegDamage01', () => {
  it.each([false, true])('finds no damage in an intact file (progressive: %s)', async (progressive) => {
    expect(jpegDamage01(await jpegOf(3, { width: 320, height: 240, progressive }))).toBe(0);
  });

  it('finds a marker that must not occur in the data, and its position', async () => {
    const bytes = await jpegOf(3, { width: 320, height: 240 });
    const at = Math.floor(bytes.length * 0.75);
    bytes.set([0xff, 0x07], at);
    expect(jpegDamage01(bytes)).toBeCloseTo(0.25, 2);
  });

  it('finds a restart marker in a file without restarts', async () => {
    const bytes = await jpegOf(3, { width: 320, height: 240 });
    bytes.set([0xff, 0xd3], Math.floor(bytes.length / 2));
    expect(jpegDamage01(bytes)).toBeCloseTo(0.5, 1);
  });

  it('accepts any bytes without an exception', () => {
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

  it('returns null for grey, CMYK and EXIF', async () => {
    const base = sharp(await jpegOf(1));
    expect(plainJpegSize(await base.clone().toColourspace('b-w').jpeg().toBuffer())).toBeNull();
    expect(plainJpegSize(await base.clone().toColourspace('cmyk').jpeg().toBuffer())).toBeNull();
    expect(plainJpegSize(await base.clone().withMetadata({ orientation: 6 }).jpeg().toBuffer())).toBeNull();
  });

  /** Puts bytes before the frame header. */
  const beforeFrame = (jpeg: Buffer, bytes: readonly number[]): Buffer => {
    const at = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
    return Buffer.concat([jpeg.subarray(0, at), Buffer.from(bytes), jpeg.subarray(at)]);
  };

  it.each([
    ['a fill byte', [0xff]],
    ['several fill bytes', [0xff, 0xff, 0xff]],
    ['bytes between segments', [0x12, 0x34]],
    ['a restart marker', [0xff, 0xd0]],
    ['a marker without a length', [0xff, 0x01]],
    ['a second start of image', [0xff, 0xd8]],
    ['a length of zero', [0xff, 0xfe, 0, 0]],
    ['a length of one', [0xff, 0xfe, 0, 1]],
    ['arithmetic conditioning', [0xff, 0xcc, 0, 4, 0, 0]],
    ['a reserved marker', [0xff, 0xf1, 0, 2]],
    ['a lossless frame', [0xff, 0xc3, 0, 11, 8, 0, 9, 0, 9, 1, 1, 0x11, 0]],
    ['a frame header of another length', [0xff, 0xc0, 0, 20, 8, 0, 9, 0, 9, 3, 1, 0x11, 0]],
  ])('returns null for %s before the frame header', async (_what, bytes) => {
    expect(plainJpegSize(beforeFrame(await jpegOf(1, { width: 320, height: 240 }), bytes))).toBeNull();
  });

  it('reads the size of the decoder when a fill byte hides a second frame header', async () => {
    const jpeg = await jpegOf(1, { width: 320, height: 240 });
    const at = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
    const afterFrame = at + 2 + jpeg.readUInt16BE(at + 2);
    // A reader that takes the fill byte for a marker skips 0xc000 bytes from here, into the comment.
    const comment = Buffer.alloc(2 + 0xff00);
    comment.set([0xff, 0xfe, 0xff, 0x00]);
    const decoy = at + 2 + 0xc000 - (afterFrame + 1);
    comment.set([0xff, 0xc0, 0, 17, 8, 0, 16, 0, 16, 3], decoy);
    const hidden = Buffer.concat([
      jpeg.subarray(0, at),
      Buffer.from([0xff]),
      jpeg.subarray(at, afterFrame),
      comment,
      jpeg.subarray(afterFrame),
    ]);
    expect((await readImageHeader(hidden)).size).toEqual({ width: 320, height: 240 });
  });

  it(
    `agrees with the decoder about ${MUTATIONS} mutated files`,
    async () => {
      const { uniform } = randomFrom(20261130);
      const plain = await jpegOf(1, { width: 320, height: 240 });
      const progressive = await jpegOf(2, { width: 320, height: 240, progressive: true });
      let known = 0;
      for (let count = 0; count < MUTATIONS; count += 1) {
        const bytes = mutate(count % 4 === 0 ? progressive : plain, uniform);
        const size = sniffFormat(bytes) === 'jpeg' ? plainJpegSize(bytes) : null;
        if (size === null) continue;
        const metadata = await sharp(bytes, { limitInputPixels: false })
          .metadata()
          .catch(() => null);
        if (metadata === null) continue;
        known += 1;
        expect({ width: metadata.width, height: metadata.height }).toEqual(size);
      }
      expect(known).toBeGreaterThan(0);
    },
    MUTATIONS * 50 + 60_000,
  );

  it('does not decode an image that is larger than its header', async () => {
    const bytes = await jpegOf(1, { width: 320, height: 240 });
    const header = { ...(await readImageHeader(bytes)), size: { width: 160, height: 120 } };
    await expect(decodeImage(bytes, header, { width: 64, height: 64 })).rejects.toMatchObject({
      code: 'image_corrupt',
    });
  });
});
