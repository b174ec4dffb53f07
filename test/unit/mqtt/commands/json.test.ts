import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readStrictJson } from '../../../../src/mqtt/commands/json.ts';

const read = (text: string | Uint8Array) =>
  readStrictJson(typeof text === 'string' ? Buffer.from(text) : text);

describe('readStrictJson', () => {
  it('reads what has one meaning', () => {
    expect(read(' {"a": {"b": [1, {"b": 2}, {"b": "}{"}]}, "b": "\\"a\\":" } ')).toEqual({
      ok: true,
      value: { a: { b: [1, { b: 2 }, { b: '}{' }] }, b: '"a":' },
    });
    expect(read('"a\\\\"')).toEqual({ ok: true, value: 'a\\' });
  });

  it.each([
    ['{"a":1,"a":2}', 'a name stands twice in an object'],
    ['{"a":1,"\\u0061":2}', 'a name stands twice in an object'],
    ['{"x":[{"id":"1", "id" : "2"}]}', 'a name stands twice in an object'],
    ['{"__proto__":1,"__proto__":2}', 'a name stands twice in an object'],
    [`${'['.repeat(17)}${']'.repeat(17)}`, 'nested too deep'],
    [`${'{"a":'.repeat(9000)}1${'}'.repeat(9000)}`, 'nested too deep'],
    ['[".repeat(20000)', 'no JSON'],
    ['{"a":1}{"a":1}', 'no JSON'],
    ["{'a':1}", 'no JSON'],
    ['{"a":NaN}', 'no JSON'],
    ['', 'no JSON'],
  ])('%s', (text, fault) => {
    expect(read(text)).toEqual({ ok: false, fault });
  });

  it('takes no bytes that are not UTF-8', () => {
    // An overlong slash, half a surrogate pair, a cut character.
    for (const bytes of [
      [0x22, 0xc0, 0xaf, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0x22, 0xe2, 0x82, 0x22],
    ])
      expect(read(Uint8Array.from(bytes))).toEqual({ ok: false, fault: 'no JSON' });
  });

  it('agrees with JSON.parse on every document that a program would write', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        expect(read(text)).toEqual({ ok: true, value: JSON.parse(text) as unknown });
      }),
      { numRuns: 500 },
    );
  });

  it('never throws, and finds a name that was put in twice', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        read(bytes);
      }),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(fc.string(), fc.json({ maxDepth: 3 }), fc.json({ maxDepth: 3 }), (name, one, two) => {
        const key = JSON.stringify(name);
        expect(read(`{"other":0.5, ${key} : ${one} , ${key}:${two}}`)).toMatchObject({ ok: false });
      }),
    );
  });
});
