import { statSync } from 'node:fs';
import type { Clock } from '../../base/clock.ts';

const LOOK_EVERY_MS = 5000;

/**
 * Whether the open file still lies where it was opened. A file that was deleted, replaced or unmounted can be written
 * to as before, and all of it is gone with the process.
 */
export class FilePlace {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #inode: bigint;
  readonly #device: bigint;
  #lookedMonoMs = -Infinity;
  #fault: 'replaced' | 'gone' | null = null;

  constructor(path: string, deps: { clock: Clock }) {
    this.#path = path;
    this.#clock = deps.clock;
    const { ino, dev } = statSync(path, { bigint: true });
    this.#inode = ino;
    this.#device = dev;
  }

  /** As of the last look, at most 5 s old; what was once found wrong stays so. */
  fault(): 'replaced' | 'gone' | null {
    const nowMs = this.#clock.monoMs();
    if (this.#fault !== null || nowMs - this.#lookedMonoMs < LOOK_EVERY_MS) return this.#fault;
    this.#lookedMonoMs = nowMs;
    try {
      const found = statSync(this.#path, { bigint: true, throwIfNoEntry: false });
      if (!found) this.#fault = 'gone';
      else if (found.ino !== this.#inode || found.dev !== this.#device) this.#fault = 'replaced';
    } catch {
      // A disk that does not answer is met by the writes themselves.
    }
    return this.#fault;
  }
}
