import { describe, expect, it } from 'vitest';
import { PrimaryJpegs } from '../../../src/camera/primary-jpeg.ts';
import { multiPicture, segment, withSegments } from '../../fixtures/camera-zoo/attached-jpegs.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';

const image = await jpegOf(1);
const small = await jpegOf(2, { width: 8, height: 8 });
const progressive = await jpegOf(3, { progressive: true });
/** The primary image of a file with `count` images, without the others. */
const indexed = (count: number, isLittleEndian = false): Buffer =>
  multiPicture(
    image,
    Array.from({ length: count - 1 }, () => Buffer.alloc(0)),
    { isLittleEndian },
  );

const accepted = (jpegs: readonly (readonly [Buffer, boolean])[]): boolean[] => {
  const primaries = new PrimaryJpegs();
  return jpegs.map(([jpeg, follows]) => primaries.accepts(jpeg, follows));
};

describe('PrimaryJpegs', () => {
  it('takes images of the same or a larger size', () => {
    expect(
      accepted([
        [small, true],
        [image, true],
        [progressive, true],
      ]),
    ).toEqual([true, true, true]);
  });

  it('takes a smaller image for an attachment only if it follows in the same answer', () => {
    expect(
      accepted([
        [image, false],
        [small, true],
        [small, true],
        [small, false],
        [small, true],
      ]),
    ).toEqual([true, false, false, true, true]);
  });

  it.each([false, true])(
    'takes as many images for attachments as the index counts (little endian: %s)',
    (le) => {
      expect(
        accepted([
          [indexed(3, le), false],
          [image, true],
          [image, true],
          [image, true],
        ]),
      ).toEqual([true, false, false, true]);
    },
  );

  it('does not count on into the next answer', () => {
    expect(
      accepted([
        [indexed(3), false],
        [image, true],
        [image, false],
        [image, true],
      ]),
    ).toEqual([true, false, true, true]);
  });

  it.each([
    ['a count above the limit', indexed(100)],
    [
      'a directory outside',
      withSegments(image, segment(0xe2, Buffer.from('MPF\0MM\0*\xff\xff\xff\xff\0\0', 'latin1'))),
    ],
    ['no directory', withSegments(image, segment(0xe2, Buffer.from('MPF\0MM')))],
    [
      'an entry that is cut',
      withSegments(image, segment(0xe2, Buffer.from('MPF\0MM\0*\0\0\0\x08\0\x05\xb0', 'latin1'))),
    ],
    ['another segment of the same number', withSegments(image, segment(0xe2, Buffer.from('ICC_PROFILE\0')))],
  ])('ignores a damaged index: %s', (_, jpeg) => {
    expect(
      accepted([
        [jpeg, false],
        [image, true],
      ]),
    ).toEqual([true, true]);
  });

  it('reads headers that are cut, and bytes that are no JPEG', () => {
    for (let length = 0; length < 700; length += 1)
      expect(new PrimaryJpegs().accepts(indexed(2).subarray(0, length), true)).toBe(true);
    expect(new PrimaryJpegs().accepts(Buffer.alloc(100, 0xff), true)).toBe(true);
  });
});
