import type { Socket } from 'node:net';

const LF = 0x0a;
/** Above this the socket is not read, so that the other side waits. */
const MAX_QUEUED_BYTES = 1 << 20;

/**
 * The bytes that arrive at a socket. They stay readable after the connection fails; an async iterator of the socket
 * would discard those that nobody has read yet, and with them a whole image.
 */
export class SocketBytes {
  readonly #socket: Socket;
  readonly #chunks: Buffer[] = [];
  #queuedBytes = 0;
  #hasEnded = false;
  #failure: Error | null = null;
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#add(chunk, 'last');
      if (this.#queuedBytes > MAX_QUEUED_BYTES) socket.pause();
    });
    socket.on('error', (failure) => {
      this.#failure = failure;
      this.#end();
    });
    socket.on('end', () => this.#end());
    socket.on('close', () => this.#end());
  }

  /** The next bytes, at least one; null at the end. Throws the failure of the connection after its last bytes. */
  async read(): Promise<Buffer | null> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#queuedBytes -= chunk.length;
        this.#socket.resume();
        return chunk;
      }
      if (this.#failure) throw this.#failure;
      if (this.#hasEnded) return null;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Puts bytes back, so that the next `read` returns them. */
  unread(chunk: Buffer): void {
    if (chunk.length > 0) this.#add(chunk, 'first');
  }

  /**
   * The next line as Latin-1, without LF; null when the bytes end within it. Throws a `RangeError` above `maxBytes`.
   */
  async readLine(maxBytes: number): Promise<string | null> {
    const parts: Buffer[] = [];
    let sizeBytes = 0;
    for (;;) {
      const chunk = await this.read();
      if (chunk === null) return null;
      const lineEnd = chunk.indexOf(LF);
      const part = lineEnd === -1 ? chunk : chunk.subarray(0, lineEnd);
      parts.push(part);
      sizeBytes += part.length;
      if (sizeBytes > maxBytes) throw new RangeError(`the line is longer than ${maxBytes} bytes`);
      if (lineEnd === -1) continue;
      this.unread(chunk.subarray(lineEnd + 1));
      return Buffer.concat(parts).toString('latin1');
    }
  }

  #add(chunk: Buffer, place: 'first' | 'last'): void {
    if (place === 'first') this.#chunks.unshift(chunk);
    else this.#chunks.push(chunk);
    this.#queuedBytes += chunk.length;
    this.#wake?.();
  }

  #end(): void {
    this.#hasEnded = true;
    this.#wake?.();
  }
}
