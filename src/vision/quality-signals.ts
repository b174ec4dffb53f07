import type { Size } from './picture.ts';
import type { QualitySignals } from './protocol.ts';

/** The size at which frames are judged: all thresholds hold at this size alone. */
export const GATE: Size = { width: 512, height: 288 };
const WIDTH = GATE.width;
const HEIGHT = GATE.height;

/** Cells of 32x18 pixels; 2x2 of them make a 64x36 block. The sea lies in the lower five eighths. */
const CELLS = 16;
const CELL_W = WIDTH / CELLS;
const CELL_H = HEIGHT / CELLS;
const SEA_FROM = 6;
const SEA_CELLS = CELLS * (CELLS - SEA_FROM);
/** A luma step over four rows that counts as an edge, and the fewest edges that tell anything of sharpness. */
const EDGE_STEP = 20;
const FEWEST_EDGES = 80;
/** A cell is smeared below this mean squared Laplacian; blank below this mean step between 4x3 pixel means. */
const SMEARED = 5;
const BLANK = 1;
/** Largest spread of red and blue within a row of a damaged JPEG's fill; real rows had at least 8. */
const FLAT_SPREAD = 6;

export interface GateInput {
  /** 512x288 interleaved RGB, masks painted. */
  readonly rgb: Uint8Array;
  /** 1 where a pixel counts for nothing, 512x288; null without masks. */
  readonly masked: Uint8Array | null;
  /** From the decoder: share of the file behind its first structural fault. */
  readonly brokenBytes01: number;
}

export interface Measured {
  readonly signals: QualitySignals;
  /** 512x288 luma (Rec. 601), for the view signature. */
  readonly luma: Uint8Array;
}

/** All signals of one frame. About 1 ms: two passes over the pixels, everything else over 256 cells. */
export function measure(input: GateInput): Measured {
  const { luma, glaring, counted, flatRows } = toLuma(input.rgb, input.masked);
  const texture = measureTexture(luma, input.masked);
  const cells = measureCells(luma, input.masked, texture.laplacianSq);
  const n = Math.max(1, counted);
  const signals = {
    glare01: glaring / n,
    meanLuma: cells.sum / n,
    stdLuma: Math.sqrt(Math.max(0, cells.sumSq / n - (cells.sum / n) ** 2)),
    laplacianVariance: texture.laplacianVariance,
    blockStd: cells.blockStd,
    sharpness01: texture.sharpness01,
    obstruction01: cells.obstruction01,
    covered01: cells.covered01,
    damage01: Math.max(input.brokenBytes01, flatRows / HEIGHT),
  };
  return { signals, luma };
}

/** Luma of each pixel, glaring pixels, and rows of one colour that is neither black nor burnt out. */
function toLuma(rgb: Uint8Array, masked: Uint8Array | null) {
  const luma = new Uint8Array(WIDTH * HEIGHT);
  let glaring = 0;
  let counted = 0;
  let flatRows = 0;
  for (let y = 0, i = 0, p = 0; y < HEIGHT; y++) {
    let minR = 255;
    let maxR = 0;
    let minB = 255;
    let maxB = 0;
    let inRow = 0;
    for (let x = 0; x < WIDTH; x++, i++, p += 3) {
      const r = rgb[p] ?? 0;
      const g = rgb[p + 1] ?? 0;
      const b = rgb[p + 2] ?? 0;
      luma[i] = (r * 77 + g * 150 + b * 29 + 128) >> 8;
      if (masked !== null && masked[i] === 1) continue;
      inRow++;
      if (r >= 250 && g >= 250 && b >= 250) glaring++;
      if (r < minR) minR = r;
      if (r > maxR) maxR = r;
      if (b < minB) minB = b;
      if (b > maxB) maxB = b;
    }
    counted += inRow;
    const flat = maxR - minR <= FLAT_SPREAD && maxB - minB <= FLAT_SPREAD;
    if (flat && inRow > WIDTH / 2 && Math.max(maxR, maxB) >= 16 && Math.min(minR, minB) < 250) flatRows++;
  }
  // A picture that is flat all over is a covered lens or a "no signal" screen, not a damaged file.
  return { luma, glaring, counted, flatRows: flatRows > 0.95 * HEIGHT ? 0 : flatRows };
}

/**
 * Laplacian (3x3, four neighbours) and the sharpness of horizontal edges: over all pairs four rows apart that differ
 * by 20 or more, the mean share of that difference which lies in a single row step. Contrast cancels out, so that a
 * calm sea under a sharp horizon counts as sharp. Real frames: 0.57 to 1; Gaussian blur of 1 px: 0.44, 2 px: 0.33.
 */
function measureTexture(luma: Uint8Array, masked: Uint8Array | null) {
  const laplacianSq = new Float64Array(CELLS * CELLS);
  let sum = 0;
  let sumSq = 0;
  let n = 0;
  let edges = 0;
  let steepness = 0;
  for (let y = 1; y < HEIGHT - 1; y++) {
    const row = y * WIDTH;
    const cellRow = Math.floor(y / CELL_H) * CELLS;
    const edgeRow = y < HEIGHT - 4;
    for (let cell = 0; cell < CELLS; cell++) {
      const from = row + Math.max(1, cell * CELL_W);
      const to = row + Math.min(WIDTH - 1, (cell + 1) * CELL_W);
      let squares = 0;
      for (let i = from; i < to; i++) {
        if (masked !== null && masked[i] === 1) continue;
        const here = luma[i] ?? 0;
        const above = luma[i - WIDTH] ?? 0;
        const below = luma[i + WIDTH] ?? 0;
        const laplacian = above + below + (luma[i - 1] ?? 0) + (luma[i + 1] ?? 0) - 4 * here;
        sum += laplacian;
        squares += laplacian * laplacian;
        n++;
        if (!edgeRow) continue;
        const far = luma[i + 4 * WIDTH] ?? 0;
        const step = Math.abs(far - here);
        if (step <= EDGE_STEP || (masked !== null && masked[i + 4 * WIDTH] === 1)) continue;
        const second = luma[i + 2 * WIDTH] ?? 0;
        const third = luma[i + 3 * WIDTH] ?? 0;
        const steepest = Math.max(
          Math.abs(below - here),
          Math.abs(second - below),
          Math.abs(third - second),
          Math.abs(far - third),
        );
        steepness += steepest / step;
        edges++;
      }
      laplacianSq[cellRow + cell] = (laplacianSq[cellRow + cell] ?? 0) + squares;
      sumSq += squares;
    }
  }
  n = Math.max(1, n);
  return {
    laplacianSq,
    laplacianVariance: sumSq / n - (sum / n) ** 2,
    sharpness01: edges < FEWEST_EDGES ? null : Math.min(1, steepness / edges),
  };
}

/** Sums per cell, and what follows from them: block contrast, smeared and blank cells of the sea. */
function measureCells(luma: Uint8Array, masked: Uint8Array | null, laplacianSq: Float64Array) {
  const count = new Float64Array(CELLS * CELLS);
  const sums = new Float64Array(CELLS * CELLS);
  const squares = new Float64Array(CELLS * CELLS);
  const means = new Float32Array((WIDTH / 4) * (HEIGHT / 3));
  for (let y = 0, i = 0; y < HEIGHT; y++) {
    const meanRow = Math.floor(y / 3) * (WIDTH / 4);
    const cellRow = Math.floor(y / CELL_H) * CELLS;
    for (let cell = 0; cell < CELLS; cell++) {
      let n = 0;
      let sum = 0;
      let sumSq = 0;
      for (let x = 0; x < CELL_W; x++, i++) {
        const value = luma[i] ?? 0;
        const at = meanRow + ((cell * CELL_W + x) >> 2);
        means[at] = (means[at] ?? 0) + value;
        if (masked !== null && masked[i] === 1) continue;
        n++;
        sum += value;
        sumSq += value * value;
      }
      const at = cellRow + cell;
      count[at] = (count[at] ?? 0) + n;
      sums[at] = (sums[at] ?? 0) + sum;
      squares[at] = (squares[at] ?? 0) + sumSq;
    }
  }
  return {
    sum: sums.reduce((total, value) => total + value, 0),
    sumSq: squares.reduce((total, value) => total + value, 0),
    blockStd: medianBlockStd(count, sums, squares),
    ...featureless(count, laplacianSq, means),
  };
}

/** Median standard deviation of 64x36 blocks over the lower five eighths; blocks that are mostly masked are left out. */
function medianBlockStd(count: Float64Array, sums: Float64Array, squares: Float64Array): number {
  const deviations: number[] = [];
  for (let row = SEA_FROM; row < CELLS; row += 2) {
    for (let column = 0; column < CELLS; column += 2) {
      const at = row * CELLS + column;
      const of = (values: Float64Array): number =>
        (values[at] ?? 0) + (values[at + 1] ?? 0) + (values[at + CELLS] ?? 0) + (values[at + CELLS + 1] ?? 0);
      const n = of(count);
      if (n < 2 * CELL_W * CELL_H) continue;
      deviations.push(Math.sqrt(Math.max(0, of(squares) / n - (of(sums) / n) ** 2)));
    }
  }
  deviations.sort((a, b) => a - b);
  return deviations[deviations.length >> 1] ?? 0;
}

/**
 * Share of the sea's cells without fine structure (smeared by a wet lens, or blank), and of those without coarse
 * structure as well (covered). What is featureless from the top of its column down is sky and counts for nothing,
 * unless the whole column is.
 */
function featureless(count: Float64Array, laplacianSq: Float64Array, means: Float32Array) {
  let smeared = 0;
  let covered = 0;
  let judged = 0;
  for (let column = 0; column < CELLS; column++) {
    let sky = true;
    const inColumn = { smeared: 0, covered: 0, judged: 0 };
    for (let row = 0; row < CELLS; row++) {
      const at = row * CELLS + column;
      const n = count[at] ?? 0;
      if (n < (CELL_W * CELL_H) / 2) continue;
      const blank = coarseStep(means, row, column) < BLANK;
      const smooth = blank || (laplacianSq[at] ?? 0) / n < SMEARED;
      if (!smooth && sky) {
        sky = false;
        inColumn.smeared = 0;
        inColumn.covered = 0;
      }
      if (row < SEA_FROM) continue;
      inColumn.judged++;
      if (smooth) inColumn.smeared++;
      if (blank) inColumn.covered++;
    }
    smeared += inColumn.smeared;
    covered += inColumn.covered;
    judged += inColumn.judged;
  }
  const n = Math.max(judged, SEA_CELLS / 8);
  return { obstruction01: smeared / n, covered01: covered / n };
}

/** Mean step between neighbouring 4x3 pixel means of a cell, right and down together. `means` holds sums of 12. */
function coarseStep(means: Float32Array, row: number, column: number): number {
  const stride = WIDTH / 4;
  const wide = CELL_W / 4;
  const high = CELL_H / 3;
  let total = 0;
  for (let y = row * high; y < (row + 1) * high; y++) {
    for (let x = column * wide; x < (column + 1) * wide; x++) {
      const here = means[y * stride + x] ?? 0;
      if (x + 1 < stride) total += Math.abs((means[y * stride + x + 1] ?? 0) - here);
      if (y + 1 < HEIGHT / 3) total += Math.abs((means[(y + 1) * stride + x] ?? 0) - here);
    }
  }
  return total / (12 * wide * high);
}
