import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../../src/base/token-bucket.ts';

function bucket(options: { readonly perS: number; readonly burst: number }) {
  let nowMs = 1000;
  const tokens = new TokenBucket(options, { monoMs: () => nowMs });
  return { tokens, pass: (ms: number) => (nowMs += ms) };
}

describe('TokenBucket', () => {
  it('gives a whole burst at once and then one token per interval', () => {
    const { tokens, pass } = bucket({ perS: 10, burst: 3 });
    expect([1, 2, 3, 4].map(() => tokens.tryTake())).toEqual([true, true, true, false]);
    expect(tokens.waitMs()).toBe(100);
    pass(99);
    expect(tokens.tryTake()).toBe(false);
    pass(1);
    expect(tokens.tryTake()).toBe(true);
  });

  it('holds no more than a burst after a long pause', () => {
    const { tokens, pass } = bucket({ perS: 10, burst: 2 });
    pass(1_000_000);
    expect([1, 2, 3].map(() => tokens.tryTake())).toEqual([true, true, false]);
  });

  it('waits until an overdraft is paid back', () => {
    const { tokens, pass } = bucket({ perS: 1000, burst: 1 });
    tokens.take(500);
    expect(tokens.waitMs()).toBe(500);
    pass(500);
    expect(tokens.waitMs()).toBe(0);
  });

  it('never waits without a limit', () => {
    const { tokens } = bucket({ perS: 0, burst: 1 });
    tokens.take(1e9);
    expect(tokens.waitMs()).toBe(0);
  });

  it('is full before the first token is taken and after all are paid back', () => {
    const { tokens, pass } = bucket({ perS: 10, burst: 2 });
    expect(tokens.isFull()).toBe(true);
    tokens.take();
    expect(tokens.isFull()).toBe(false);
    pass(100);
    expect(tokens.isFull()).toBe(true);
  });

  it('does not lose a token to rounding when the interval is no whole number of milliseconds', () => {
    const { tokens, pass } = bucket({ perS: 3, burst: 1 });
    tokens.take();
    for (let i = 0; i < 1000; i += 1) {
      pass(1000 / 3);
      expect(tokens.tryTake()).toBe(true);
    }
  });
});
