import type { BreakerFace, PixelSeries } from './types.ts';
import type { WhiteWater } from './white-water.ts';

/** Dark rows between two parts of the white water of one face. */
const MAX_GAP_ROWS = 1;
/** A new face has no white water within so many rows in the samples before it, seconds. */
const CLEAR_ROWS = { seaward: 2, shoreward: 3 } as const;
const CLEAR_S = 1;
/** The white water must travel at least so many rows towards the shore ... */
const MIN_TRAVEL_ROWS = 4;
/** ... within this time, seconds. */
const TRAVEL_S = 5;
/** It travels at most so many rows from one sample to the next, or so many times its rows: what is farther is another wave. */
const MAX_STEP = { rows: 6, faces: 1.5 } as const;
/** A crest is seen in columns over this share of the width at nearly the same time and place: a narrower one is no breaker. */
const MIN_WIDTH_SHARE = 0.08;
const NEAR = { width: 1 / 16, seconds: 1.5, faces: 0.7 } as const;

/**
 * Finds the faces of breaking waves: white water that appears where there was none, and then travels down the rows to the
 * shore. It begins at the crest, and soon covers the face down to its toe. `series` has the full resolution of the
 * picture along its columns; `white` is the white water in all of its cells.
 */
export function findBreakerFaces(
  series: Pick<PixelSeries, 'columns' | 'rows' | 'rateHz' | 'samples'>,
  white: WhiteWater,
): readonly BreakerFace[] {
  const faces = Array.from({ length: series.columns }, (_, column) =>
    withoutRepetitions(
      facesOf(column, series, new WhiteColumn(whiteRows(column, series, white), series.rows)),
      series.rateHz,
    ),
  ).flat();
  const minColumns = Math.max(2, MIN_WIDTH_SHARE * series.columns);
  return crestsOf(faces, series).flatMap((members, crest) => {
    const isWide = new Set(members.map(({ column }) => column)).size >= minColumns;
    return isWide ? members.map((face) => ({ ...face, crest })) : [];
  });
}

/** Which rows of one column are white: `[samples, rows]`. */
function whiteRows(
  column: number,
  { columns, rows, samples }: Pick<PixelSeries, 'columns' | 'rows' | 'samples'>,
  { cells, excess, threshold }: WhiteWater,
): Uint8Array {
  const isWhite = new Uint8Array(samples * rows);
  for (const [index, cell] of cells.entries()) {
    if (cell % columns !== column) continue;
    const row = (cell - column) / columns;
    for (let sample = 0; sample < samples; sample += 1)
      if ((excess[index * samples + sample] ?? 0) >= threshold) isWhite[sample * rows + row] = 1;
  }
  return isWhite;
}

interface Run {
  readonly crestRow: number;
  readonly toeRow: number;
}
type Face = Omit<BreakerFace, 'crest'>;

/** White water in one column, one sample after the other. */
class WhiteColumn {
  readonly #isWhite: Uint8Array;
  readonly #rows: number;

  constructor(isWhite: Uint8Array, rows: number) {
    this.#isWhite = isWhite;
    this.#rows = rows;
  }

  has(row: number, sample: number): boolean {
    return row >= 0 && row < this.#rows && this.#isWhite[sample * this.#rows + row] === 1;
  }

  /** The run of white rows that begins at, or reaches into, the rows from `first` to `last`; null without one. */
  runIn(first: number, last: number, sample: number): Run | null {
    let crestRow = first;
    while (crestRow <= last && !this.has(crestRow, sample)) crestRow += 1;
    if (crestRow > last) return null;
    let toeRow = crestRow;
    while (this.has(crestRow - 1, sample) || this.has(crestRow - 1 - MAX_GAP_ROWS, sample)) crestRow -= 1;
    while (this.has(toeRow + 1, sample) || this.has(toeRow + 1 + MAX_GAP_ROWS, sample)) toeRow += 1;
    return { crestRow, toeRow };
  }

  /** The toe of a face in its sample and in those that follow, as long as it travels to the shore. */
  toesOf(
    { crestRow, toeRow }: Run,
    sample: number,
    { growing, samples }: { readonly growing: number; readonly samples: number },
  ): readonly number[] {
    const toes = [toeRow];
    let extent = toeRow - crestRow + 1;
    for (let step = 1; step < samples; step += 1) {
      const before = toes.at(-1) ?? toeRow;
      const reach = Math.round(Math.max(MAX_STEP.rows, MAX_STEP.faces * extent));
      const run = this.runIn(before - Math.floor(extent / 2), before + reach, sample + step);
      if (!run || run.toeRow < before || (step > growing && run.toeRow > before + reach)) break;
      toes.push(run.toeRow);
      extent = Math.max(extent, run.toeRow - before);
    }
    return toes;
  }
}

function facesOf(
  column: number,
  { rows, samples, rateHz }: Pick<PixelSeries, 'rows' | 'rateHz' | 'samples'>,
  white: WhiteColumn,
): readonly Face[] {
  const inSamples = (seconds: number): number => Math.max(1, Math.round(seconds * rateHz));
  const [clear, travel] = [inSamples(CLEAR_S), inSamples(TRAVEL_S)];
  const wasClear = (from: number, to: number, sample: number): boolean => {
    for (let before = sample - clear; before < sample; before += 1)
      if (white.runIn(from, to, before)) return false;
    return true;
  };
  const faces: Face[] = [];
  for (let sample = clear; sample + travel < samples; sample += 1)
    for (let row = 0; row < rows; row += 1) {
      const first = white.runIn(row, rows - 1, sample);
      if (!first) break;
      row = first.toeRow + 1;
      const [from, to] = [first.crestRow - CLEAR_ROWS.seaward, first.toeRow + CLEAR_ROWS.shoreward];
      if (!wasClear(from, to, sample)) continue;
      const toeRows = white.toesOf(first, sample, { growing: clear, samples: travel + 1 });
      const travelledRows = (toeRows.at(-1) ?? 0) - first.toeRow;
      if (travelledRows >= MIN_TRAVEL_ROWS) faces.push({ column, sample, crestRow: first.crestRow, toeRows });
    }
  return faces;
}

/** White water that appears in steps beside itself is one face, with its largest extent. */
function withoutRepetitions(faces: readonly Face[], rateHz: number): readonly Face[] {
  const kept: Face[] = [];
  for (const face of faces) {
    const before = kept.findLastIndex(
      (other) =>
        face.sample - other.sample <= NEAR.seconds * rateHz &&
        Math.abs(firstToe(face) - firstToe(other)) <= Math.max(extentOf(face), extentOf(other)),
    );
    const other = kept[before];
    if (!other) kept.push(face);
    else if (extentOf(face) > extentOf(other)) kept[before] = face;
  }
  return kept;
}

/** Groups of faces that follow each other along a crest. */
function crestsOf(
  faces: readonly Face[],
  { columns, rateHz }: Pick<PixelSeries, 'columns' | 'rateHz'>,
): readonly (readonly Face[])[] {
  const reach = Math.max(1, Math.round(columns * NEAR.width));
  const crests: Face[][] = [];
  for (const face of faces.toSorted((a, b) => a.sample - b.sample)) {
    const crest = crests.findLast((members) =>
      members.some(
        (other) =>
          Math.abs(other.column - face.column) <= reach &&
          face.sample - other.sample <= NEAR.seconds * rateHz &&
          Math.abs(firstToe(other) - firstToe(face)) <=
            Math.max(4, NEAR.faces * Math.max(extentOf(other), extentOf(face))),
      ),
    );
    if (crest) crest.push(face);
    else crests.push([face]);
  }
  return crests;
}

const firstToe = ({ crestRow, toeRows }: Pick<BreakerFace, 'crestRow' | 'toeRows'>): number =>
  toeRows[0] ?? crestRow;

/** Rows that are white at first. */
const extentOf = (face: Pick<BreakerFace, 'crestRow' | 'toeRows'>): number =>
  firstToe(face) - face.crestRow + 1;
