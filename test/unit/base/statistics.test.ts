import { describe, expect, it } from 'vitest';
import { mean, median } from '../../../src/base/statistics.ts';

describe('mean and median', () => {
  it('are null for no values', () => {
    expect(mean([])).toBeNull();
    expect(median([])).toBeNull();
  });

  it('give the middle value of an odd number of values in any order', () => {
    expect(median([5, 1, 3])).toBe(3);
  });

  it('give the mean of the two middle values of an even number', () => {
    expect(median([4, 1, 3, 100])).toBe(3.5);
    expect(mean([4, 1, 3, 100])).toBe(27);
  });

  it('sort by value and leave the input as it is', () => {
    const values = [10, 9, 2];
    expect(median(values)).toBe(9);
    expect(values).toEqual([10, 9, 2]);
  });

  it('take typed arrays', () => {
    expect(mean(Uint8Array.of(255, 255))).toBe(255);
    expect(median(Float32Array.of(0.5))).toBe(0.5);
  });
});
