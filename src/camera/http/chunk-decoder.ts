/** Longest line of a chunk size with its extensions. */
const MAX_LINE_BYTES = 4096;
const LF = 0x0a;

/**
 * Decodes the chunks of a body (RFC 9112, section 7.1), as many as one read of the socket delivers: a camera may send each
 * byte in a chunk of its own. The body ends with the last chunk; trailers and what follows them are of no interest.
 */
export class ChunkDecoder {
  #state: 'size' | 'data' | 'end_of_data' | 'ended' = 'size';
  #line = '';
  #lineBytes = 0;
  #chunkBytes = 0;
  #leftBytes = 0;
  /** Why the rest cannot be decoded; null while it can. */
  failure: Error | null = null;

  get hasEnded(): boolean {
    return this.#state === 'ended';
  }

  /** The data in these bytes, without copying when they are in one chunk. Everything before a fault counts. */
  push(bytes: Buffer): Buffer {
    const parts: Buffer[] = [];
    for (let at = 0; at < bytes.length && !this.hasEnded && this.failure === null;) {
      if (this.#state === 'data') {
        const part = bytes.subarray(at, at + this.#leftBytes);
        parts.push(part);
        at += part.length;
        this.#leftBytes -= part.length;
        if (this.#leftBytes === 0) this.#state = 'end_of_data';
      } else at = this.#readLine(bytes, at);
    }
    return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
  }

  /** The connection has ended. Throws when chunks are missing. */
  end(): void {
    if (this.#state === 'data')
      throw new Error(
        `the camera announced ${this.#chunkBytes} bytes and sent ${this.#chunkBytes - this.#leftBytes}`,
      );
    if (!this.hasEnded) throw new Error('the connection ended before the last chunk');
  }

  /** Reads to the end of the line, or of the bytes. Returns the index after it. */
  #readLine(bytes: Buffer, at: number): number {
    const found = bytes.indexOf(LF, at);
    const end = found === -1 ? bytes.length : found;
    this.#lineBytes += end - at;
    if (this.#lineBytes > MAX_LINE_BYTES)
      this.failure = new RangeError(`the line is longer than ${MAX_LINE_BYTES} bytes`);
    else if (this.#state === 'size') this.#line += bytes.toString('latin1', at, end);
    if (found !== -1 && this.failure === null) this.#endLine();
    return end + 1;
  }

  #endLine(): void {
    const line = this.#line;
    this.#line = '';
    this.#lineBytes = 0;
    if (this.#state === 'end_of_data') {
      this.#state = 'size';
      return;
    }
    const size = /^\s*([\da-f]{1,12})\s*(?:;|$)/i.exec(line)?.[1];
    if (size === undefined) {
      this.failure = new Error('the length of a chunk cannot be read');
      return;
    }
    this.#chunkBytes = Number.parseInt(size, 16);
    this.#leftBytes = this.#chunkBytes;
    this.#state = this.#chunkBytes === 0 ? 'ended' : 'data';
  }
}
