import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sendable, SendableBytes } from '../../../../src/mqtt/forward/sendable.ts';

const record = fc.record({
  id: fc.uuid(),
  camera: fc.string({ unit: 'binary' }),
  warnings: fc.array(fc.string({ unit: 'grapheme' })),
  wave: fc.option(fc.record({ height_m: fc.double({ noNaN: true, noDefaultInfinity: true }) })),
  note: fc.constantFrom('"published_at":null,"historical":false}', '', 'published_at', '\u2028\\"', '\ud800'),
});
const sent = fc.record({
  atMs: fc.integer({ min: 0, max: 4e12 }),
  historical: fc.boolean(),
});
const stored = (fields: object): string =>
  JSON.stringify({ ...fields, published_at: null, historical: false });

describe('what is put into a record when it is sent', () => {
  it('is what parsing it and writing it anew would give, as text and as bytes', () => {
    const bytes = new SendableBytes();
    fc.assert(
      fc.property(fc.array(fc.tuple(record, sent), { minLength: 1 }), (records) => {
        const got: { readonly wanted: string; readonly body: Buffer }[] = [];
        for (const [fields, { atMs, historical }] of records) {
          const at = new Date(atMs).toISOString();
          const wanted = JSON.stringify({
            ...(JSON.parse(stored(fields)) as object),
            published_at: at,
            historical,
          });
          expect(sendable(stored(fields), at, historical)).toBe(wanted);
          got.push({ wanted, body: bytes.of(stored(fields), at, historical) });
        }
        // Only now: none may have been written over by those that came after it.
        for (const { wanted, body } of got) expect(body.toString()).toBe(Buffer.from(wanted).toString());
      }),
    );
  });

  it('is found in a record that ends otherwise, and in one larger than the memory taken at once', () => {
    const bytes = new SendableBytes();
    const at = '2026-01-02T03:04:05.678Z';
    const other = JSON.stringify({ published_at: null, historical: false, seq: 7 });
    const wanted = { published_at: at, historical: true, seq: 7 };
    expect(JSON.parse(sendable(other, at, true))).toEqual(wanted);
    expect(JSON.parse(bytes.of(other, at, true).toString())).toEqual(wanted);
    const large = stored({ note: 'ü'.repeat(100_000) });
    expect(bytes.of(large, at, true).toString()).toBe(sendable(large, at, true));
    expect(bytes.of(stored({}), at, false).toString()).toBe(sendable(stored({}), at, false));
  });

  it('throws for text that is no JSON', () => {
    expect(() => new SendableBytes().of('{"seq":', '2026-01-02T03:04:05.678Z', true)).toThrow(SyntaxError);
  });
});
