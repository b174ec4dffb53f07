/**
 * Characters that control a terminal or hide text: control characters (C0, C1 and DEL), format characters such as
 * U+202E, and the separators of lines and paragraphs.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Replaces each unprintable character, also a line break, by `?`: text of other parties must not control a terminal. */
export const toPrintable = (text: string): string => text.replace(UNPRINTABLE, '?');

/** Writes the unprintable characters of a JSON text as `\uXXXX`, but not line breaks. The value stays the same. */
export const toPrintableJson = (json: string): string =>
  json.replace(UNPRINTABLE, (character) => (character === '\n' ? character : escapeUnits(character)));

const escapeUnits = (character: string): string =>
  character
    .split('')
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('');
