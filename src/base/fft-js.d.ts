declare module 'fft.js' {
  /** Fast Fourier transform of one size, a power of two. Complex arrays are interleaved: real, imaginary. */
  class FFT {
    constructor(size: number);
    createComplexArray(): number[];
    transform(out: number[], input: readonly number[]): void;
    /** Fills the first half of `out`: frequencies from 0 to half the sampling rate. */
    realTransform(out: number[], input: ArrayLike<number>): void;
  }
  export = FFT;
}
