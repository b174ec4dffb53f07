import { readSync } from 'node:fs';

/** Memory that is kept for later frames; rarely one is larger. */
const KEPT_BYTES = 2 * 2 ** 20;

/** The vision process's end of the pipe on which frames come. */
export class FrameInbox {
  readonly #fd: number;
  /** In turn: the frame before is still looked at while one is read. */
  #kept = new Uint8Array(0);
  #next = new Uint8Array(0);

  constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * The next `sizeBytes` bytes; they stand until the call after the next. Waits for them with the thread held, which spares a
   * turn of the event loop for each 64 KB: the control process writes them with the request, and when it is stopped
   * or gone there is nothing else to do. Throws when the pipe ends before.
   */
  read(sizeBytes: number): Uint8Array {
    const bytes = this.#room(sizeBytes);
    for (let at = 0; at < sizeBytes;) {
      const taken = readSync(this.#fd, bytes, at, sizeBytes - at, null);
      if (taken === 0) throw new Error(`the frame pipe ended after ${at} of ${sizeBytes} bytes`);
      at += taken;
    }
    return bytes;
  }

  #room(sizeBytes: number): Uint8Array {
    if (sizeBytes > KEPT_BYTES) return new Uint8Array(sizeBytes);
    [this.#kept, this.#next] = [this.#next, this.#kept];
    if (this.#kept.length < sizeBytes) this.#kept = new Uint8Array(sizeBytes);
    return this.#kept.subarray(0, sizeBytes);
  }
}
