import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { completeRecord, RecordEncoder } from '../../../../src/mqtt/forward/outbox-rows.ts';

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

describe('completeRecord and RecordEncoder', () => {
  it('give the same as to parse, change and serialize the record', () => {
    const encoder = new RecordEncoder();
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
          expect(completeRecord(stored(fields), at, historical)).toBe(wanted);
          got.push({ wanted, body: encoder.encode(stored(fields), atMs, historical) });
        }
        // Checked at the end: a later record must not overwrite an earlier one.
        for (const { wanted, body } of got) expect(body.toString()).toBe(Buffer.from(wanted).toString());
      }),
    );
  });

  it('complete a record with another end, and one that is larger than a slab', () => {
    const encoder = new RecordEncoder();
    const at = '2026-01-02T03:04:05.678Z';
    const other = JSON.stringify({ published_at: null, historical: false, seq: 7 });
    const wanted = { published_at: at, historical: true, seq: 7 };
    expect(JSON.parse(completeRecord(other, at, true))).toEqual(wanted);
    expect(JSON.parse(encoder.encode(other, Date.parse(at), true).toString())).toEqual(wanted);
    const large = stored({ note: 'ü'.repeat(100_000) });
    expect(encoder.encode(large, Date.parse(at), true).toString()).toBe(completeRecord(large, at, true));
    expect(encoder.encode(stored({}), Date.parse(at), false).toString()).toBe(
      completeRecord(stored({}), at, false),
    );
  });

  it('throw for text that is not JSON', () => {
    expect(() => new RecordEncoder().encode('{"seq":', 0, true)).toThrow(SyntaxError);
  });
});
