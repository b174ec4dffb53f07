import { rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** A smaller reserve file would not free enough space. */
const MIN_BALLAST_BYTES = 256 * 1024;

/**
 * The reserve file: it only reserves space on the disk. In WAL mode, even deleting rows needs free space. On a full
 * disk, the store deletes this file first, and then has the space to delete its oldest rows.
 */
export class Ballast {
  readonly #path: string;
  readonly #maxBytes: number;

  /** The size of the file is `maxBytes`, or an eighth of the free space if this is less. */
  constructor(path: string, maxBytes: number) {
    this.#path = path;
    this.#maxBytes = maxBytes;
  }

  /** True when the reserve file does not exist and the disk has less than `minFreeBytes` free. */
  isExhausted(minFreeBytes: number): boolean {
    return !this.#exists() && this.#freeBytes() < minFreeBytes;
  }

  /** Deletes the reserve file. Returns false when it did not exist. */
  release(): boolean {
    if (!this.#exists()) return false;
    rmSync(this.#path, { force: true });
    return true;
  }

  /** Creates the reserve file again if the disk has enough space. After a failure, deletes the incomplete file. */
  restore(): void {
    if (this.#exists()) return;
    try {
      const sizeBytes = Math.min(this.#maxBytes, Math.floor(this.#freeBytes() / 8));
      if (sizeBytes < MIN_BALLAST_BYTES) return;
      // Write the bytes: a file that is only extended with `truncate` is sparse and reserves no space.
      writeFileSync(this.#path, Buffer.alloc(sizeBytes), { mode: 0o600, flush: true });
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
