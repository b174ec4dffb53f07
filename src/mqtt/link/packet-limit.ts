import { Transform, type TransformCallback } from 'node:stream';

/** A remaining length has at most four bytes. Source: MQTT 3.1.1 section 2.2.3. */
const LENGTH_BYTES = 4;

/**
 * Passes MQTT packets on and fails at the header of one that is larger than the limit, before its bytes are gathered.
 * What comes in is the raw stream of one connection.
 */
export class PacketLimit extends Transform {
  readonly #limitBytes: number;
  /** Bytes of the packet's body that are still to come. */
  #bodyLeft = 0;
  /** Bytes of the header seen so far: 0 before the type byte. */
  #headerSeen = 0;
  #length = 0;

  constructor(limitBytes: number) {
    super();
    this.#limitBytes = limitBytes;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    for (let at = 0; at < chunk.length;) {
      if (this.#bodyLeft > 0) {
        const skipped = Math.min(this.#bodyLeft, chunk.length - at);
        this.#bodyLeft -= skipped;
        at += skipped;
      } else if (this.#tooLarge(chunk[at] ?? 0)) {
        done(new Error('the packet is larger than the broker takes'));
        return;
      } else {
        at += 1;
      }
    }
    done(null, chunk);
  }

  /** Takes one byte of a header. True when the packet must not come in. */
  #tooLarge(byte: number): boolean {
    if (this.#headerSeen === 0) {
      this.#headerSeen = 1;
      this.#length = 0;
      return false;
    }
    this.#length += (byte & 0x7f) * 128 ** (this.#headerSeen - 1);
    this.#headerSeen += 1;
    if ((byte & 0x80) !== 0) return this.#headerSeen > LENGTH_BYTES;
    this.#headerSeen = 0;
    this.#bodyLeft = this.#length;
    return this.#length > this.#limitBytes;
  }
}
