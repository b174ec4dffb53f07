import { correlate, frameField, newScratch, whitenSpectrum } from '../calibration/view/correlation.ts';
import {
  emptyGrid,
  GRID_HEIGHT,
  GRID_WIDTH,
  overlayWeights,
  sampleGrid,
} from '../calibration/view/edge-field.ts';
import { Fourier, type ComplexGrid } from '../calibration/view/fourier.ts';
import type { GreyPicture } from '../vision/protocol.ts';
import type { Shift } from './layout.ts';

/** Where the static part of one picture lies. */
export interface Registration {
  /** Shift that the cells must follow; that of the last registered picture when this one is not registered. */
  readonly shift: Shift;
  /** False when no static part was found. */
  readonly isRegistered: boolean;
  /** True once, when the last `MOVED_PICTURES` pictures show another view than those before. */
  readonly hasMoved: boolean;
}

// Shifts are in cells of the comparison grid, scores are correlations 0..1: noise gives about 0.03.
/** Largest sway: a twentieth of the picture. A larger shift is another view. */
const MAX_SWAY = { x: 6, y: 3 } as const;
/** Largest shift at which a view is recognised. */
const MAX_SHIFT = { x: 38, y: 19 } as const;
/** Smallest score of a static scene, as in the check of the calibrated view. */
const MIN_SCORE = 0.1;
/** The static scene is elsewhere when its score there is so many times that within the sway. */
const CLEAR_RATIO = 1.3;
/** A picture with a lower score than this share of the usual one does not show the static scene. */
const LOST_SHARE = 0.4;
/** The static scene is recognised at another place from this share of the usual score. */
const MIN_FOUND_SHARE = 0.5;
/** A picture with at least this share of the usual strength of edges has clear edges: it is no fog and no covered lens. */
const CLEAR_STRENGTH_SHARE = 0.6;
/** The view counts as moved when so many pictures in a row show another one. */
const MOVED_PICTURES = 10;
/** Registered pictures after which the usual score and strength are known. */
const MIN_KNOWN = 30;
/** Pictures whose sum is the reference: in it, waves disappear. */
const MEMORY = 128;
/** Frequencies for a shift of a part of a cell: half of those of the grid. */
const LOW = { x: GRID_WIDTH / 4, y: GRID_HEIGHT / 4 } as const;
const ITERATIONS = 3;
/** The reference is renewed at each of the first pictures, and then at each eighth one. */
const LEARNING = 16;
const RENEWAL = 8;

/**
 * Registers the pictures of a fixed camera against its sway, by phase correlation (Kuglin and Hines 1975) of their edges
 * with those of all pictures before. Moving water is not the same in any two of them, so the static scene decides. Takes
 * about 1 ms for each picture.
 */
export class SwayTracker {
  readonly #fourier = new Fourier(GRID_WIDTH, GRID_HEIGHT);
  readonly #scratch = newScratch();
  readonly #sum = emptyGrid();
  readonly #reference = emptyGrid();
  readonly #raw = emptyGrid();
  #firstGrid: Float64Array | null = null;
  /** Privacy masks do not sway with the scene: 0 around them; null without masks. */
  #weights: Float64Array | null = null;
  #pictures = 0;
  #registered = 0;
  #elsewhere = 0;
  #usualScore = 0;
  #usualStrength = 0;
  #last: Shift = { x: 0, y: 0 };

  add(picture: GreyPicture): Registration {
    this.#findMasks(picture);
    const { field, strength } = frameField(picture, 1, this.#weights, this.#scratch);
    // A picture without any edge.
    if (strength === 0) return { shift: this.#last, isRegistered: false, hasMoved: false };
    this.#fourier.transform(field);
    copyGrid(field, this.#raw);
    if (this.#registered === 0) {
      this.#learn({ x: 0, y: 0 }, 1, strength);
      return { shift: this.#last, isRegistered: true, hasMoved: false };
    }
    const { surface } = this.#scratch;
    correlate(this.#fourier, this.#reference, whitenSpectrum(field), surface);
    const { near, far, ...peak } = findPeaks(surface.re);
    const isStatic = near >= MIN_SCORE && near * CLEAR_RATIO >= far;
    if (isStatic && !this.#isLost(near, strength)) {
      this.#elsewhere = 0;
      const { x, y } = refinePeak(this.#reference, field, peak);
      this.#learn({ x, y }, near, strength);
      this.#last = {
        x: (x * picture.width) / GRID_WIDTH,
        y: (y * picture.height) / GRID_HEIGHT,
      };
      return { shift: this.#last, isRegistered: true, hasMoved: false };
    }
    const isFound =
      this.#registered >= MIN_KNOWN && far >= MIN_FOUND_SHARE * this.#usualScore && far > near * CLEAR_RATIO;
    const isElsewhere = isFound || this.#isLost(near, strength);
    this.#elsewhere = isElsewhere ? this.#elsewhere + 1 : 0;
    const hasMoved = this.#elsewhere >= MOVED_PICTURES;
    if (hasMoved) this.#restart();
    return { shift: this.#last, isRegistered: false, hasMoved };
  }

  /** Compares the first two pictures; with masks, the second one begins the reference again. */
  #findMasks(picture: GreyPicture): void {
    this.#pictures += 1;
    if (this.#pictures === 1) this.#firstGrid = sampleGrid(picture, 1);
    if (this.#pictures !== 2 || this.#firstGrid === null) return;
    this.#weights = overlayWeights([this.#firstGrid, sampleGrid(picture, 1)]);
    this.#firstGrid = null;
    if (this.#weights) this.#restart();
  }

  #isLost(score: number, strength: number): boolean {
    return (
      this.#registered >= MIN_KNOWN &&
      score < LOST_SHARE * this.#usualScore &&
      strength >= CLEAR_STRENGTH_SHARE * this.#usualStrength
    );
  }

  /** Adds the picture, moved back to the place of the first one, to the reference. */
  #learn({ x, y }: Shift, score: number, strength: number): void {
    const share = 1 / Math.min(this.#registered + 1, MEMORY);
    this.#usualScore += (score - this.#usualScore) * share;
    this.#usualStrength += (strength - this.#usualStrength) * share;
    addShifted(this.#sum, this.#raw, { x, y }, 1 - share);
    this.#registered += 1;
    if (this.#registered > LEARNING && this.#registered % RENEWAL !== 0) return;
    copyGrid(this.#sum, this.#reference);
    whitenSpectrum(this.#reference);
  }

  /** The next picture is the first one of another view. */
  #restart(): void {
    this.#sum.re.fill(0);
    this.#sum.im.fill(0);
    [this.#registered, this.#elsewhere, this.#usualScore, this.#usualStrength] = [0, 0, 0, 0];
    this.#last = { x: 0, y: 0 };
  }
}

function copyGrid(from: ComplexGrid, to: ComplexGrid): void {
  to.re.set(from.re);
  to.im.set(from.im);
}

/** Fades the sum, and adds a spectrum whose grid is moved back by a shift. */
function addShifted(sum: ComplexGrid, { re, im }: ComplexGrid, shift: Shift, fade: number): void {
  const columns = phases(GRID_WIDTH / 2, GRID_WIDTH, shift.x);
  const rows = phases(GRID_HEIGHT / 2, GRID_HEIGHT, shift.y);
  for (let row = 0, at = 0; row < GRID_HEIGHT; row += 1) {
    const rowAt = (row < GRID_HEIGHT / 2 ? row : row - GRID_HEIGHT) + GRID_HEIGHT / 2;
    const rowCos = rows.cos[rowAt] ?? 1;
    const rowSin = rows.sin[rowAt] ?? 0;
    for (let column = 0; column < GRID_WIDTH; column += 1, at += 1) {
      const columnAt = (column < GRID_WIDTH / 2 ? column : column - GRID_WIDTH) + GRID_WIDTH / 2;
      const columnCos = columns.cos[columnAt] ?? 1;
      const columnSin = columns.sin[columnAt] ?? 0;
      const cos = rowCos * columnCos - rowSin * columnSin;
      const sin = rowSin * columnCos + rowCos * columnSin;
      const a = re[at] ?? 0;
      const b = im[at] ?? 0;
      sum.re[at] = (sum.re[at] ?? 0) * fade + a * cos - b * sin;
      sum.im[at] = (sum.im[at] ?? 0) * fade + a * sin + b * cos;
    }
  }
}

/** Cosine and sine of the phases that a shift gives the frequencies from `-most` to `most`. */
function phases(
  most: number,
  length: number,
  shift: number,
): { readonly cos: Float64Array; readonly sin: Float64Array } {
  const angles = Float64Array.from(
    { length: 2 * most + 1 },
    (_, index) => (2 * Math.PI * (index - most) * shift) / length,
  );
  return { cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
}

/** The highest correlations within the sway, with the shift of its peak, and outside it. */
function findPeaks(surface: Float64Array): {
  readonly near: number;
  readonly far: number;
  readonly x: number;
  readonly y: number;
} {
  const valueAt = (x: number, y: number): number =>
    surface[((y + GRID_HEIGHT) % GRID_HEIGHT) * GRID_WIDTH + ((x + GRID_WIDTH) % GRID_WIDTH)] ?? 0;
  let [near, far, atX, atY] = [-1, -1, 0, 0];
  for (let y = -MAX_SHIFT.y; y <= MAX_SHIFT.y; y += 1)
    for (let x = -MAX_SHIFT.x; x <= MAX_SHIFT.x; x += 1) {
      const value = valueAt(x, y);
      if (Math.abs(x) <= MAX_SWAY.x && Math.abs(y) <= MAX_SWAY.y) {
        if (value > near) [near, atX, atY] = [value, x, y];
      } else if (value > far) far = value;
    }
  return { near, far, x: atX, y: atY };
}

/**
 * The shift between two cells at which the correlation is highest, by Newton's method on its Fourier series. Only low
 * frequencies: higher ones are aliased, and would draw the shift to whole cells.
 */
function refinePeak(reference: ComplexGrid, frame: ComplexGrid, start: Shift): Shift {
  let { x, y } = start;
  for (let iteration = 0; iteration < ITERATIONS; iteration += 1) {
    const columns = phases(LOW.x, GRID_WIDTH, x);
    const rows = phases(LOW.y, GRID_HEIGHT, y);
    let [gradientX, gradientY, xx, xy, yy] = [0, 0, 0, 0, 0];
    for (let row = -LOW.y; row <= LOW.y; row += 1) {
      const from = ((row + GRID_HEIGHT) % GRID_HEIGHT) * GRID_WIDTH;
      const ky = (2 * Math.PI * row) / GRID_HEIGHT;
      const rowCos = rows.cos[row + LOW.y] ?? 1;
      const rowSin = rows.sin[row + LOW.y] ?? 0;
      for (let column = -LOW.x; column <= LOW.x; column += 1) {
        const at = from + ((column + GRID_WIDTH) % GRID_WIDTH);
        const kx = (2 * Math.PI * column) / GRID_WIDTH;
        const columnCos = columns.cos[column + LOW.x] ?? 1;
        const columnSin = columns.sin[column + LOW.x] ?? 0;
        const cos = rowCos * columnCos - rowSin * columnSin;
        const sin = rowSin * columnCos + rowCos * columnSin;
        const aRe = reference.re[at] ?? 0;
        const aIm = reference.im[at] ?? 0;
        const bRe = frame.re[at] ?? 0;
        const bIm = frame.im[at] ?? 0;
        const re = aRe * bRe + aIm * bIm;
        const im = aRe * bIm - aIm * bRe;
        const real = re * cos - im * sin;
        const imaginary = re * sin + im * cos;
        gradientX -= kx * imaginary;
        gradientY -= ky * imaginary;
        xx += kx * kx * real;
        xy += kx * ky * real;
        yy += ky * ky * real;
      }
    }
    const determinant = xx * yy - xy * xy;
    if (!(determinant > 0 && xx > 0)) return start;
    x += (yy * gradientX - xy * gradientY) / determinant;
    y += (xx * gradientY - xy * gradientX) / determinant;
  }
  return Math.hypot(x - start.x, y - start.y) <= 1 ? { x, y } : start;
}
