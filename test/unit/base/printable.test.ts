import { describe, expect, it } from 'vitest';
import { toPrintable, toPrintableJson } from '../../../src/base/printable.ts';

const ROWS = [
  ['a sequence for the clipboard', 'a\u001b]52;c;cm0gLXJmIH4=\u0007b'],
  ['line breaks', 'a\r\nb'],
  ['a C1 character', 'a\u009b2Jb'],
  ['delete', 'a\u007fb'],
  ['a change of direction', 'a\u202egnip\u2066b'],
  ['separators of lines and paragraphs', 'a\u2028\u2029b'],
  ['characters without width', 'a\u200b\ufeff\u00adb'],
  ['a tag character outside the basic plane', 'a\u{e0041}b'],
] as const;

describe('unprintable characters', () => {
  it.each(ROWS)('%s: replaced in a text, escaped in JSON', (_what, text) => {
    expect(toPrintable(text)).toMatch(/^a[ -~]+b$/);
    const json = toPrintableJson(JSON.stringify({ text }));
    expect(json).toMatch(/^[ -~]+$/);
    expect(JSON.parse(json)).toEqual({ text });
  });

  it('keeps all other text, and the line breaks of indented JSON', () => {
    const text = 'Playa de Zurriola, 1.4 m → 🌊 «ñ»';
    expect(toPrintable(text)).toBe(text);
    const json = JSON.stringify({ text }, null, 2);
    expect(toPrintableJson(json)).toBe(json);
  });
});
