import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { JpegSplitter, type SplitJpeg } from '../../src/camera/jpeg-splitter.ts';
import { jpegOf } from '../fixtures/jpeg.ts';

let images: Buffer[];
beforeAll(async () => {
  images = await Promise.all(
    [1, 2, 3, 4].map((seed) => jpegOf(seed, { width: 24, height: 16, progressive: seed === 3 })),
  );
});

/** Splits the bytes at the given positions (as shares of the length). */
function chunksOf(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set(cuts.map((cut) => Math.floor(cut * bytes.length)))].sort((a, b) => a - b);
  return [0, ...at].map((from, part) => bytes.subarray(from, at[part] ?? bytes.length));
}

const cuts = fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { maxLength: 40 });
// Text between images as servers send it, without 0xFF 0xD8, which would start an image.
const between = fc.oneof(
  fc.constant(Buffer.alloc(0)),
  fc
    .string({ maxLength: 60 })
    .map((text) => Buffer.from(`\r\n--${text}\r\nContent-Type: image/jpeg\r\n\r\n`)),
  fc.uint8Array({ maxLength: 60, max: 0xfe }).map((bytes) => Buffer.from(bytes)),
);

const textOf = ({ bytes, isComplete, isAdjacent }: SplitJpeg): string =>
  `${String(isComplete)} ${String(isAdjacent)} ${bytes.toString('latin1')}`;

describe('JpegSplitter', () => {
  it('yields exactly the images, for any bytes between them and any chunking', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(3), between), { maxLength: 8 }),
        between,
        cuts,
        (parts, tail, at) => {
          const body = Buffer.concat([...parts.flatMap(([index, text]) => [text, images[index]!]), tail]);
          const splitter = new JpegSplitter({ maxBytes: 100_000 });
          const found = chunksOf(body, at).flatMap((chunk) => splitter.push(chunk));
          expect(found.every(({ isComplete }) => isComplete)).toBe(true);
          expect(found.map(({ bytes }) => String(bytes))).toEqual(
            parts.map(([index]) => String(images[index])),
          );
          expect(splitter.dropped).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('yields the same for any chunking of hostile bytes, and never more than its limit', () => {
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
        fc.tuple(fc.nat(3), fc.nat(400)).map(([index, length]) => images[index]!.subarray(0, length)),
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
        expect(found.map(textOf)).toEqual(expected.map(textOf));
        expect([cut.end()].flatMap((last) => last ?? []).map(textOf)).toEqual(
          [whole.end()].flatMap((last) => last ?? []).map(textOf),
        );
        expect(cut.dropped).toBe(whole.dropped);
        const bounded = new JpegSplitter({ maxBytes: 300 });
        for (const chunk of chunksOf(body, at))
          for (const { bytes } of bounded.push(chunk)) expect(bytes.length).toBeLessThanOrEqual(300);
      }),
      { numRuns: 500 },
    );
  });
});
