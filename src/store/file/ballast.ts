import { closeSync, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** A smaller one would be of no help. */
const MIN_BYTES = 256 * 1024;

/**
 * A file of nothing, kept to be given up. In WAL mode deleting rows needs room on the disk too: on a full disk the
 * store frees this file first, and then has room to delete what is oldest.
 */
export class Ballast {
  readonly #path: string;
  readonly #sizeBytes: number;

  /** `sizeBytes`: less on a small disk, of which it takes an eighth of what is free. */
  constructor(path: string, sizeBytes: number) {
    this.#path = path;
    this.#sizeBytes = sizeBytes;
  }

  /** True when the ballast is spent and the disk has less room than `bytes`. */
  spentWithin(bytes: number): boolean {
    return !this.#present() && this.#roomBytes() < bytes;
  }

  /** Gives the space back. False when there was none to give. */
  release(): boolean {
    if (!this.#present()) return false;
    rmSync(this.#path, { force: true });
    return true;
  }

  /** Makes the file again when the disk has ample room. Failures leave no part of it behind. */
  restore(): void {
    if (this.#present()) return;
    try {
      const sizeBytes = Math.min(this.#sizeBytes, Math.floor(this.#roomBytes() / 8));
      if (sizeBytes < MIN_BYTES) return;
      const fd = openSync(this.#path, 'w', 0o600);
      try {
        // Written, not truncated to length: a sparse file would hold no space.
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

  #roomBytes(): number {
    const { bavail, bsize } = statfsSync(dirname(this.#path));
    return bavail * bsize;
  }

  #present(): boolean {
    return (statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0) >= MIN_BYTES;
  }
}
