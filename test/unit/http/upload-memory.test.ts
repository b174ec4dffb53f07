import { expect, it } from 'vitest';
import { UploadMemory } from '../../../src/http/upload-memory.ts';

const KB = 1024;

it('is used again once it is given back, and never by two at a time', () => {
  const memory = new UploadMemory();
  const [first, second] = [memory.take(100 * KB), memory.take(100 * KB)];
  expect(first.buffer).not.toBe(second.buffer);
  memory.give(first);
  const third = memory.take(1024 * KB);
  expect(third).toBe(first);
  expect(memory.take(1)).not.toBe(second);
});

it('is as large as asked for; what is large is not kept', () => {
  const memory = new UploadMemory();
  for (const size of [0, 1, 1024 * KB, 1024 * KB + 1, 3_000_000])
    expect(memory.take(size).length).toBeGreaterThanOrEqual(size);
  const large = memory.take(3_000_000);
  memory.give(large);
  expect(memory.take(3_000_000)).not.toBe(large);
});

it('keeps a few pieces only', () => {
  const memory = new UploadMemory();
  const given = Array.from({ length: 20 }, () => memory.take(1));
  for (const piece of given) memory.give(piece);
  const again = Array.from({ length: 20 }, () => memory.take(1));
  expect(again.filter((piece) => given.includes(piece))).toHaveLength(4);
});
