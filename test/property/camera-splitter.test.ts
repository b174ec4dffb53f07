import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { JpegSplitter } from '../../src/camera/jpeg-splitter.ts';
import { jpegOf } from '../fixtures/jpeg.ts';

let pictures: Buffer[];
beforeAll(async () => {
  pictures = await Promise.all(
    [1, 2, 3, 4].map((seed) => jpegOf(seed, { width: 24, height: 16, progressive: seed === 3 })),
  );
});

/** Cuts the bytes at the given places (as shares of the length). */
function chunksOf(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set(cuts.map((cut) => Math.floor(cut * bytes.length)))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
}

const cuts = fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { maxLength: 40 });
// Text between pictures as servers send it; a 0xFF 0xD8 in it would be a picture's start indeed.
const between = fc.oneof(
  fc.constant(Buffer.alloc(0)),
  fc
    .string({ maxLength: 60 })
    .map((text) => Buffer.from(`\r\n--${text}\r\nContent-Type: image/jpeg\r\n\r\n`)),
  fc.uint8Array({ maxLength: 60, max: 0xfe }).map((bytes) => Buffer.from(bytes)),
);

describe('JpegSplitter under any chunking', () => {
  it('yields exactly the pictures, whatever stands between and wherever it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(3), between), { maxLength: 8 }),
        between,
        cuts,
        (parts, tail, at) => {
          const body = Buffer.concat([...parts.flatMap(([which, text]) => [text, pictures[which]!]), tail]);
          const splitter = new JpegSplitter({ maxBytes: 100_000 });
          const found = chunksOf(body, at).flatMap((chunk) => splitter.push(chunk));
          expect(found.map(String)).toEqual(parts.map(([which]) => String(pictures[which])));
          expect(splitter.dropped).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('gives the same for any bytes at all, however cut, and never more than its bound', () => {
    const hostile = fc.array(
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
        fc
          .constantFrom(
            [0xff],
            [0xff, 0xd8],
            [0xff, 0xd8, 0xff],
            [0xff, 0xd9],
            [0xff, 0xda, 0, 2],
            [0xff, 0xe1, 0, 9],
          )
          .map((bytes) => Buffer.from(bytes)),
        fc.tuple(fc.nat(3), fc.nat(400)).map(([which, length]) => pictures[which]!.subarray(0, length)),
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(hostile, cuts, (parts, at) => {
        const body = Buffer.concat(parts);
        const whole = new JpegSplitter({ maxBytes: 100_000 });
        const cut = new JpegSplitter({ maxBytes: 100_000 });
        const expected = whole.push(body);
        const found = chunksOf(body, at).flatMap((chunk) => cut.push(chunk));
        expect(found.map(String)).toEqual(expected.map(String));
        expect(cut.dropped).toBe(whole.dropped);
        const bounded = new JpegSplitter({ maxBytes: 300 });
        for (const chunk of chunksOf(body, at))
          for (const picture of bounded.push(chunk)) expect(picture.length).toBeLessThanOrEqual(300);
      }),
      { numRuns: 500 },
    );
  });
});
