/** A grid of complex numbers: real and imaginary parts, row-major. */
export interface ComplexGrid {
  readonly re: Float64Array;
  readonly im: Float64Array;
}

/** Two-dimensional fast Fourier transform (Cooley and Tukey 1965) for one size; both sides are powers of two. */
export class Fourier {
  readonly width: number;
  readonly height: number;
  readonly #rows: LinePlan;
  readonly #columns: LinePlan;

  constructor(width: number, height: number) {
    this.width = width;
    this.height = height;
    this.#rows = planLine(width);
    this.#columns = planLine(height);
  }

  /**
   * Transforms in place, without scaling. For the inverse, transform the conjugate, conjugate the result, and divide by
   * width * height.
   */
  transform({ re, im }: ComplexGrid): void {
    for (let y = 0; y < this.height; y += 1) transformRow(re, im, y * this.width, this.#rows);
    transformColumns(re, im, this.width, this.#columns);
  }
}

interface LinePlan {
  readonly length: number;
  /** Bit-reversed index of each sample, for the order before the butterflies. */
  readonly reversed: Uint32Array;
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

function planLine(length: number): LinePlan {
  const reversed = new Uint32Array(length);
  for (let i = 1; i < length; i += 1)
    reversed[i] = ((reversed[i >> 1] ?? 0) >> 1) | (i & 1 ? length >> 1 : 0);
  const angle = (k: number): number => (-2 * Math.PI * k) / length;
  return {
    length,
    reversed,
    cos: Float64Array.from({ length: length >> 1 }, (_, k) => Math.cos(angle(k))),
    sin: Float64Array.from({ length: length >> 1 }, (_, k) => Math.sin(angle(k))),
  };
}

/** Transforms the line of samples that begins at `from`. */
function transformRow(re: Float64Array, im: Float64Array, from: number, plan: LinePlan): void {
  const { length: n, reversed, cos, sin } = plan;
  for (let i = 0; i < n; i += 1) {
    const j = reversed[i] ?? 0;
    if (j <= i) continue;
    swap(re, from + i, from + j);
    swap(im, from + i, from + j);
  }
  for (let half = 1; half < n; half <<= 1) {
    const stride = n / (2 * half);
    for (let k = 0; k < half; k += 1) {
      const c = cos[k * stride] ?? 0;
      const s = sin[k * stride] ?? 0;
      for (let a = from + k; a < from + n; a += 2 * half) butterfly(re, im, a, a + half, c, s);
    }
  }
}

/** Transforms all columns at once, row by row: neighbouring samples of a row lie side by side in memory. */
function transformColumns(re: Float64Array, im: Float64Array, width: number, plan: LinePlan): void {
  const { length: n, reversed, cos, sin } = plan;
  for (let i = 0; i < n; i += 1) {
    const j = reversed[i] ?? 0;
    if (j <= i) continue;
    for (let x = 0; x < width; x += 1) {
      swap(re, i * width + x, j * width + x);
      swap(im, i * width + x, j * width + x);
    }
  }
  for (let half = 1; half < n; half <<= 1) {
    const stride = n / (2 * half);
    for (let block = 0; block < n; block += 2 * half)
      for (let k = 0; k < half; k += 1) {
        const c = cos[k * stride] ?? 0;
        const s = sin[k * stride] ?? 0;
        const a = (block + k) * width;
        const b = a + half * width;
        for (let x = 0; x < width; x += 1) butterfly(re, im, a + x, b + x, c, s);
      }
  }
}

function butterfly(re: Float64Array, im: Float64Array, a: number, b: number, c: number, s: number): void {
  const aRe = re[a] ?? 0;
  const aIm = im[a] ?? 0;
  const bRe = (re[b] ?? 0) * c - (im[b] ?? 0) * s;
  const bIm = (re[b] ?? 0) * s + (im[b] ?? 0) * c;
  re[b] = aRe - bRe;
  im[b] = aIm - bIm;
  re[a] = aRe + bRe;
  im[a] = aIm + bIm;
}

function swap(values: Float64Array, i: number, j: number): void {
  const first = values[i] ?? 0;
  values[i] = values[j] ?? 0;
  values[j] = first;
}
