import { describe, expect, it } from 'vitest';
import { JpegSplitter } from '../../../src/camera/jpeg-splitter.ts';
import { collect } from '../../fixtures/collect.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';

const split = (bytes: Buffer, maxBytes = 1e6) => {
  const splitter = new JpegSplitter({ maxBytes });
  const images = splitter.push(bytes).map((image) => image.bytes);
  return { images, dropped: splitter.dropped };
};

const END = Buffer.from([0xff, 0xd9]);

describe('JpegSplitter', () => {
  it('splits images without bytes between them', async () => {
    const all = [await jpegOf(1), await jpegOf(2, { progressive: true }), await jpegOf(3)];
    expect(split(Buffer.concat(all))).toEqual({ images: all, dropped: 0 });
  });

  it('skips boundaries, headers and garbage that contains 0xFF', async () => {
    const [one, two] = [await jpegOf(1), await jpegOf(2)];
    const noise = [
      Buffer.from('preamble\r\n--b\r\nContent-Type: image/jpeg\r\nContent-Length: 7\r\n\r\n'),
      Buffer.from([0xff, 0xd8, 0x00, 0xff, 0xff, 0xd9, 0xff]),
      Buffer.from('\r\n--b--'),
    ] as const;
    expect(split(Buffer.concat([noise[0], one, noise[1], two, noise[2]])).images).toEqual([one, two]);
  });

  it('does not end an image at a thumbnail inside its header', async () => {
    const image = await jpegOf(1);
    const thumbnail = await jpegOf(2, { width: 8, height: 8 });
    const header = Buffer.from([0xff, 0xe1, (thumbnail.length + 2) >> 8, (thumbnail.length + 2) & 0xff]);
    const whole = Buffer.concat([image.subarray(0, 2), header, thumbnail, image.subarray(2)]);
    expect(split(whole)).toEqual({ images: [whole], dropped: 0 });
  });

  it('ends an image without end marker before the boundary, when the next one starts', async () => {
    const [one, two] = [await jpegOf(1), await jpegOf(2)];
    const cut = one.subarray(0, one.length - 40);
    const splitter = new JpegSplitter({ maxBytes: 1e6 });
    const stream = Buffer.concat([cut, Buffer.from('\r\n--b\r\nContent-Length: 9\r\n\r\n'), two]);
    expect(splitter.push(stream)).toEqual([
      { bytes: Buffer.concat([cut, END]), isComplete: false, isAdjacent: false },
      { bytes: two, isComplete: true, isAdjacent: false },
    ]);
    expect(splitter.dropped).toBe(0);
  });

  it('returns an image without end marker at the end of the stream, and nothing twice', async () => {
    const one = await jpegOf(1);
    const splitter = new JpegSplitter({ maxBytes: one.length });
    expect(splitter.push(one.subarray(0, -2))).toEqual([]);
    expect(splitter.end()).toEqual({ bytes: one, isComplete: false, isAdjacent: false });
    expect(splitter.end()).toBeNull();
    splitter.push(one.subarray(0, 100));
    expect(splitter.end()).toBeNull();
  });

  it('drops an image without end marker over the limit', async () => {
    const one = await jpegOf(1);
    const splitter = new JpegSplitter({ maxBytes: one.length - 1 });
    splitter.push(one.subarray(0, -2));
    expect(splitter.end()).toBeNull();
    expect(splitter.dropped).toBe(1);
  });

  it.each([
    ['nothing', '', true],
    ['zeros and fill bytes', '\0\0\xff\xff\0', true],
    ['a boundary', '\r\n--b\r\n\r\n', false],
    ['other data', '\0\x01', false],
  ])('tells whether only padding is between two images: %s', async (_, gap, isAdjacent) => {
    const one = await jpegOf(1);
    const stream = Buffer.concat([one, Buffer.from(gap, 'latin1'), one]);
    const splitter = new JpegSplitter({ maxBytes: 1e6 });
    expect(splitter.push(stream).map((image) => image.isAdjacent)).toEqual([false, isAdjacent]);
  });

  it('finds the next image after one with damaged headers', async () => {
    const [one, two, three] = [await jpegOf(1), await jpegOf(2), await jpegOf(3)];
    const damaged = Buffer.from(one);
    damaged[20] = 0x12;
    damaged.fill(0x55, 2, 30);
    const { images } = split(Buffer.concat([damaged, two, three]));
    expect(images).toContainEqual(three);
    expect(images).not.toContainEqual(damaged);
  });

  it('drops an image over the limit and continues with the next', async () => {
    const large = await jpegOf(1, { width: 400, height: 400 });
    const small = await jpegOf(2);
    expect(split(Buffer.concat([large, small]), small.length + 10)).toEqual({
      images: [small],
      dropped: 1,
    });
  });

  it('holds at most the limit of an image that never ends', () => {
    const splitter = new JpegSplitter({ maxBytes: 100_000 });
    const start = Buffer.from([0xff, 0xd8, 0xff, 0xda, 0, 2]);
    splitter.push(start);
    const held = (): number => {
      collect();
      return process.memoryUsage().arrayBuffers;
    };
    const before = held();
    for (let i = 0; i < 400; i += 1) splitter.push(Buffer.alloc(65_536, 0x11));
    expect(splitter.dropped).toBe(1);
    expect(held() - before).toBeLessThan(1e6);
  });

  it('returns no partial image at the end', async () => {
    const one = await jpegOf(1);
    expect(split(one.subarray(0, -1)).images).toEqual([]);
  });
});
