import type { ViewSignature } from '../../vision/protocol.ts';
import type { Fourier, ComplexGrid } from './fourier.ts';
import { edgeField, emptyGrid, GRID_HEIGHT, GRID_WIDTH, sampleGrid } from './edge-field.ts';

const CELLS = GRID_WIDTH * GRID_HEIGHT;
/** Shifts looked for, share of width and height. */
const WIDEST_SHIFT = 0.3;
/** Cells from the calibrated place that count as the same place: 2.3% of the width, 1.6% of the height. */
export const SAME_X = 3;
export const SAME_Y = 1;
/** Cells within which a mast or a warm wall moves a camera by itself. */
const INNER_X = 2;

/** Agreement of a frame's structure with the reference at one magnification; 0 is none, 1 identity. */
export interface Match {
  /** Highest at the same place. */
  readonly near: number;
  readonly nearX: number;
  readonly nearY: number;
  /** Highest right at the calibrated place, give or take a drift. */
  readonly inner: number;
  /** Highest elsewhere, and where: cells that the picture is shifted by. */
  readonly far: number;
  readonly farX: number;
  readonly farY: number;
}

/** Room for one comparison, used again and again: a check would else leave megabytes behind. */
export interface Scratch {
  readonly grid: Float64Array;
  readonly field: ComplexGrid;
  readonly surface: ComplexGrid;
}

export const newScratch = (): Scratch => ({
  grid: new Float64Array(CELLS),
  field: emptyGrid(),
  surface: emptyGrid(),
});

/** Spectrum of a sum of edge fields, whitened by half (square root of its length) and of unit energy. Consumes `field`. */
export function whiten(fourier: Fourier, field: ComplexGrid): ComplexGrid {
  fourier.transform(field);
  const { re, im } = field;
  re[0] = 0;
  im[0] = 0;
  let energy = 0;
  for (let i = 0; i < CELLS; i += 1) {
    const length = Math.hypot(re[i] ?? 0, im[i] ?? 0);
    const scale = length > 0 ? 1 / Math.sqrt(length) : 0;
    energy += length;
    re[i] = (re[i] ?? 0) * scale;
    im[i] = (im[i] ?? 0) * scale;
  }
  const scale = energy > 0 ? 1 / Math.sqrt(energy) : 0;
  for (let i = 0; i < CELLS; i += 1) {
    re[i] = (re[i] ?? 0) * scale;
    im[i] = (im[i] ?? 0) * scale;
  }
  return field;
}

/** The frame's structure when it is taken to be magnified by `zoom` against the reference. */
export function frameField(
  view: ViewSignature,
  zoom: number,
  weight: Float64Array | null,
  scratch?: Scratch,
): { readonly field: ComplexGrid; readonly strength: number } {
  const field = edgeField(sampleGrid(view, 1 / zoom, scratch?.grid), weight, scratch?.field);
  let strength = 0;
  for (let i = 0; i < CELLS; i += 1) strength += Math.hypot(field.re[i] ?? 0, field.im[i] ?? 0);
  return { field, strength: strength / CELLS };
}

/** Phase correlation (Kuglin and Hines 1975) of two whitened spectra, read near the calibrated place and elsewhere. */
export function matchSpectra(
  fourier: Fourier,
  reference: ComplexGrid,
  frame: ComplexGrid,
  surface: ComplexGrid = emptyGrid(),
): Match {
  const { re, im } = surface;
  for (let i = 0; i < CELLS; i += 1) {
    const aRe = reference.re[i] ?? 0;
    const aIm = reference.im[i] ?? 0;
    const bRe = frame.re[i] ?? 0;
    const bIm = frame.im[i] ?? 0;
    // The conjugate, so that the forward transform serves as the inverse; unit energies make the sums correlations.
    re[i] = aRe * bRe + aIm * bIm;
    im[i] = aIm * bRe - aRe * bIm;
  }
  fourier.transform(surface);
  return readPeaks(re);
}

function readPeaks(surface: Float64Array): Match {
  let [near, nearX, nearY, inner] = [-1, 0, 0, -1];
  let [far, farX, farY] = [-1, 0, 0];
  const reachX = Math.floor(WIDEST_SHIFT * GRID_WIDTH);
  const reachY = Math.floor(WIDEST_SHIFT * GRID_HEIGHT);
  for (let y = -reachY; y <= reachY; y += 1)
    for (let x = -reachX; x <= reachX; x += 1) {
      const row = (y + GRID_HEIGHT) % GRID_HEIGHT;
      const value = surface[row * GRID_WIDTH + ((x + GRID_WIDTH) % GRID_WIDTH)] ?? 0;
      if (Math.abs(x) <= SAME_X && Math.abs(y) <= SAME_Y) {
        if (value > near) [near, nearX, nearY] = [value, x, y];
        if (value > inner && Math.abs(x) <= INNER_X) inner = value;
      } else if (value > far) [far, farX, farY] = [value, x, y];
    }
  return { near, nearX, nearY, inner, far, farX, farY };
}
