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
  readonly #columnRe: Float64Array;
  readonly #columnIm: Float64Array;

  constructor(width: number, height: number) {
    this.width = width;
    this.height = height;
    this.#rows = planLine(width);
    this.#columns = planLine(height);
    this.#columnRe = new Float64Array(height);
    this.#columnIm = new Float64Array(height);
  }

  /**
   * Transforms in place, without scaling. For the inverse, transform the conjugate, conjugate the result, and divide by
   * width * height.
   */
  transform({ re, im }: ComplexGrid): void {
    const { width, height } = this;
    for (let y = 0; y < height; y += 1) {
      const from = y * width;
      transformLine(re.subarray(from, from + width), im.subarray(from, from + width), this.#rows);
    }
    for (let x = 0; x < width; x += 1) {
      for (let y = 0; y < height; y += 1) {
        this.#columnRe[y] = re[y * width + x] ?? 0;
        this.#columnIm[y] = im[y * width + x] ?? 0;
      }
      transformLine(this.#columnRe, this.#columnIm, this.#columns);
      for (let y = 0; y < height; y += 1) {
        re[y * width + x] = this.#columnRe[y] ?? 0;
        im[y * width + x] = this.#columnIm[y] ?? 0;
      }
    }
  }
}

interface LinePlan {
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
    reversed,
    cos: Float64Array.from({ length: length >> 1 }, (_, k) => Math.cos(angle(k))),
    sin: Float64Array.from({ length: length >> 1 }, (_, k) => Math.sin(angle(k))),
  };
}

function transformLine(re: Float64Array, im: Float64Array, { reversed, cos, sin }: LinePlan): void {
  const n = re.length;
  for (let i = 0; i < n; i += 1) {
    const j = reversed[i] ?? 0;
    if (j <= i) continue;
    swap(re, i, j);
    swap(im, i, j);
  }
  for (let half = 1; half < n; half <<= 1) {
    const stride = n / (2 * half);
    for (let block = 0; block < n; block += 2 * half)
      for (let k = 0; k < half; k += 1) {
        const a = block + k;
        const b = a + half;
        const c = cos[k * stride] ?? 0;
        const s = sin[k * stride] ?? 0;
        const bRe = (re[b] ?? 0) * c - (im[b] ?? 0) * s;
        const bIm = (re[b] ?? 0) * s + (im[b] ?? 0) * c;
        re[b] = (re[a] ?? 0) - bRe;
        im[b] = (im[a] ?? 0) - bIm;
        re[a] = (re[a] ?? 0) + bRe;
        im[a] = (im[a] ?? 0) + bIm;
      }
  }
}

function swap(values: Float64Array, i: number, j: number): void {
  const first = values[i] ?? 0;
  values[i] = values[j] ?? 0;
  values[j] = first;
}
