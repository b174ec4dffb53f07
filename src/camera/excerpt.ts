/** Enough of the text for the excerpt, and for secrets that stand in it. */
const MAX_READ_BYTES = 16_384;
const MAX_EXCERPT_BYTES = 200;
/** Share of bytes from which on a beginning counts as text. */
const MIN_PRINTABLE01 = 0.9;

/**
 * The first 200 printable bytes of text that came in place of an image, on one line, redacted; null for other data. It has
 * no control characters, so it cannot control a terminal.
 */
export function excerptOf(bytes: Buffer, redact: (text: string) => string): string | null {
  const start = bytes.subarray(0, MAX_READ_BYTES);
  if (start.length === 0 || countPrintable(start) / start.length < MIN_PRINTABLE01) return null;
  const line = start
    .toString('utf8')
    // Characters without a shape may also turn the direction of the text.
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim();
  const redacted = Buffer.from(redact(line));
  const excerpt = redacted
    .subarray(0, MAX_EXCERPT_BYTES)
    .toString('utf8')
    .replace(/\uFFFD+$/, '');
  if (excerpt === '') return null;
  return redacted.length > MAX_EXCERPT_BYTES ? `${excerpt}…` : excerpt;
}

/** Bytes of UTF-8 above ASCII count as printable. */
function countPrintable(bytes: Buffer): number {
  let count = 0;
  for (const byte of bytes) if (byte >= 0x20 ? byte !== 0x7f : byte >= 0x09 && byte <= 0x0d) count += 1;
  return count;
}
