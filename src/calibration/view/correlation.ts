import type { ViewSignature } from '../../vision/protocol.ts';
import type { Fourier, ComplexGrid } from './fourier.ts';
import { edgeField, emptyGrid, GRID_HEIGHT, GRID_WIDTH, sampleGrid } from './edge-field.ts';

const CELLS = GRID_WIDTH * GRID_HEIGHT;
/** Largest shift to search for, share of width and height. */
const MAX_SHIFT = 0.3;
/** A frame with a shift up to this counts as unchanged, cells: 2.3% of the width, 1.6% of the height. */
const SAME_PLACE_X = 3;
const SAME_PLACE_Y = 1;
/** Largest horizontal movement of a fixed camera, for example on a mast in the wind or on a wall in the sun, cells. */
const MAX_DRIFT_X = 2;

/** Correlation of a frame's edges with the reference at one magnification: 0 means no correlation, 1 means equal. */
export interface ViewMatch {
  /** Highest correlation for shifts that count as unchanged, and the shift of this peak, cells. */
  readonly near: number;
  readonly nearX: number;
  readonly nearY: number;
  /** Highest correlation within the small movement of a fixed camera. */
  readonly inner: number;
  /** Highest correlation for larger shifts, and the shift of this peak, cells. */
  readonly far: number;
  readonly farX: number;
  readonly farY: number;
}

/** Buffers for one comparison, used again for each check. Otherwise each check would leave megabytes of garbage. */
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

/**
 * Spectrum of a sum of edge fields, with each coefficient divided by the square root of its magnitude (partial whitening)
 * and scaled to unit energy. Overwrites `field`.
 */
export function whiten(fourier: Fourier, field: ComplexGrid): ComplexGrid {
  fourier.transform(field);
  return whitenSpectrum(field);
}

/** As `whiten`, of the spectrum itself. */
export function whitenSpectrum(spectrum: ComplexGrid): ComplexGrid {
  const { re, im } = spectrum;
  re[0] = 0;
  im[0] = 0;
  let energy = 0;
  for (let i = 0; i < CELLS; i += 1) {
    const length = magnitude(re[i] ?? 0, im[i] ?? 0);
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
  return spectrum;
}

/** As `Math.hypot`, which is many times slower and protects from overflow, impossible here. */
const magnitude = (re: number, im: number): number => Math.sqrt(re * re + im * im);

/** Edge field of a view, if the view is magnified by `zoom` relative to the reference. */
export function frameField(
  view: ViewSignature,
  zoom: number,
  weight: Float64Array | null,
  scratch?: Scratch,
): { readonly field: ComplexGrid; readonly strength: number } {
  const field = edgeField(sampleGrid(view, 1 / zoom, scratch?.grid), weight, scratch?.field);
  let strength = 0;
  for (let i = 0; i < CELLS; i += 1) strength += magnitude(field.re[i] ?? 0, field.im[i] ?? 0);
  return { field, strength: strength / CELLS };
}

/** Phase correlation (Kuglin and Hines 1975) of two whitened spectra: its peaks without and with a shift. */
export function matchSpectra(
  fourier: Fourier,
  reference: ComplexGrid,
  frame: ComplexGrid,
  surface: ComplexGrid = emptyGrid(),
): ViewMatch {
  correlate(fourier, reference, frame, surface);
  return findPeaks(surface.re);
}

/** Writes the correlation of two whitened spectra for each shift of the frame into the real part of `surface`. */
export function correlate(
  fourier: Fourier,
  reference: ComplexGrid,
  frame: ComplexGrid,
  surface: ComplexGrid,
): void {
  const { re, im } = surface;
  for (let i = 0; i < CELLS; i += 1) {
    const aRe = reference.re[i] ?? 0;
    const aIm = reference.im[i] ?? 0;
    const bRe = frame.re[i] ?? 0;
    const bIm = frame.im[i] ?? 0;
    // The conjugate of the product, so that the forward transform acts as the inverse. Its real part is the correlation,
    // because both spectra have unit energy.
    re[i] = aRe * bRe + aIm * bIm;
    im[i] = aIm * bRe - aRe * bIm;
  }
  fourier.transform(surface);
}

function findPeaks(surface: Float64Array): ViewMatch {
  let [near, nearX, nearY, inner] = [-1, 0, 0, -1];
  let [far, farX, farY] = [-1, 0, 0];
  const reachX = Math.floor(MAX_SHIFT * GRID_WIDTH);
  const reachY = Math.floor(MAX_SHIFT * GRID_HEIGHT);
  for (let y = -reachY; y <= reachY; y += 1)
    for (let x = -reachX; x <= reachX; x += 1) {
      const row = (y + GRID_HEIGHT) % GRID_HEIGHT;
      const value = surface[row * GRID_WIDTH + ((x + GRID_WIDTH) % GRID_WIDTH)] ?? 0;
      if (Math.abs(x) <= SAME_PLACE_X && Math.abs(y) <= SAME_PLACE_Y) {
        if (value > near) [near, nearX, nearY] = [value, x, y];
        if (value > inner && Math.abs(x) <= MAX_DRIFT_X) inner = value;
      } else if (value > far) [far, farX, farY] = [value, x, y];
    }
  return { near, nearX, nearY, inner, far, farX, farY };
}
