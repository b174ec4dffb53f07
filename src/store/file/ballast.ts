import { closeSync, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** A smaller ballast would not free enough space. */
const MIN_BALLAST_BYTES = 256 * 1024;

/**
 * A file that only reserves space on the disk. In WAL mode, deleting rows needs free space too. On a full disk, the store
 * deletes this file first, and then has the space to delete its oldest rows.
 */
export class Ballast {
  readonly #path: string;
  readonly #maxBytes: number;

  /** The size is `maxBytes`, or an eighth of the free space when that is less. */
  constructor(path: string, maxBytes: number) {
    this.#path = path;
    this.#maxBytes = maxBytes;
  }

  /** True when the ballast is released and the disk has less than `minFreeBytes` free. */
  isExhausted(minFreeBytes: number): boolean {
    return !this.#exists() && this.#freeBytes() < minFreeBytes;
  }

  /** Deletes the file. False when there was none. */
  release(): boolean {
    if (!this.#exists()) return false;
    rmSync(this.#path, { force: true });
    return true;
  }

  /** Creates the file again when the disk has enough space. Deletes an incomplete file on failure. */
  restore(): void {
    if (this.#exists()) return;
    try {
      const sizeBytes = Math.min(this.#maxBytes, Math.floor(this.#freeBytes() / 8));
      if (sizeBytes < MIN_BALLAST_BYTES) return;
      const fd = openSync(this.#path, 'w', 0o600);
      try {
        // Write the bytes: a file that is only extended with `truncate` is sparse and reserves no space.
        const block = Buffer.alloc(64 * 1024);
        for (let written = 0; written < sizeBytes; written += block.length) writeSync(fd, block);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    } catch {
      rmSync(this.#path, { force: true });
    }
  }

  #freeBytes(): number {
    const { bavail, bsize } = statfsSync(dirname(this.#path));
    return bavail * bsize;
  }

  #exists(): boolean {
    return (statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0) >= MIN_BALLAST_BYTES;
  }
}
