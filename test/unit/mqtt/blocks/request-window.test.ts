import { describe, expect, it } from 'vitest';
import { DEFAULT_TUNING, RequestWindow } from '../../../../src/mqtt/blocks/request-window.ts';

const TUNING = { ...DEFAULT_TUNING, maxBlockBytes: 32_768, minBlockBytes: 4096 };

describe('RequestWindow', () => {
  it('halves the block size at each timeout, down to the minimum, and requests one block at a time', () => {
    const window = new RequestWindow(TUNING);
    const sizes = Array.from({ length: 4 }, () => {
      window.onTimeout();
      return window.blockBytes;
    });
    expect(sizes).toEqual([16_384, 8192, 4096, 4096]);
    expect(window.maxRequests).toBe(1);
    window.onBlock(4096, 4096);
    expect(window.maxRequests).toBe(TUNING.maxRequests);
  });

  it('doubles the timeout up to its maximum, and resets it when a block arrives', () => {
    const window = new RequestWindow(TUNING);
    const timeoutsMs = Array.from({ length: 5 }, () => {
      window.onTimeout();
      return window.replyTimeoutMs;
    });
    expect(timeoutsMs).toEqual([60_000, 120_000, 240_000, 300_000, 300_000]);
    window.onBlock(4096, 4096);
    expect(window.replyTimeoutMs).toBe(30_000);
  });

  it('doubles the block size after four blocks, but does not try a size again that failed', () => {
    const window = new RequestWindow(TUNING);
    window.onTimeout();
    window.onTimeout();
    for (let n = 0; n < 4; n += 1) window.onBlock(8192, 8192);
    expect(window.blockBytes).toBe(16_384);
    window.onTimeout();
    for (let n = 0; n < 20; n += 1) window.onBlock(8192, 8192);
    expect(window.blockBytes).toBe(8192);
  });

  it('adopts the size of a block that is shorter than requested', () => {
    const window = new RequestWindow(TUNING);
    window.onBlock(10_000, 32_768);
    expect(window.blockBytes).toBe(10_000);
    for (let n = 0; n < 8; n += 1) window.onBlock(10_000, 10_000);
    expect(window.blockBytes).toBe(10_000);
  });
});
