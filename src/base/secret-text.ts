/** Why the bytes of a secret file are not one secret, as text after the word "wanted". */
export class NotASecret extends Error {}

/**
 * The text of a file that holds one secret on one line, as editors on any system write it: UTF-8 or UTF-16, with or without
 * a byte order mark; line breaks at the end are removed. May be empty. Throws `NotASecret`.
 */
export function decodeSecret(bytes: Uint8Array): string {
  const text = decodeSecretLines(bytes).replace(/[\r\n]+$/, '');
  if (/[\r\n]/.test(text)) throw new NotASecret('a file with the secret on one line');
  return text;
}

/** The text of a file that holds secrets on several lines, in the same encodings. Throws `NotASecret`. */
export function decodeSecretLines(bytes: Uint8Array): string {
  const text = decodeText(bytes);
  if (/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text)) throw new NotASecret('a text file');
  return text;
}

/** UTF-8 or UTF-16, with or without a byte order mark. Throws `NotASecret`. */
export function decodeText(bytes: Uint8Array): string {
  const encoding = startsWith(bytes, [0xff, 0xfe])
    ? 'utf-16le'
    : startsWith(bytes, [0xfe, 0xff])
      ? 'utf-16be'
      : (guessUtf16(bytes) ?? 'utf-8');
  try {
    // The decoder removes a byte order mark.
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new NotASecret('a text file in UTF-8 or UTF-16', { cause });
  }
}

const startsWith = (bytes: Uint8Array, prefix: readonly number[]): boolean =>
  prefix.every((byte, index) => bytes[index] === byte);

/** UTF-16 without a byte order mark: most secrets are ASCII, so every second byte is zero. */
function guessUtf16(bytes: Uint8Array): 'utf-16le' | 'utf-16be' | null {
  if (bytes.length < 2 || bytes.length % 2 !== 0) return null;
  const areZero = (offset: number): boolean =>
    bytes.every((byte, index) => index % 2 !== offset || byte === 0);
  if (areZero(1)) return 'utf-16le';
  return areZero(0) ? 'utf-16be' : null;
}
