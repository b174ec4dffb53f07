import type { PixelSeries } from './types.ts';

/** Longer side of the small grey pictures from which cells are taken, pixels. */
const PICTURE_SIDE = 320;
/** Waves run down the picture: rows are finer than columns, so that a breaking front crosses several of them. */
const GRID = { columns: 48, rows: 108 } as const;
const LINE_ROWS = 96;

export interface PictureSize {
  readonly width: number;
  readonly height: number;
}

/** How far the content of a picture lies right and down of its usual place, pixels of the small picture. */
export interface Shift {
  readonly x: number;
  readonly y: number;
}

/** How a small grey picture becomes the cells of a series. */
export interface Layout extends Pick<PixelSeries, 'columns' | 'rows' | 'cellAspect'> {
  /** Size of the small picture. */
  readonly size: PictureSize;
  /** The cells of the picture, row by row. `picture` has one byte for each pixel. */
  cellsOf(picture: Uint8Array, shift: Shift): Uint8Array;
}

/** A line from the sea to the shore; positions as shares of width and height of the picture. */
export interface ShoreLine {
  readonly fromX: number;
  readonly fromY: number;
  readonly toX: number;
  readonly toY: number;
}

/** Size of the small picture of a camera picture: at most `PICTURE_SIDE` wide and high. */
export function smallSize({ width, height }: PictureSize): PictureSize {
  const scale = PICTURE_SIDE / Math.max(width, height);
  const side = (length: number): number => Math.max(8, Math.round(length * scale));
  return { width: side(width), height: side(height) };
}

/** The cells of a picture: a grid over it, or points along the lines when there are any. */
export const layoutOf = (size: PictureSize, lines: readonly ShoreLine[]): Layout =>
  lines.length > 0 ? linesLayout(size, lines) : gridLayout(size);

/** A grid over the whole picture; each cell is the mean of its pixels. */
function gridLayout(size: PictureSize): Layout {
  const { columns, rows } = GRID;
  const { width, height } = size;
  const reduced = new Float64Array(columns * height);
  const sums = new Float64Array(Math.max(width, height) + 1);
  return {
    ...GRID,
    size,
    cellAspect: width / columns / (height / rows),
    cellsOf: (picture, shift) => {
      for (let y = 0; y < height; y += 1) {
        for (let x = 0; x < width; x += 1) sums[x + 1] = (sums[x] ?? 0) + (picture[y * width + x] ?? 0);
        for (let column = 0; column < columns; column += 1)
          reduced[y * columns + column] = meanBetween(sums, width, columns, column, shift.x);
      }
      const cells = new Uint8Array(columns * rows);
      for (let column = 0; column < columns; column += 1) {
        for (let y = 0; y < height; y += 1)
          sums[y + 1] = (sums[y] ?? 0) + (reduced[y * columns + column] ?? 0);
        for (let row = 0; row < rows; row += 1)
          cells[row * columns + column] = Math.round(meanBetween(sums, height, rows, row, shift.y));
      }
      return cells;
    },
  };
}

/** Mean of one of `parts` equal parts of a line of pixels, moved by `shift`, from the running sums of the pixels. */
function meanBetween(sums: Float64Array, pixels: number, parts: number, part: number, shift: number): number {
  const length = pixels / parts;
  const from = Math.min(Math.max(part * length + shift, 0), pixels - length);
  return (sumUpTo(sums, from + length) - sumUpTo(sums, from)) / length;
}

function sumUpTo(sums: Float64Array, position: number): number {
  const whole = Math.floor(position);
  const share = position - whole;
  const sum = sums[whole] ?? 0;
  return share === 0 ? sum : sum + share * ((sums[whole + 1] ?? 0) - sum);
}

/** Points along lines, interpolated between pixels. Each line is a column. */
function linesLayout(size: PictureSize, lines: readonly ShoreLine[]): Layout {
  const { width, height } = size;
  const points = Array.from({ length: LINE_ROWS }, (_, row) => row / (LINE_ROWS - 1)).flatMap((along) =>
    lines.map(({ fromX, fromY, toX, toY }) => ({
      x: (fromX + along * (toX - fromX)) * (width - 1),
      y: (fromY + along * (toY - fromY)) * (height - 1),
    })),
  );
  return {
    columns: lines.length,
    rows: LINE_ROWS,
    size,
    cellAspect: null,
    cellsOf: (picture, shift) =>
      Uint8Array.from(points, ({ x, y }) => Math.round(greyAt(picture, size, x + shift.x, y + shift.y))),
  };
}

function greyAt(picture: Uint8Array, { width, height }: PictureSize, atX: number, atY: number): number {
  const x = Math.min(Math.max(atX, 0), width - 1);
  const y = Math.min(Math.max(atY, 0), height - 1);
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [right, bottom] = [Math.min(left + 1, width - 1), Math.min(top + 1, height - 1)];
  const row = (line: number): number => {
    const from = picture[line * width + left] ?? 0;
    return from + (x - left) * ((picture[line * width + right] ?? 0) - from);
  };
  return row(top) + (y - top) * (row(bottom) - row(top));
}
