import { describe, expect, it } from 'vitest';
import { findBreakerFaces } from '../../../src/sea-state/breaker-faces.ts';
import type { WhiteWater } from '../../../src/sea-state/white-water.ts';

const SHAPE = { columns: 6, rows: 80, rateHz: 2, samples: 120 } as const;

/** White water in a picture: `isWhite` of each column, row and sample. */
function white(isWhite: (column: number, row: number, sample: number) => boolean): WhiteWater {
  const { columns, rows, samples } = SHAPE;
  const cells = Array.from({ length: columns * rows }, (_, cell) => cell);
  const excess = Uint8Array.from({ length: cells.length * samples }, (_, index) => {
    const cell = Math.floor(index / samples);
    return isWhite(cell % columns, Math.floor(cell / columns), index % samples) ? 120 : 5;
  });
  return { cells, excess, threshold: 60 };
}

/** A wave whose face of 10 rows turns white at sample 40 in row 20, runs two rows each sample, and leaves foam for 10 samples. */
const breaker = (row: number, sample: number): boolean => {
  const age = sample - 40;
  return age >= 0 && age < 25 && row <= 29 + 2 * age && row >= Math.max(20, 20 + 2 * (age - 10));
};

describe('findBreakerFaces', () => {
  it('finds the face when it turns white, once in each column, and follows its toe', () => {
    const faces = findBreakerFaces(
      SHAPE,
      white((_, row, sample) => breaker(row, sample)),
    );
    expect(faces.map(({ column }) => column)).toEqual([0, 1, 2, 3, 4, 5]);
    for (const face of faces) {
      expect([face.sample, face.crestRow]).toEqual([40, 20]);
      // Two rows in each sample, for 5 s.
      expect(face.toeRows).toEqual([29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49]);
    }
    expect(new Set(faces.map(({ crest }) => crest)).size).toBe(1);
  });

  it('follows white water from the crest down the face', () => {
    const late = white(
      (_, row, sample) => breaker(row, sample) && (sample > 41 || row < 20 + 3 * (sample - 39)),
    );
    for (const { crestRow, toeRows } of findBreakerFaces(SHAPE, late))
      expect([crestRow, ...toeRows.slice(0, 4)]).toEqual([20, 22, 25, 33, 35]);
  });

  it('ends with the face when white water in front of it belongs to another wave', () => {
    const merging = white((_, row, sample) => breaker(row, sample) || (sample > 44 && row > 37 && row < 60));
    const faces = findBreakerFaces(SHAPE, merging);
    expect(faces.find(({ crestRow }) => crestRow === 20)?.toeRows).toEqual([29, 31, 33, 35, 37]);
  });

  it('tells crests that break at different times apart', () => {
    const two = white((_, row, sample) => breaker(row, sample) || breaker(row, sample - 40));
    expect(new Set(findBreakerFaces(SHAPE, two).map(({ crest }) => crest)).size).toBe(2);
  });

  it.each([
    [
      'foam that stays where it is',
      (_: number, row: number, sample: number) => row >= 20 && row < 30 && sample >= 40 && sample < 60,
    ],
    [
      'white water that runs to the sea',
      (_: number, row: number, sample: number) => breaker(79 - row, sample),
    ],
    ['a flash of the whole picture', (_: number, __: number, sample: number) => sample === 40],
    [
      'a boat in one column',
      (column: number, row: number, sample: number) => column === 3 && breaker(row, sample),
    ],
    ['nothing', () => false],
  ])('does not take %s for a breaker', (_, isWhite) => {
    expect(findBreakerFaces(SHAPE, white(isWhite))).toEqual([]);
  });
});
