import { statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import type { Clock } from '../../base/clock.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Sequences } from '../sequences.ts';
import type { StoreFault } from '../types.ts';
import { markSuspect, rescue } from './quarantine.ts';

const CHECK_INTERVAL_MS = 5000;

export interface FileWatchDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** Called once, at the first fault. */
  readonly onFault?: ((fault: StoreFault) => void) | undefined;
}

/**
 * Watches the file of the open database. A process can write to a deleted, replaced or unmounted file without an error;
 * everything that it wrote is lost when it ends.
 */
export class FileWatch {
  readonly #path: string;
  readonly #deps: FileWatchDeps;
  readonly #inode: bigint;
  readonly #device: bigint;
  #checkedMonoMs = -Infinity;
  #fault: StoreFault | null = null;

  constructor(path: string, deps: FileWatchDeps) {
    this.#path = path;
    this.#deps = deps;
    const { ino, dev } = statSync(path, { bigint: true });
    this.#inode = ino;
    this.#device = dev;
  }

  /** The error code of the fault; null when there is none. */
  get code(): ErrorCode | null {
    if (this.#fault === null) return null;
    return this.#fault === 'damaged' ? 'store_corrupt' : 'store_failed';
  }

  /** Checks, at most every 5 s, that the file at the path is still the open file. */
  check(): void {
    const nowMs = this.#deps.clock.monoMs();
    if (this.#fault !== null || nowMs - this.#checkedMonoMs < CHECK_INTERVAL_MS) return;
    this.#checkedMonoMs = nowMs;
    const fault = this.#compareFile();
    if (fault !== null) this.#report(fault);
  }

  /** Records that the file is damaged: the next `open` checks a small file completely and sets a large one aside. */
  reportDamage(reason: string): void {
    const fault = this.#compareFile();
    if (fault !== null) {
      // The mark would be about the file that is at the path now.
      this.#report(fault);
      return;
    }
    try {
      markSuspect(this.#path, reason);
    } catch (thrown) {
      this.#deps.log.error({ err: thrown }, 'cannot write the mark for a suspect database');
    }
    this.#report('damaged');
  }

  /** If the open file was deleted or replaced, saves a copy of it. Call this before the database is closed. */
  rescueContent(db: Database.Database, sequences: Sequences): void {
    if (this.#fault === null || this.#fault === 'damaged') return;
    try {
      rescue(db, this.#path);
      return;
    } catch (thrown) {
      this.#deps.log.error(
        { err: thrown },
        'cannot save a copy of the database whose file was deleted or replaced',
      );
    }
    try {
      sequences.save();
    } catch (thrown) {
      this.#deps.log.error({ err: thrown }, 'cannot save the file with the sequence numbers');
    }
  }

  #compareFile(): StoreFault | null {
    try {
      const found = statSync(this.#path, { bigint: true, throwIfNoEntry: false });
      if (!found) return 'gone';
      return found.ino === this.#inode && found.dev === this.#device ? null : 'replaced';
    } catch {
      // The disk does not respond. The next write will report this.
      return null;
    }
  }

  #report(fault: StoreFault): void {
    if (this.#fault !== null) return;
    this.#fault = fault;
    this.#deps.log.error({ fault }, 'the database file is damaged, replaced or gone: reopening the store');
    this.#deps.onFault?.(fault);
  }
}
