import { Transform, type TransformCallback } from 'node:stream';

/** Maximum length of the "remaining length" field. Source: MQTT 3.1.1 section 2.2.3. */
const MAX_LENGTH_BYTES = 4;

/**
 * Passes the raw byte stream of one MQTT connection on, unchanged. The stream fails at the header of a packet that is
 * larger than the limit, before the body of this packet is buffered.
 */
export class PacketLimit extends Transform {
  readonly #limitBytes: number;
  /** Bytes of the current packet's body that have not arrived yet. */
  #bodyLeftBytes = 0;
  /** Bytes of the current header that have arrived. */
  #headerBytes = 0;
  #lengthBytes = 0;

  constructor(limitBytes: number) {
    super();
    this.#limitBytes = limitBytes;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    for (let at = 0; at < chunk.length;) {
      if (this.#bodyLeftBytes > 0) {
        const skippedBytes = Math.min(this.#bodyLeftBytes, chunk.length - at);
        this.#bodyLeftBytes -= skippedBytes;
        at += skippedBytes;
      } else if (this.#isTooLarge(chunk[at] ?? 0)) {
        done(new Error('the packet is larger than the limit'));
        return;
      } else {
        at += 1;
      }
    }
    done(null, chunk);
  }

  /** Reads one byte of a header. Returns true when the packet is too large or its length field is invalid. */
  #isTooLarge(byte: number): boolean {
    if (this.#headerBytes === 0) {
      this.#headerBytes = 1;
      this.#lengthBytes = 0;
      return false;
    }
    this.#lengthBytes += (byte & 0x7f) * 128 ** (this.#headerBytes - 1);
    this.#headerBytes += 1;
    if ((byte & 0x80) !== 0) return this.#headerBytes > MAX_LENGTH_BYTES;
    this.#headerBytes = 0;
    this.#bodyLeftBytes = this.#lengthBytes;
    return this.#lengthBytes > this.#limitBytes;
  }
}
