import { describe, expect, it } from 'vitest';
import { UploadBudget } from '../../../src/analysis/upload-budget.ts';

describe('UploadBudget', () => {
  it('reserves until the bytes or the number of requests are used up', () => {
    const budget = new UploadBudget({ budgetBytes: 100, maxRequests: 3 });
    const first = budget.reserve(60);
    expect(budget.reserve(50)).toBeNull();
    const second = budget.reserve(40);
    expect([budget.reservedBytes, budget.requests]).toEqual([100, 2]);
    first?.release();
    first?.release();
    expect([budget.reservedBytes, budget.requests]).toEqual([40, 1]);
    expect([budget.reserve(1), budget.reserve(1)]).not.toContain(null);
    expect(budget.reserve(1)).toBeNull();
    second?.release();
    expect(budget.reserve(1)).not.toBeNull();
  });

  it('always accepts a single image, however large', () => {
    expect(new UploadBudget({ budgetBytes: 10, maxRequests: 3 }).reserve(1000)).not.toBeNull();
  });
});
