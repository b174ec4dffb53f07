/** One unit of an RTSP connection: a message, or a packet of a media stream between the messages (RFC 2326, 10.12). */
export type RtspUnit = RtspMessage | Buffer;

export interface RtspMessage {
  /** `DESCRIBE rtsp://… RTSP/1.0`, or `RTSP/1.0 200 OK`. */
  readonly startLine: string;
  /** Header lines, without carriage returns. Lines that are no headers are left out. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

const MAX_HEAD_BYTES = 64 * 1024;
const MAX_BODY_BYTES = 1024 * 1024;
/** Before the first message. */
const MAX_SKIPPED_BYTES = 1024;
const DOLLAR = 0x24;
const CR = 0x0d;
const LF = 0x0a;
const CRLF = Buffer.of(CR, LF);
const MESSAGE_START = /^(RTSP\/\d|[A-Z_]{3,16} )/;
const MAX_START_CHARS = 17;
const HEADER = /^[\w-]+[ \t]*:/;

/** The stream is not RTSP. */
export class NotRtsp extends Error {}

/** Divides the bytes of an RTSP connection into units. Skips bytes between units that begin none, as some cameras send. */
export class RtspParser {
  #rest: Buffer = Buffer.alloc(0);
  #skippedBytes = 0;
  #hasUnit = false;

  /** Throws `NotRtsp` for a message beyond the limits, and for a stream that begins as something else. */
  push(chunk: Buffer): RtspUnit[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const units: RtspUnit[] = [];
    for (let unit = this.#next(); unit !== null; unit = this.#next()) units.push(unit);
    return units;
  }

  #next(): RtspUnit | null {
    this.#skipToStart();
    const rest = this.#rest;
    if (rest.length < 4) return null;
    if (rest[0] === DOLLAR) return this.#take(4 + rest.readUInt16BE(2));
    const headBytes = findHeadEnd(rest);
    if (headBytes === null) {
      if (rest.length >= MAX_HEAD_BYTES) throw new NotRtsp('a message without an end');
      return null;
    }
    const head = rest.toString('latin1', 0, headBytes);
    const [startLine = '', ...lines] = head.replaceAll('\r', '').split('\n');
    // Programs differ in what they take for the end of a message within other lines.
    const headers = lines.filter((line) => HEADER.test(line));
    const bodyBytes = Number.parseInt(headerOf(headers, 'content-length') ?? '0', 10);
    if (!(bodyBytes >= 0 && bodyBytes <= MAX_BODY_BYTES)) throw new NotRtsp('a message that is too large');
    const bytes = this.#take(head.length + bodyBytes);
    return bytes && { startLine, headers, body: bytes.subarray(head.length) };
  }

  #skipToStart(): void {
    const rest = this.#rest;
    let start = 0;
    while (start < rest.length && !canBegin(rest, start)) start += 1;
    this.#skippedBytes += start;
    if (
      !this.#hasUnit &&
      (this.#skippedBytes > MAX_SKIPPED_BYTES || /^(HTTP\/|SSH-|<)/.test(rest.toString('latin1', 0, 5)))
    )
      throw new NotRtsp('the stream begins with something else');
    this.#rest = rest.subarray(start);
  }

  #take(bytes: number): Buffer | null {
    if (this.#rest.length < bytes) return null;
    const taken = this.#rest.subarray(0, bytes);
    this.#hasUnit = true;
    this.#rest = this.#rest.subarray(bytes);
    return taken;
  }
}

/** Whether a unit begins at this index. More bytes may follow. */
function canBegin(bytes: Buffer, at: number): boolean {
  const first = bytes[at] ?? 0;
  if (first === DOLLAR) return true;
  // A to Z and _: the decision for most bytes, without a string.
  if ((first < 0x41 || first > 0x5a) && first !== 0x5f) return false;
  const text = bytes.toString('latin1', at, at + MAX_START_CHARS);
  return (
    MESSAGE_START.test(text) || (text.length < MAX_START_CHARS && /^(R|RT|RTS|RTSP\/?|[A-Z_]+)$/.test(text))
  );
}

/** Length of a head with its empty line; null while that has not arrived. */
function findHeadEnd(bytes: Buffer): number | null {
  const head = bytes.subarray(0, MAX_HEAD_BYTES);
  for (let at = head.indexOf(LF); at !== -1; at = head.indexOf(LF, at + 1)) {
    if (head[at + 1] === LF) return at + 2;
    if (head[at + 1] === CR && head[at + 2] === LF) return at + 3;
  }
  return null;
}

/** The value of a header; the values of repeated ones joined by commas. */
export function headerOf(headers: readonly string[], name: string): string | null {
  const values = headers.flatMap((line) => {
    const colon = line.indexOf(':');
    return line.slice(0, colon).trim().toLowerCase() === name ? [line.slice(colon + 1).trim()] : [];
  });
  return values.length === 0 ? null : values.join(', ');
}

/** The headers with another value of one header; null: without it. */
export const replaceHeader = (
  headers: readonly string[],
  name: string,
  value: string | null,
): readonly string[] => [
  ...headers.filter((line) => line.slice(0, line.indexOf(':')).trim().toLowerCase() !== name.toLowerCase()),
  ...(value === null ? [] : [`${name}: ${value}`]),
];

/**
 * Writes a message with the length of its body, so that the reader sees the same end: another message may follow. Throws
 * `NotRtsp` for a line with a line break in it, which would begin another message.
 */
export function serializeRtsp({ startLine, headers, body }: RtspMessage): Buffer {
  const lines = replaceHeader(headers, 'Content-Length', body.length === 0 ? null : String(body.length));
  // The encoding keeps the lowest byte of a character, so U+010A would become a line break.
  const bytes = [startLine, ...lines].map((line) => Buffer.from(line, 'latin1'));
  if (bytes.some((line) => line.includes(LF) || line.includes(CR)))
    throw new NotRtsp('a line break in a line');
  return Buffer.concat([...bytes.flatMap((line) => [line, CRLF]), CRLF, body]);
}
