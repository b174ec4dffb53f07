import type { FileHandle } from 'node:fs/promises';

const WINDOW_BYTES = 64 * 1024;

/** A moving window over a file, for reading here and there without holding the whole. */
export class FileWindow {
  readonly #file: FileHandle;
  readonly #buffer = Buffer.alloc(WINDOW_BYTES);
  #start = 0;
  #size = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Makes `size` bytes (at most 64 KiB) from `at` readable; what lies past the end of the file reads as zero. */
  async reach(at: number, size: number): Promise<void> {
    if (at >= this.#start && at + size <= this.#start + this.#size) return;
    const { bytesRead } = await this.#file.read(this.#buffer, 0, WINDOW_BYTES, at);
    this.#buffer.fill(0, bytesRead);
    this.#start = at;
    this.#size = WINDOW_BYTES;
  }

  byte(at: number): number {
    return this.#buffer[at - this.#start] ?? 0;
  }

  text(start: number, end: number): string {
    return this.#buffer.toString('utf8', start - this.#start, end - this.#start);
  }
}
