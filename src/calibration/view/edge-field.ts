import { MASK_LUMA, type ViewSignature } from '../../vision/protocol.ts';
import type { ComplexGrid } from './fourier.ts';

/** Size of the comparison grid, cells. */
export const GRID_WIDTH = 128;
export const GRID_HEIGHT = 64;
/**
 * An edge of this contrast has strength 0.5, luma (0..255) per cell. Stronger edges hardly count more, so the light has
 * little influence.
 */
const HALF_STRENGTH_CONTRAST = 6;
/** Share of each side over which the field fades to zero, because the Fourier transform treats the grid as periodic. */
const FADE_SHARE = 0.06;

const CELLS = GRID_WIDTH * GRID_HEIGHT;

const fadeOf = (cells: number): Float64Array =>
  Float64Array.from({ length: cells }, (_, cell) =>
    Math.min(1, Math.min(cell + 0.5, cells - cell - 0.5) / (FADE_SHARE * cells)),
  );
const FADE_X = fadeOf(GRID_WIDTH);
const FADE_Y = fadeOf(GRID_HEIGHT);

export const emptyGrid = (): ComplexGrid => ({ re: new Float64Array(CELLS), im: new Float64Array(CELLS) });

/** Luma of the view on the comparison grid, magnified by `zoom` around the centre. Outside, its border pixels repeat. */
export function sampleGrid(
  view: ViewSignature,
  zoom: number,
  grid: Float64Array = new Float64Array(CELLS),
): Float64Array {
  const { luma, width, height } = view;
  const columns = interpolate(GRID_WIDTH, width, zoom);
  const rows = interpolate(GRID_HEIGHT, height, zoom);
  for (let y = 0; y < GRID_HEIGHT; y += 1) {
    const upper = (rows.from[y] ?? 0) * width;
    const lower = (rows.to[y] ?? 0) * width;
    const rowShare = rows.share[y] ?? 0;
    for (let x = 0; x < GRID_WIDTH; x += 1) {
      const from = columns.from[x] ?? 0;
      const to = columns.to[x] ?? 0;
      const share = columns.share[x] ?? 0;
      const a = luma[upper + from] ?? 0;
      const b = luma[upper + to] ?? 0;
      const c = luma[lower + from] ?? 0;
      const d = luma[lower + to] ?? 0;
      const top = a + (b - a) * share;
      grid[y * GRID_WIDTH + x] = top + (c + (d - c) * share - top) * rowShare;
    }
  }
  return grid;
}

/** A smaller view that gives the same result in a comparison, up to a rounding of half a step of luma. */
export const shrinkView = (view: ViewSignature): ViewSignature => ({
  luma: Uint8Array.from(sampleGrid(view, 1), Math.round),
  width: GRID_WIDTH,
  height: GRID_HEIGHT,
});

/**
 * Edges of a grid as complex numbers: the length 0..1 is the strength, the angle is twice the angle of the gradient
 * (Granlund 1978). So a dark-on-bright edge equals a bright-on-dark edge: one may become the other as the sun moves.
 * Cells with `weight` 0 are ignored.
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
    const fadeY = FADE_Y[y] ?? 0;
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
        ((length / (length + HALF_STRENGTH_CONTRAST)) * fadeY * (FADE_X[x] ?? 0) * (weight?.[at] ?? 1)) /
        squared;
      re[at] = (gx * gx - gy * gy) * strength;
      im[at] = 2 * gx * gy * strength;
    }
  }
  return into;
}

// An overlay is content that the camera or the agent draws into the frame: text, a logo, a privacy mask. Luma is 0..255.
// The limits were set on the frames of docs/calibration.md, like those in check-view.ts.
/** Text: an edge whose luma varies by at most this over all views, while the light varies by `MIN_LIGHT_RANGE`. */
const MAX_TEXT_RANGE = 10;
/** Smallest median luma range over all cells at which the light counts as different between the views. */
const MIN_LIGHT_RANGE = 24;
const MIN_TEXT_VIEWS = 4;
/** If a larger share of the frame looks like text, it is probably a dark scene and not text. */
const MAX_TEXT01 = 0.2;
/** Smallest strength of an edge of text, 0..1. */
const MIN_TEXT_STRENGTH01 = 0.5;
/** Cells around an overlay edge that the edge influences. */
const EDGE_REACH_CELLS = 2;
/**
 * Mask: luma differs from that of a mask by at most this, in all views. Constant luma alone is no evidence: stored views are
 * rounded, so most of a scene is constant in the same light.
 */
const MAX_MASK_RANGE = 0.25;
const MIN_MASK_VIEWS = 2;
/** If a larger share of the frame is constant, the views are copies of one frame. */
const MAX_MASK01 = 0.6;

/**
 * Weights of the cells: 0 around overlays, 1 elsewhere. Overlays stay in place when the camera turns, so they must not
 * count. A mask is recognised by its constant grey or black, from two views; text by edges that do not change with the light, from
 * four views. Null if no overlay is found.
 */
export function overlayWeights(grids: readonly Float64Array[]): Float64Array | null {
  if (grids.length < MIN_MASK_VIEWS) return null;
  const range = new Float64Array(CELLS);
  const means = new Float64Array(CELLS);
  for (let at = 0; at < CELLS; at += 1) {
    let [least, most, sum] = [Infinity, -Infinity, 0];
    for (const grid of grids) {
      const value = grid[at] ?? 0;
      least = Math.min(least, value);
      most = Math.max(most, value);
      sum += value;
    }
    range[at] = most - least;
    means[at] = sum / grids.length;
  }
  const constant = cellsWhere(
    (at) =>
      (range[at] ?? 0) <= MAX_MASK_RANGE &&
      MASK_LUMA.some((luma) => Math.abs((means[at] ?? 0) - luma) <= MAX_MASK_RANGE),
  );
  const masked = constant.length <= MAX_MASK01 * CELLS ? constant : [];
  const cells = [...masked, ...findText(grids.length, range, means)];
  if (cells.length === 0) return null;
  return weightsWithout(cells);
}

/** Cells at edges that stay constant while the light changes; none if they cover too much of the frame. */
function findText(views: number, range: Float64Array, means: Float64Array): readonly number[] {
  if (views < MIN_TEXT_VIEWS || (range.toSorted()[CELLS >> 1] ?? 0) < MIN_LIGHT_RANGE) return [];
  const { re, im } = edgeField(means, null);
  const edges = cellsWhere(
    (at) =>
      (range[at] ?? 0) <= MAX_TEXT_RANGE &&
      (re[at] ?? 0) ** 2 + (im[at] ?? 0) ** 2 >= MIN_TEXT_STRENGTH01 ** 2,
  );
  const coveredCells = weightsWithout(edges).reduce((sum, weight) => sum + 1 - weight, 0);
  return coveredCells > MAX_TEXT01 * CELLS ? [] : edges;
}

function cellsWhere(condition: (at: number) => boolean): readonly number[] {
  const cells: number[] = [];
  for (let at = 0; at < CELLS; at += 1) if (condition(at)) cells.push(at);
  return cells;
}

/** Weight 0 for the given cells and those within `EDGE_REACH_CELLS`, 1 for the others. */
function weightsWithout(cells: readonly number[]): Float64Array {
  const weights = new Float64Array(CELLS).fill(1);
  for (const at of cells) {
    const x = at % GRID_WIDTH;
    const y = (at - x) / GRID_WIDTH;
    const left = Math.max(0, x - EDGE_REACH_CELLS);
    const right = Math.min(GRID_WIDTH, x + EDGE_REACH_CELLS + 1);
    const bottom = Math.min(GRID_HEIGHT - 1, y + EDGE_REACH_CELLS);
    for (let row = Math.max(0, y - EDGE_REACH_CELLS); row <= bottom; row += 1)
      weights.fill(0, row * GRID_WIDTH + left, row * GRID_WIDTH + right);
  }
  return weights;
}

/** Linear interpolation between two pixels of one axis, for each cell. */
interface Taps {
  readonly from: Int32Array;
  readonly to: Int32Array;
  /** Weight of `to`, 0..1; the weight of `from` is the rest. */
  readonly share: Float64Array;
}

function interpolate(cells: number, pixels: number, zoom: number): Taps {
  const taps = { from: new Int32Array(cells), to: new Int32Array(cells), share: new Float64Array(cells) };
  for (let cell = 0; cell < cells; cell += 1) {
    const centred = (cell + 0.5) / cells - 0.5;
    const pixel = Math.min(Math.max((centred / zoom + 0.5) * pixels - 0.5, 0), pixels - 1);
    const from = Math.floor(pixel);
    taps.from[cell] = from;
    taps.to[cell] = Math.min(from + 1, pixels - 1);
    taps.share[cell] = pixel - from;
  }
  return taps;
}
