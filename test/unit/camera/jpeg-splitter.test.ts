import { describe, expect, it } from 'vitest';
import { JpegSplitter } from '../../../src/camera/jpeg-splitter.ts';
import { collect } from '../../fixtures/collect.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';

const split = (bytes: Buffer, maxBytes = 1e6) => {
  const splitter = new JpegSplitter({ maxBytes });
  return { pictures: splitter.push(bytes), dropped: splitter.dropped };
};

describe('JpegSplitter', () => {
  it('cuts pictures that stand end to end', async () => {
    const all = [await jpegOf(1), await jpegOf(2, { progressive: true }), await jpegOf(3)];
    expect(split(Buffer.concat(all))).toEqual({ pictures: all, dropped: 0 });
  });

  it('passes over boundaries, headers and garbage, 0xFF among it', async () => {
    const [one, two] = [await jpegOf(1), await jpegOf(2)];
    const noise = [
      Buffer.from('preamble\r\n--b\r\nContent-Type: image/jpeg\r\nContent-Length: 7\r\n\r\n'),
      Buffer.from([0xff, 0xd8, 0x00, 0xff, 0xff, 0xd9, 0xff]),
      Buffer.from('\r\n--b--'),
    ] as const;
    expect(split(Buffer.concat([noise[0], one, noise[1], two, noise[2]])).pictures).toEqual([one, two]);
  });

  it('is not ended by a thumbnail inside a header', async () => {
    const picture = await jpegOf(1);
    const thumbnail = await jpegOf(2, { width: 8, height: 8 });
    const header = Buffer.from([0xff, 0xe1, (thumbnail.length + 2) >> 8, (thumbnail.length + 2) & 0xff]);
    const whole = Buffer.concat([picture.subarray(0, 2), header, thumbnail, picture.subarray(2)]);
    expect(split(whole)).toEqual({ pictures: [whole], dropped: 0 });
  });

  it('drops a picture that is cut off by the next one', async () => {
    const [one, two] = [await jpegOf(1), await jpegOf(2)];
    const cut = one.subarray(0, one.length - 40);
    expect(split(Buffer.concat([cut, Buffer.from('\r\n--b\r\n\r\n'), two]))).toEqual({
      pictures: [two],
      dropped: 1,
    });
  });

  it('finds the next picture after one with damaged headers', async () => {
    const [one, two, three] = [await jpegOf(1), await jpegOf(2), await jpegOf(3)];
    const damaged = Buffer.from(one);
    damaged[20] = 0x12;
    damaged.fill(0x55, 2, 30);
    const { pictures } = split(Buffer.concat([damaged, two, three]));
    expect(pictures).toContainEqual(three);
    expect(pictures).not.toContainEqual(damaged);
  });

  it('gives up a picture over the bound and goes on with the next', async () => {
    const large = await jpegOf(1, { width: 400, height: 400 });
    const small = await jpegOf(2);
    expect(split(Buffer.concat([large, small]), small.length + 10)).toEqual({
      pictures: [small],
      dropped: 1,
    });
  });

  it('holds no more than the bound of a picture that never ends', () => {
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

  it('keeps quiet about a partial picture at the end', async () => {
    const one = await jpegOf(1);
    expect(split(one.subarray(0, -1)).pictures).toEqual([]);
  });
});
