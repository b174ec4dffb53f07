import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packBurst, unpackBurst } from '../../../src/store/packed-burst.ts';

const bursts = fc.record({
  embedding: fc.float32Array({ noNaN: true, noDefaultInfinity: true, maxLength: 40 }),
  size: fc.record({ width: fc.integer({ min: 1, max: 12 }), height: fc.integer({ min: 1, max: 9 }) }),
  seed: fc.uint8Array({ minLength: 108, maxLength: 108 }),
  hasView: fc.boolean(),
});

describe('packBurst', () => {
  it('keeps pixels of the view within 3 grey levels, and each value of the embedding within one of 65,535 steps', () => {
    fc.assert(
      fc.property(bursts, ({ embedding, size, seed, hasView }) => {
        const view = hasView ? { ...size, luma: seed.slice(0, size.width * size.height) } : null;
        const found = unpackBurst(packBurst({ embedding, view }));
        expect({ ...found.view, luma: found.view?.luma.length }).toEqual({
          ...view,
          luma: view?.luma.length,
        });
        view?.luma.forEach((value, index) =>
          expect(Math.abs((found.view?.luma[index] ?? NaN) - value)).toBeLessThanOrEqual(3),
        );
        expect(found.embedding).toHaveLength(embedding.length);
        const values = [...embedding];
        const step = (Math.max(...values) - Math.min(...values)) / 65_535;
        values.forEach((value, index) => {
          const error = Math.abs((found.embedding[index] ?? NaN) - value);
          // The last term is the rounding of float32.
          expect(error).toBeLessThanOrEqual(step + Math.abs(value) * 2 ** -23 + 2 ** -149);
        });
      }),
    );
  });

  it('keeps the grey values of masks, and gives them to no other pixel', () => {
    const luma = Uint8Array.from({ length: 256 }, (_, value) => value);
    const found = unpackBurst(
      packBurst({ embedding: new Float32Array(), view: { luma, width: 16, height: 16 } }),
    );
    for (const grey of [0, 128])
      expect([...luma].filter((value) => found.view?.luma[value] === grey)).toEqual([grey]);
  });

  it('keeps zeros, which most values of an embedding are', () => {
    const embedding = Float32Array.of(0, 0.3, 0, 2.7, 0);
    expect([...unpackBurst(packBurst({ embedding, view: null })).embedding]).toEqual([
      0,
      expect.closeTo(0.3, 4),
      0,
      expect.closeTo(2.7, 4),
      0,
    ]);
  });

  it('throws for damaged bytes', () => {
    const packed = packBurst({ embedding: Float32Array.of(1, 2, 3), view: null });
    expect(() => unpackBurst(packed.subarray(0, packed.length - 4))).toThrow();
    expect(() => unpackBurst(randomBytes(100).fill(0xff, 0, 8))).toThrow();
  });
});
