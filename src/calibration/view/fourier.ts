import FFT from 'fft.js';

/** A grid of complex numbers: real and imaginary parts, row-major. */
export interface ComplexGrid {
  readonly re: Float64Array;
  readonly im: Float64Array;
}

/** Two-dimensional fast Fourier transform for one size; both sides are powers of two. */
export class Fourier {
  readonly width: number;
  readonly height: number;
  readonly #rows: LineTransform;
  readonly #columns: LineTransform;

  constructor(width: number, height: number) {
    this.width = width;
    this.height = height;
    this.#rows = new LineTransform(width);
    this.#columns = new LineTransform(height);
  }

  /**
   * Transforms in place, without scaling. For the inverse, transform the conjugate, conjugate the result, and divide by
   * width * height.
   */
  transform(grid: ComplexGrid): void {
    const { width, height } = this;
    for (let y = 0; y < height; y += 1) this.#rows.transform(grid, y * width, 1);
    for (let x = 0; x < width; x += 1) this.#columns.transform(grid, x, width);
  }
}

/** Transforms one row or column of a grid. */
class LineTransform {
  readonly #length: number;
  readonly #fft: FFT;
  readonly #input: number[];
  readonly #output: number[];

  constructor(length: number) {
    this.#length = length;
    this.#fft = new FFT(length);
    this.#input = this.#fft.createComplexArray();
    this.#output = this.#fft.createComplexArray();
  }

  transform({ re, im }: ComplexGrid, from: number, step: number): void {
    const input = this.#input;
    const output = this.#output;
    for (let i = 0, at = from; i < this.#length; i += 1, at += step) {
      input[2 * i] = re[at] ?? 0;
      input[2 * i + 1] = im[at] ?? 0;
    }
    this.#fft.transform(output, input);
    for (let i = 0, at = from; i < this.#length; i += 1, at += step) {
      re[at] = output[2 * i] ?? 0;
      im[at] = output[2 * i + 1] ?? 0;
    }
  }
}
