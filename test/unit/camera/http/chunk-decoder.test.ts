import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChunkDecoder } from '../../../../src/camera/http/chunk-decoder.ts';

const encode = (chunks: readonly Uint8Array[], lineEnd = '\r\n', extension = ''): Buffer =>
  Buffer.concat([
    ...chunks.flatMap((chunk) => [
      Buffer.from(`${chunk.length.toString(16)}${extension}${lineEnd}`),
      chunk,
      Buffer.from(lineEnd),
    ]),
    Buffer.from(`0${lineEnd}${lineEnd}`),
  ]);

describe('ChunkDecoder', () => {
  it('gives the data of all chunks that one read delivers as one part', () => {
    const data = Buffer.from('x'.repeat(1000));
    const decoder = new ChunkDecoder();
    expect(decoder.push(encode([...data].map((byte) => Buffer.from([byte]))))).toEqual(data);
    expect(decoder.hasEnded).toBe(true);
  });

  it('gives the same data however the bytes are divided', () => {
    const chunk = fc.uint8Array({ minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(
        fc.array(chunk, { maxLength: 12 }),
        fc.array(fc.nat(600), { maxLength: 12 }),
        fc.constantFrom('\r\n', '\n'),
        fc.constantFrom('', ';a=b', ' ;x'),
        (chunks, cuts, lineEnd, extension) => {
          const bytes = encode(chunks, lineEnd, extension);
          const edges = [
            0,
            ...cuts.filter((at) => at < bytes.length).toSorted((a, b) => a - b),
            bytes.length,
          ];
          const decoder = new ChunkDecoder();
          const parts = edges.slice(1).map((edge, index) => decoder.push(bytes.subarray(edges[index], edge)));
          expect(Buffer.concat(parts)).toEqual(Buffer.concat(chunks));
          expect([decoder.hasEnded, decoder.failure]).toEqual([true, null]);
        },
      ),
    );
  });

  it('gives everything before a fault', () => {
    const decoder = new ChunkDecoder();
    expect(decoder.push(Buffer.from('3\r\nabc\r\nzz\r\ndef')).toString()).toBe('abc');
    expect(decoder.failure?.message).toBe('the length of a chunk cannot be read');
    const endless = new ChunkDecoder();
    expect(endless.push(Buffer.from(`3\r\nabc\r\n${'1'.repeat(5000)}`)).toString()).toBe('abc');
    expect(endless.failure).toBeInstanceOf(RangeError);
  });

  it('says what is missing at the end of the connection', () => {
    const cut = new ChunkDecoder();
    cut.push(Buffer.from('a\r\nabc'));
    expect(() => cut.end()).toThrow('announced 10 bytes and sent 3');
    const between = new ChunkDecoder();
    between.push(Buffer.from('3\r\nabc\r\n'));
    expect(() => between.end()).toThrow('before the last chunk');
  });
});
