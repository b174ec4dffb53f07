import type Database from 'better-sqlite3';
import type { Clock } from '../../base/clock.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { markSuspect, rescue } from './database.ts';
import { FilePlace } from './file-place.ts';
import type { Sequences } from '../sequences.ts';

/** What only another opening mends: the file is damaged, another lies in its place, or it is gone with its folder. */
export type StoreFault = 'damaged' | 'replaced' | 'gone';

/** Watches over the file of the open database. */
export class FileFault {
  readonly #path: string;
  readonly #deps: { clock: Clock; log: Log; onBroken?: ((fault: StoreFault) => void) | undefined };
  readonly #place: FilePlace;
  #fault: StoreFault | null = null;

  constructor(
    path: string,
    deps: { clock: Clock; log: Log; onBroken?: ((fault: StoreFault) => void) | undefined },
  ) {
    this.#path = path;
    this.#deps = deps;
    this.#place = new FilePlace(path, deps);
  }

  /** As an error; null while the file is as it should be. */
  get code(): ErrorCode | null {
    if (this.#fault === null) return null;
    return this.#fault === 'damaged' ? 'store_corrupt' : 'store_failed';
  }

  /** Looks now and then whether the file still lies where it was opened. */
  look(): void {
    const fault = this.#fault === null ? this.#place.fault() : null;
    if (fault !== null) this.#found(fault);
  }

  /** Damage was met: the next opening reads the whole file. */
  damaged(): void {
    try {
      markSuspect(this.#path);
    } catch (thrown) {
      this.#deps.log.error({ err: thrown }, 'the damaged database is not marked');
    }
    this.#found('damaged');
  }

  /** Call it before the database is closed: saves what is only in a file that has lost its name. */
  closing(db: Database.Database, sequences: Sequences): void {
    if (this.#fault === null || this.#fault === 'damaged') return;
    try {
      rescue(db, this.#path);
      return;
    } catch (thrown) {
      this.#deps.log.error({ err: thrown }, 'what the lost database held could not be saved');
    }
    try {
      sequences.save();
    } catch (thrown) {
      this.#deps.log.error({ err: thrown }, 'the numbering could not be saved');
    }
  }

  #found(fault: StoreFault): void {
    if (this.#fault !== null) return;
    this.#fault = fault;
    this.#deps.log.error({ fault }, 'the database must be opened anew');
    this.#deps.onBroken?.(fault);
  }
}
