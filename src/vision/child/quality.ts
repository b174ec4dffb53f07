// Longer than 300 lines because the limits are valid only for these signals, measured at 512x288: they are kept in one
// file.
import { QUALITY_LIMITS } from '../../base/quality-limits.ts';
import type { QualityReason, QualityReport, QualitySignals } from '../protocol.ts';
import type { Size } from './decode.ts';

/** Size of the frame copy that the quality gate reads, pixels. All limits are valid only at this size. */
export const GATE_SIZE: Size = { width: 512, height: 288 };
const WIDTH = GATE_SIZE.width;
const HEIGHT = GATE_SIZE.height;

/** A frame has 16x16 cells of 32x18 pixels; 2x2 cells make a 64x36 block. */
const CELLS = 16;
const CELL_W = WIDTH / CELLS;
const CELL_H = HEIGHT / CELLS;
const CELL_PIXELS = CELL_W * CELL_H;
/** First row of cells that counts as sea. The gate assumes that the sea fills the lower five eighths of a frame. */
const FIRST_SEA_ROW = 6;

// Limits of the signals, set on 427 real frames of three surf cameras: docs/quality-gate.md has the distributions.
/** A pixel counts as glare if red, green and blue are all at least this, 0..255. */
const GLARE_LEVEL = QUALITY_LIMITS.glareLevel;
/** Smallest luma step over four rows that counts as an edge, 0..255. */
const MIN_EDGE_STEP = 20;
/** With fewer edges in a frame, its sharpness is unknown. */
const MIN_EDGES = 40;
/** A cell is smooth below this mean squared Laplacian, squared luma. */
const SMOOTH_LAPLACIAN_SQ = 5;
/** A cell is blank below this mean luma step between its neighbouring 4x3 pixel means, 0..255. */
const BLANK_STEP = QUALITY_LIMITS.blankStep;
/** A row counts as filled by the decoder if its red and its blue vary by at most this; in real rows by at least 8. */
const MAX_FILL_RANGE = 6;

/** Maps a signal to a severity: `clean` or better is 0, above `limit` (0.5) the gate rejects, `worst` or worse is 1. */
interface Scale {
  readonly clean: number;
  readonly limit: number;
  readonly worst: number;
}

/** One scale for each quality reason, in the units of `QualitySignals`. */
const SCALES = {
  glare01: { clean: 0, limit: QUALITY_LIMITS.glare01, worst: 0.5 },
  meanLuma: { clean: 80, limit: 40, worst: 8 },
  sharpness01: { clean: 0.7, limit: 0.46, worst: 0.25 },
  laplacianVariance: { clean: 60, limit: 15, worst: 2 },
  blockStd: { clean: 8, limit: QUALITY_LIMITS.blockStd, worst: 1 },
  obstruction01: { clean: 0.1, limit: 0.33, worst: 0.8 },
  covered01: { clean: 0.05, limit: QUALITY_LIMITS.covered01, worst: 0.6 },
  damage01: { clean: 0, limit: 0.01, worst: 0.5 },
} as const satisfies Partial<Record<keyof QualitySignals, Scale>>;

/** Severity of a value, 0..1. */
function severity01(value: number, { clean, limit, worst }: Scale): number {
  const isBeyondLimit = worst > clean ? value > limit : value < limit;
  const share = isBeyondLimit
    ? 0.5 + (0.5 * (value - limit)) / (worst - limit)
    : (0.5 * (value - clean)) / (limit - clean);
  return Math.min(1, Math.max(0, share));
}

/** A reason is left out if one of these reasons already explains the frame. */
const EXPLAINED_BY: Readonly<Record<QualityReason, readonly QualityReason[]>> = {
  damaged: [],
  dark: [],
  glare: [],
  fog: ['dark', 'damaged'],
  blur: ['dark', 'damaged', 'fog'],
  obstructed: ['dark', 'damaged', 'fog', 'blur'],
};
const REASONS: readonly QualityReason[] = ['damaged', 'dark', 'glare', 'fog', 'blur', 'obstructed'];

/**
 * Decides if the quality gate rejects a frame. `score01` is 1 minus the largest severity: 1 is a clean frame. The gate
 * rejects a frame, with reasons, if and only if its score is below 0.5.
 */
export function judgeQuality(signals: QualitySignals): QualityReport {
  const rate = (name: keyof typeof SCALES): number => severity01(signals[name] ?? 1, SCALES[name]);
  const severity = {
    glare: rate('glare01'),
    dark: rate('meanLuma'),
    blur: rate('sharpness01'),
    // A low value of only one of the two signals can be a calm sea or a soft lens; low values of both are fog.
    fog: Math.min(rate('laplacianVariance'), rate('blockStd')),
    obstructed: Math.max(rate('obstruction01'), rate('covered01')),
    damaged: rate('damage01'),
  };
  const reasons: QualityReason[] = [];
  for (const reason of REASONS) {
    if (severity[reason] > 0.5 && !EXPLAINED_BY[reason].some((other) => reasons.includes(other))) {
      reasons.push(reason);
    }
  }
  return { score01: 1 - Math.max(...Object.values(severity)), reasons, severity01: severity, signals };
}

export interface GateInput {
  /** The frame at 512x288, interleaved RGB, with privacy masks painted. */
  readonly rgb: Uint8Array;
  /** 512x288, 1 for each masked pixel; null without masks. The gate ignores every cell that a mask touches. */
  readonly masked: Uint8Array | null;
  /** From the decoder: share of the file after its first structural fault, 0..1. */
  readonly brokenBytes01: number;
}

export interface Measurement {
  readonly signals: QualitySignals;
  /** 512x288 luma (Rec. 601), for the view signature. */
  readonly luma: Uint8Array;
}

/**
 * Measures all signals of one frame in about 1 ms. It is fast because it skips whole cells that a mask touches, and
 * tests no single pixel for a mask. A completely masked frame counts as dark.
 */
export function measureQuality({ rgb, masked, brokenBytes01 }: GateInput): Measurement {
  const isSeen = unmaskedCells(masked);
  const { luma, glarePixels } = toLuma(rgb, isSeen);
  const texture = measureTexture(luma, isSeen);
  const cells = measureCells(luma, isSeen, texture.laplacianSq);
  const signals = {
    glare01: glarePixels / cells.pixels,
    meanLuma: cells.mean,
    stdLuma: cells.std,
    laplacianVariance: texture.laplacianVariance,
    blockStd: cells.blockStd,
    sharpness01: texture.sharpness01,
    obstruction01: cells.obstruction01,
    covered01: cells.covered01,
    damage01: Math.max(brokenBytes01, filledRows01(rgb, masked)),
  };
  return { signals, luma };
}

/** 1 for each cell that no mask touches, row-major. */
function unmaskedCells(masked: Uint8Array | null): Uint8Array {
  const isSeen = new Uint8Array(CELLS * CELLS).fill(1);
  if (masked === null) return isSeen;
  for (let y = 0; y < HEIGHT; y++) {
    const cellRow = Math.floor(y / CELL_H) * CELLS;
    for (let cell = 0; cell < CELLS; cell++) {
      const from = y * WIDTH + cell * CELL_W;
      if (masked.subarray(from, from + CELL_W).includes(1)) isSeen[cellRow + cell] = 0;
    }
  }
  return isSeen;
}

function toLuma(rgb: Uint8Array, isSeen: Uint8Array): { luma: Uint8Array; glarePixels: number } {
  const luma = new Uint8Array(WIDTH * HEIGHT);
  let glarePixels = 0;
  for (let y = 0, i = 0, p = 0; y < HEIGHT; y++) {
    const cellRow = Math.floor(y / CELL_H) * CELLS;
    for (let cell = 0; cell < CELLS; cell++) {
      let glaring = 0;
      for (const end = i + CELL_W; i < end; i++, p += 3) {
        const r = rgb[p] ?? 0;
        const g = rgb[p + 1] ?? 0;
        const b = rgb[p + 2] ?? 0;
        luma[i] = (r * 77 + g * 150 + b * 29 + 128) >> 8;
        glaring += Number(r >= GLARE_LEVEL && g >= GLARE_LEVEL && b >= GLARE_LEVEL);
      }
      if (isSeen[cellRow + cell] === 1) glarePixels += glaring;
    }
  }
  return { luma, glarePixels };
}

/**
 * Share of rows with a single colour that is neither black nor overexposed: the decoder fills missing rows of
 * a damaged JPEG in this way. A frame of one colour is a covered lens or a "no signal" screen and has no such rows. For
 * most rows, a few pixels are enough to see that they have more than one colour.
 */
function filledRows01(rgb: Uint8Array, masked: Uint8Array | null): number {
  let rows = 0;
  for (let y = 0; y < HEIGHT; y++) {
    if (masked === null || !masked.subarray(y * WIDTH, (y + 1) * WIDTH).includes(1)) {
      if (isFilledRow(rgb, y * WIDTH * 3)) rows++;
    }
  }
  return rows > 0.95 * HEIGHT ? 0 : rows / HEIGHT;
}

function isFilledRow(rgb: Uint8Array, from: number): boolean {
  let minR = 255;
  let maxR = 0;
  let minB = 255;
  let maxB = 0;
  for (let p = from; p < from + WIDTH * 3; p += 3) {
    const r = rgb[p] ?? 0;
    const b = rgb[p + 2] ?? 0;
    minR = Math.min(minR, r);
    maxR = Math.max(maxR, r);
    minB = Math.min(minB, b);
    maxB = Math.max(maxB, b);
    if (maxR - minR > MAX_FILL_RANGE || maxB - minB > MAX_FILL_RANGE) return false;
  }
  return Math.max(maxR, maxB) >= 16 && Math.min(minR, minB) < GLARE_LEVEL;
}

interface Texture {
  /** Sum of the squared Laplacian of each cell. */
  readonly laplacianSq: Float64Array;
  readonly laplacianVariance: number;
  readonly sharpness01: number | null;
}

/**
 * Laplacian (3x3, four neighbours) and the sharpness of horizontal edges. An edge is a pair of pixels four rows apart
 * whose luma differs by more than `MIN_EDGE_STEP`; its sharpness is the share of that difference in its steepest
 * single row step. Contrast cancels out, so a calm sea under a sharp horizon counts as sharp. Real frames: 0.57 to 1;
 * Gaussian blur of 1 px: 0.44, 2 px: 0.33.
 */
function measureTexture(luma: Uint8Array, isSeen: Uint8Array): Texture {
  const laplacianSq = new Float64Array(CELLS * CELLS);
  let sum = 0;
  let sumSq = 0;
  let n = 0;
  let edges = 0;
  let steepness = 0;
  for (let y = 1; y < HEIGHT - 1; y++) {
    const cellRow = Math.floor(y / CELL_H) * CELLS;
    for (let cell = 0; cell < CELLS; cell++) {
      if (isSeen[cellRow + cell] !== 1) continue;
      const from = y * WIDTH + Math.max(1, cell * CELL_W);
      const to = y * WIDTH + Math.min(WIDTH - 1, (cell + 1) * CELL_W);
      let squares = 0;
      for (let i = from; i < to; i++) {
        const leftAndRight = (luma[i - 1] ?? 0) + (luma[i + 1] ?? 0);
        const laplacian = (luma[i - WIDTH] ?? 0) + (luma[i + WIDTH] ?? 0) + leftAndRight - 4 * (luma[i] ?? 0);
        sum += laplacian;
        squares += laplacian * laplacian;
      }
      laplacianSq[cellRow + cell] = (laplacianSq[cellRow + cell] ?? 0) + squares;
      sumSq += squares;
      n += to - from;
      // Every second row is enough. All five rows from the upper to the lower pixel of a pair must be unmasked.
      if (y % 2 === 1 || y >= HEIGHT - 4 || isSeen[Math.floor((y + 4) / CELL_H) * CELLS + cell] !== 1)
        continue;
      for (let i = from; i < to; i++) {
        const first = luma[i] ?? 0;
        const last = luma[i + 4 * WIDTH] ?? 0;
        const step = Math.abs(last - first);
        if (step <= MIN_EDGE_STEP) continue;
        const second = luma[i + WIDTH] ?? 0;
        const third = luma[i + 2 * WIDTH] ?? 0;
        const fourth = luma[i + 3 * WIDTH] ?? 0;
        const upper = Math.max(Math.abs(second - first), Math.abs(third - second));
        const lower = Math.max(Math.abs(fourth - third), Math.abs(last - fourth));
        steepness += Math.max(upper, lower) / step;
        edges++;
      }
    }
  }
  n = Math.max(1, n);
  return {
    laplacianSq,
    laplacianVariance: sumSq / n - (sum / n) ** 2,
    sharpness01: edges < MIN_EDGES ? null : Math.min(1, steepness / edges),
  };
}

/** Computes sums for each cell, and the signals that follow from these sums. */
function measureCells(luma: Uint8Array, isSeen: Uint8Array, laplacianSq: Float64Array) {
  const sums = new Float64Array(CELLS * CELLS);
  const squares = new Float64Array(CELLS * CELLS);
  /** Sums of 4x3 pixels. */
  const coarse = new Int32Array((WIDTH / 4) * (HEIGHT / 3));
  for (let y = 0, i = 0; y < HEIGHT; y++) {
    let coarseAt = Math.floor(y / 3) * (WIDTH / 4);
    const cellRow = Math.floor(y / CELL_H) * CELLS;
    for (let cell = 0; cell < CELLS; cell++) {
      let sum = 0;
      let sumSq = 0;
      for (const end = i + CELL_W; i < end; i += 4, coarseAt++) {
        const a = luma[i] ?? 0;
        const b = luma[i + 1] ?? 0;
        const c = luma[i + 2] ?? 0;
        const d = luma[i + 3] ?? 0;
        sum += a + b + c + d;
        sumSq += a * a + b * b + c * c + d * d;
        coarse[coarseAt] = (coarse[coarseAt] ?? 0) + a + b + c + d;
      }
      sums[cellRow + cell] = (sums[cellRow + cell] ?? 0) + sum;
      squares[cellRow + cell] = (squares[cellRow + cell] ?? 0) + sumSq;
    }
  }
  let pixels = 0;
  let sum = 0;
  let sumSq = 0;
  for (let at = 0; at < isSeen.length; at++) {
    if (isSeen[at] !== 1) continue;
    pixels += CELL_PIXELS;
    sum += sums[at] ?? 0;
    sumSq += squares[at] ?? 0;
  }
  pixels = Math.max(1, pixels);
  const mean = sum / pixels;
  return {
    pixels,
    mean,
    std: Math.sqrt(Math.max(0, sumSq / pixels - mean ** 2)),
    blockStd: medianBlockStd(isSeen, sums, squares),
    ...featurelessShares(isSeen, laplacianSq, coarse),
  };
}

/** Median standard deviation of the unmasked 64x36 blocks of the sea. */
function medianBlockStd(isSeen: Uint8Array, sums: Float64Array, squares: Float64Array): number {
  const deviations: number[] = [];
  const pixels = 4 * CELL_PIXELS;
  for (let row = FIRST_SEA_ROW; row < CELLS; row += 2) {
    for (let column = 0; column < CELLS; column += 2) {
      const at = row * CELLS + column;
      const blockSum = (cells: Float64Array | Uint8Array): number =>
        (cells[at] ?? 0) + (cells[at + 1] ?? 0) + (cells[at + CELLS] ?? 0) + (cells[at + CELLS + 1] ?? 0);
      if (blockSum(isSeen) === 4) {
        const variance = blockSum(squares) / pixels - (blockSum(sums) / pixels) ** 2;
        deviations.push(Math.sqrt(Math.max(0, variance)));
      }
    }
  }
  deviations.sort((a, b) => a - b);
  return deviations[deviations.length >> 1] ?? 0;
}

/**
 * Share of the sea's cells without fine structure (a wet lens smears them, or they are blank), and share of those
 * without coarse structure too (covered). Featureless cells from the top of a column downwards are sky and do not
 * count, unless the whole column is featureless.
 */
function featurelessShares(isSeen: Uint8Array, laplacianSq: Float64Array, coarse: Int32Array) {
  const total = { smooth: 0, blank: 0, judged: 0 };
  for (let column = 0; column < CELLS; column++) {
    let isSky = true;
    let smooth = 0;
    let blank = 0;
    for (let row = 0; row < CELLS; row++) {
      const at = row * CELLS + column;
      if (isSeen[at] !== 1) continue;
      const isBlank = meanCoarseStep(coarse, row, column) < BLANK_STEP;
      const isSmooth = isBlank || (laplacianSq[at] ?? 0) / CELL_PIXELS < SMOOTH_LAPLACIAN_SQ;
      if (!isSmooth && isSky) {
        isSky = false;
        smooth = 0;
        blank = 0;
      }
      if (row < FIRST_SEA_ROW) continue;
      total.judged++;
      smooth += Number(isSmooth);
      blank += Number(isBlank);
    }
    total.smooth += smooth;
    total.blank += blank;
  }
  // Wide masks leave few cells; a few cells must not decide for the whole frame.
  const judged = Math.max(total.judged, 2 * CELLS);
  return { obstruction01: total.smooth / judged, covered01: total.blank / judged };
}

/** Mean luma step between neighbouring 4x3 pixel means of a cell, right and down together; `coarse` holds sums of 12. */
function meanCoarseStep(coarse: Int32Array, row: number, column: number): number {
  const stride = WIDTH / 4;
  const columns = CELL_W / 4;
  const rows = CELL_H / 3;
  let total = 0;
  for (let y = row * rows; y < (row + 1) * rows; y++) {
    for (let x = column * columns; x < (column + 1) * columns; x++) {
      const at = y * stride + x;
      const value = coarse[at] ?? 0;
      if (x + 1 < stride) total += Math.abs((coarse[at + 1] ?? 0) - value);
      if (y + 1 < HEIGHT / 3) total += Math.abs((coarse[at + stride] ?? 0) - value);
    }
  }
  return total / (12 * columns * rows);
}
