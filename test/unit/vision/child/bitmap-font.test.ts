import { describe, expect, it } from 'vitest';
import { GLYPH_HEIGHT, isInk, toDrawableText } from '../../../../src/vision/child/bitmap-font.ts';

describe('bitmap font', () => {
  it('has dots for every character except the space', () => {
    const blank = [];
    for (let code = 0x20; code <= 0x7e; code++) {
      let dots = 0;
      for (let x = 0; x < 5; x++)
        for (let y = 0; y < 7; y++) dots += Number(isInk(String.fromCharCode(code), x, y));
      if (dots === 0) blank.push(String.fromCharCode(code));
    }
    expect(blank).toEqual([' ']);
  });

  it('replaces characters that it does not have', () => {
    expect(toDrawableText('0.6 ± 0.2 m – Praia do Norte, São Pedro 日')).toBe(
      '0.6 +- 0.2 m - Praia do Norte, Sao Pedro ?',
    );
  });

  it('draws an L in the shape of an L', () => {
    const rows = Array.from({ length: GLYPH_HEIGHT }, (_, y) =>
      Array.from({ length: 5 }, (_, x) => (isInk('L', x, y) ? '#' : '.')).join(''),
    );
    expect(rows).toEqual(['#....', '#....', '#....', '#....', '#....', '#....', '#####']);
  });
});
