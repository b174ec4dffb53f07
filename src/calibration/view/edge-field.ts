import type { ViewSignature } from '../../vision/protocol.ts';
import type { ComplexGrid } from './fourier.ts';

/** Grid on which views are compared, cells. */
export const GRID_WIDTH = 128;
export const GRID_HEIGHT = 64;
/** Edges of this contrast (luma per cell) count half: strong ones hardly more, so that light matters little. */
const HALF_CONTRAST = 6;
/** Share of each side that fades out, for the transform takes the picture as endless. */
const FADE = 0.06;

const CELLS = GRID_WIDTH * GRID_HEIGHT;

export const emptyGrid = (): ComplexGrid => ({ re: new Float64Array(CELLS), im: new Float64Array(CELLS) });

/** Luma on the comparison grid, seen at a magnification of `zoom` about the centre; edges are repeated outward. */
export function sampleGrid(
  view: ViewSignature,
  zoom: number,
  grid: Float64Array = new Float64Array(CELLS),
): Float64Array {
  const { luma, width, height } = view;
  const columns = taps(GRID_WIDTH, width, zoom);
  const rows = taps(GRID_HEIGHT, height, zoom);
  for (const [y, row] of rows.entries()) {
    const upper = row.from * width;
    const lower = row.to * width;
    for (const [x, column] of columns.entries()) {
      const a = luma[upper + column.from] ?? 0;
      const b = luma[upper + column.to] ?? 0;
      const c = luma[lower + column.from] ?? 0;
      const d = luma[lower + column.to] ?? 0;
      const top = a + (b - a) * column.share;
      grid[y * GRID_WIDTH + x] = top + (c + (d - c) * column.share - top) * row.share;
    }
  }
  return grid;
}

/**
 * Edges as a complex field: length 0..1 by contrast, angle twice the gradient's, so that dark on bright and bright on
 * dark are the same edge at any hour. Cells with `weight` 0 say nothing.
 */
export function edgeField(
  grid: Float64Array,
  weight: Float64Array | null,
  into: ComplexGrid = emptyGrid(),
): ComplexGrid {
  const { re, im } = into;
  re.fill(0);
  im.fill(0);
  for (let y = 0; y < GRID_HEIGHT; y += 1) {
    const above = Math.max(0, y - 1) * GRID_WIDTH;
    const below = Math.min(GRID_HEIGHT - 1, y + 1) * GRID_WIDTH;
    const fadeY = fade(y, GRID_HEIGHT);
    for (let x = 0; x < GRID_WIDTH; x += 1) {
      const at = y * GRID_WIDTH + x;
      const gx =
        ((grid[Math.min(at + 1, y * GRID_WIDTH + GRID_WIDTH - 1)] ?? 0) -
          (grid[Math.max(at - 1, y * GRID_WIDTH)] ?? 0)) /
        2;
      const gy = ((grid[below + x] ?? 0) - (grid[above + x] ?? 0)) / 2;
      const squared = gx * gx + gy * gy;
      if (squared === 0) continue;
      const length = Math.sqrt(squared);
      const strength =
        ((length / (length + HALF_CONTRAST)) * fadeY * fade(x, GRID_WIDTH) * (weight?.[at] ?? 1)) / squared;
      re[at] = (gx * gx - gy * gy) * strength;
      im[at] = 2 * gx * gy * strength;
    }
  }
  return into;
}

/** Luma that moves less than this over all views, while the light does, is drawn by the camera: text, logo, mask. */
const DRAWN_RANGE = 10;
const LIGHT_RANGE = 24;
const FEWEST_VIEWS = 4;
/** More of the picture than this cannot be told from a dark scene. */
const MAX_DRAWN01 = 0.2;
/** Cells around a drawn edge that it reaches. */
const REACH = 2;
/** A privacy mask is painted anew in each frame, to the same value; no sensor holds so still. */
const PAINTED_RANGE = 0.25;
const FEWEST_PAINTED_VIEWS = 2;
/** More than this is one picture given several times. */
const MAX_PAINTED01 = 0.6;

/**
 * 0 around what is drawn into the picture, 1 elsewhere: privacy masks and burned-in text stay where they are when the
 * camera turns. A mask is told by its constancy, from two views on; text by edges that do not take part in the change of
 * the light, from four on. Null when nothing is drawn, or when that cannot be told.
 */
export function drawnMask(grids: readonly Float64Array[]): Float64Array | null {
  if (grids.length < FEWEST_PAINTED_VIEWS) return null;
  const range = new Float64Array(CELLS);
  const mean = new Float64Array(CELLS);
  for (let at = 0; at < CELLS; at += 1) {
    const values = grids.map((grid) => grid[at] ?? 0);
    range[at] = Math.max(...values) - Math.min(...values);
    mean[at] = values.reduce((sum, value) => sum + value, 0) / values.length;
  }
  const painted = cellsWhere((at) => (range[at] ?? 0) <= PAINTED_RANGE);
  const constant = painted.length <= MAX_PAINTED01 * CELLS ? painted : [];
  const cells = [...constant, ...burnedIn(grids.length, range, mean)];
  if (cells.length === 0) return null;
  const weight = new Float64Array(CELLS).fill(1);
  for (const at of cells) silence(weight, at);
  return weight;
}

/** Cells at edges that stay as they are while the light changes; none where too much of the picture would be so. */
function burnedIn(views: number, range: Float64Array, mean: Float64Array): readonly number[] {
  if (views < FEWEST_VIEWS || (range.toSorted()[CELLS >> 1] ?? 0) < LIGHT_RANGE) return [];
  const { re, im } = edgeField(mean, null);
  const edges = cellsWhere(
    (at) => (range[at] ?? 0) <= DRAWN_RANGE && Math.hypot(re[at] ?? 0, im[at] ?? 0) >= 0.5,
  );
  const weight = new Float64Array(CELLS).fill(1);
  for (const at of edges) silence(weight, at);
  const drawn = weight.reduce((sum, one) => sum + 1 - one, 0);
  return drawn > MAX_DRAWN01 * CELLS ? [] : edges;
}

function cellsWhere(holds: (at: number) => boolean): readonly number[] {
  return Array.from({ length: CELLS }, (_, at) => at).filter(holds);
}

function silence(weight: Float64Array, at: number): void {
  const x = at % GRID_WIDTH;
  const y = (at - x) / GRID_WIDTH;
  for (let row = Math.max(0, y - REACH); row <= Math.min(GRID_HEIGHT - 1, y + REACH); row += 1)
    weight.fill(
      0,
      row * GRID_WIDTH + Math.max(0, x - REACH),
      row * GRID_WIDTH + Math.min(GRID_WIDTH, x + REACH + 1),
    );
}

interface Tap {
  readonly from: number;
  readonly to: number;
  readonly share: number;
}

function taps(cells: number, pixels: number, zoom: number): Tap[] {
  return Array.from({ length: cells }, (_, cell) => {
    const centred = (cell + 0.5) / cells - 0.5;
    const pixel = Math.min(Math.max((centred / zoom + 0.5) * pixels - 0.5, 0), pixels - 1);
    const from = Math.floor(pixel);
    return { from, to: Math.min(from + 1, pixels - 1), share: pixel - from };
  });
}

const fade = (cell: number, cells: number): number =>
  Math.min(1, Math.min(cell + 0.5, cells - cell - 0.5) / (FADE * cells));
