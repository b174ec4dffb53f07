import { Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { readTensor } from '../../../../src/vision/child/session.ts';

describe('readTensor', () => {
  it('reads every finite half-precision value, and keeps the shape', () => {
    const words = Uint16Array.from({ length: 65_536 }, (_, word) => word).filter(
      (word) => (word & 0x7c00) !== 0x7c00,
    );
    const { data, dims } = readTensor('a.b', new Tensor('float16', words, [1, words.length]));
    expect(dims).toEqual([1, words.length]);
    expect(new Uint16Array(new Float16Array(data).buffer)).toEqual(words);
    expect(data[1]).toBe(2 ** -24);
    expect(data[0x3c00]).toBe(1);
  });

  it('reads integers', () => {
    const tensor = new Tensor('int64', BigInt64Array.of(-3n, 4n), [2]);
    expect([...readTensor('a.b', tensor).data]).toEqual([-3, 4]);
  });

  it.each([
    ['NaN', new Tensor('float32', Float32Array.of(1, NaN), [2])],
    ['infinity', new Tensor('float16', Uint16Array.of(0x7c00), [1])],
    ['text', new Tensor('string', ['a'], [1])],
  ])('rejects %s', (_, tensor) => {
    expect(() => readTensor('a.b', tensor)).toThrow(
      expect.objectContaining({ code: 'vision_output_invalid' }) as Error,
    );
  });
});
