import { describe, expect, it } from 'vitest';
import { Fourier } from '../../../../src/calibration/view/fourier.ts';
import { randomFrom } from '../../../fixtures/labelled.ts';

describe('Fourier', () => {
  it('equals the sum in its definition', () => {
    const { normal } = randomFrom(1);
    const re = Float64Array.from({ length: 32 }, normal);
    const im = Float64Array.from({ length: 32 }, normal);
    const grid = { re: re.slice(), im: im.slice() };
    new Fourier(8, 4).transform(grid);
    for (let v = 0; v < 4; v += 1)
      for (let u = 0; u < 8; u += 1) {
        let [sumRe, sumIm] = [0, 0];
        for (let y = 0; y < 4; y += 1)
          for (let x = 0; x < 8; x += 1) {
            const turn = -2 * Math.PI * ((u * x) / 8 + (v * y) / 4);
            const [a, b] = [re[y * 8 + x]!, im[y * 8 + x]!];
            sumRe += a * Math.cos(turn) - b * Math.sin(turn);
            sumIm += a * Math.sin(turn) + b * Math.cos(turn);
          }
        expect(grid.re[v * 8 + u]).toBeCloseTo(sumRe, 10);
        expect(grid.im[v * 8 + u]).toBeCloseTo(sumIm, 10);
      }
  });
});
