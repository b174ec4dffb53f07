import { describe, expect, it } from 'vitest';
import { UploadMemory } from '../../../src/http/upload.ts';

const KB = 1024;

describe('UploadMemory', () => {
  it('reuses a buffer that was given back, and never gives one to two requests', () => {
    const memory = new UploadMemory();
    const [first, second] = [memory.take(100 * KB), memory.take(100 * KB)];
    expect(first.buffer).not.toBe(second.buffer);
    memory.give(first);
    const third = memory.take(1024 * KB);
    expect(third).toBe(first);
    expect(memory.take(1)).not.toBe(second);
  });

  it('gives a buffer of at least the requested size, and keeps no large buffer', () => {
    const memory = new UploadMemory();
    for (const size of [0, 1, 1024 * KB, 1024 * KB + 1, 3_000_000])
      expect(memory.take(size).length).toBeGreaterThanOrEqual(size);
    const large = memory.take(3_000_000);
    memory.give(large);
    expect(memory.take(3_000_000)).not.toBe(large);
  });

  it('keeps only a few buffers', () => {
    const memory = new UploadMemory();
    const given = Array.from({ length: 20 }, () => memory.take(1));
    for (const buffer of given) memory.give(buffer);
    const again = Array.from({ length: 20 }, () => memory.take(1));
    expect(again.filter((buffer) => given.includes(buffer))).toHaveLength(4);
  });
});
