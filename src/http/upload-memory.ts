/** As large as a usual frame; of it only what is written takes memory. */
const PIECE_BYTES = 1024 * 1024;
const MAX_FREE = 4;

/** Memory for images, used again where they are of a usual size: new memory for each would keep the collector busy. */
export class UploadMemory {
  readonly #free: Buffer[] = [];

  /** At least as large as asked for; what it holds is of no meaning. */
  take(sizeBytes: number): Buffer {
    if (sizeBytes > PIECE_BYTES) return Buffer.allocUnsafeSlow(sizeBytes);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
  }

  /** Takes it back from one who is sure that nobody reads it any more. */
  give(memory: Buffer): void {
    if (memory.length === PIECE_BYTES && this.#free.length < MAX_FREE) this.#free.push(memory);
  }
}
