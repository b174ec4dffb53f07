/**
 * A 5x7 font for captions. Boards and containers often have no system fonts, and libvips then renders empty text.
 * ASCII 0x20 to 0x7e; for each character five columns from left to right, bit 0 at the top.
 * Source: the classic 5x7 LCD character shapes, as in many public-domain display drivers.
 */
const GLYPHS =
  '0000000000' + // space
  '00005f0000' +
  '0007000700' +
  '147f147f14' +
  '242a7f2a12' +
  '2313086462' +
  '3649552250' +
  '0005030000' +
  '001c224100' +
  '0041221c00' +
  '14083e0814' +
  '08083e0808' +
  '0050300000' +
  '0808080808' +
  '0060600000' +
  '2010080402' + // /
  '3e5149453e' + // 0
  '00427f4000' +
  '4261514946' +
  '2141454b31' +
  '1814127f10' +
  '2745454539' +
  '3c4a494930' +
  '0171090503' +
  '3649494936' +
  '064949291e' + // 9
  '0036360000' +
  '0056360000' +
  '0814224100' +
  '1414141414' +
  '0041221408' +
  '0201510906' +
  '324979413e' + // @
  '7e1111117e' + // A
  '7f49494936' +
  '3e41414122' +
  '7f4141221c' +
  '7f49494941' +
  '7f09090901' +
  '3e4149497a' +
  '7f0808087f' +
  '00417f4100' +
  '2040413f01' +
  '7f08142241' +
  '7f40404040' +
  '7f020c027f' +
  '7f0408107f' +
  '3e4141413e' +
  '7f09090906' +
  '3e4151215e' +
  '7f09192946' +
  '4649494931' +
  '01017f0101' +
  '3f4040403f' +
  '1f2040201f' +
  '3f4038403f' +
  '6314081463' +
  '0708700807' +
  '6151494543' + // Z
  '007f414100' +
  '0204081020' +
  '0041417f00' +
  '0402010204' +
  '4040404040' +
  '0001020400' +
  '2054545478' + // a
  '7f48444438' +
  '3844444420' +
  '384444487f' +
  '3854545418' +
  '087e090102' +
  '0c5252523e' +
  '7f08040478' +
  '00447d4000' +
  '2040443d00' +
  '7f10284400' +
  '00417f4000' +
  '7c04180478' +
  '7c08040478' +
  '3844444438' +
  '7c14141408' +
  '081414187c' +
  '7c08040408' +
  '4854545420' +
  '043f444020' +
  '3c4040207c' +
  '1c2040201c' +
  '3c4030403c' +
  '4428102844' +
  '0c5050503c' +
  '4464544c44' + // z
  '0008364100' +
  '00007f0000' +
  '0041360800' +
  '1008081008'; // ~

export const GLYPH_WIDTH = 5;
export const GLYPH_HEIGHT = 7;
/** Distance from one character to the next, dots. */
export const GLYPH_ADVANCE = GLYPH_WIDTH + 1;

const FIRST_CODE = 0x20;
const FALLBACK = '?';
/** ASCII spelling of the other characters that captions use. */
const ASCII_SPELLING: Readonly<Record<string, string>> = {
  '±': '+-',
  '–': '-',
  '—': '-',
  '−': '-',
  '…': '...',
  '×': 'x',
  '°': ' deg',
  µ: 'u',
  '’': "'",
};

/** Replaces characters that the font does not have: removes accents, and turns the rest into `?`. */
export function toDrawableText(text: string): string {
  return text
    .replace(/[^\x20-\x7e]/gu, (character) => ASCII_SPELLING[character] ?? character)
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/[^\x20-\x7e]/gu, FALLBACK);
}

/** True if the character has a dot at column `x` (0..4) and row `y` (0..6). */
export function isInk(character: string, x: number, y: number): boolean {
  const at = (character.charCodeAt(0) - FIRST_CODE) * 2 * GLYPH_WIDTH + 2 * x;
  return (Number.parseInt(GLYPHS.slice(at, at + 2), 16) & (1 << y)) !== 0;
}
