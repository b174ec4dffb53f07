import { join } from 'node:path';
import type Database from 'better-sqlite3';
import type { Log } from '../base/log.ts';
import type { BackgroundCheck } from './file/background-check.ts';
import { Ballast } from './file/ballast.ts';
import { checkpoint } from './file/database.ts';
import { deleteOldestQuarantined } from './file/quarantine.ts';
import type { HistoryEvents } from './loss-events.ts';
import { OldestHistory } from './oldest-history.ts';
import type { SqliteOutbox } from './outbox/outbox.ts';
import type { Writer } from './writer.ts';

const MB = 1_048_576;
const MAX_BALLAST_BYTES = 4 * MB;
/** With less free space on the disk than this, and no reserve file, a write first frees pages in the database file. */
const MIN_FREE_DISK_BYTES = MB;
/** Free pages of this size are enough to store a few records and to delete others. */
const MIN_FREE_PAGE_BYTES = 256 * 1024;
/** Rows that one transaction deletes. */
const STEP_ROWS = 16;
const MAX_STEPS = 100;

export interface FullDiskDeps {
  readonly db: Database.Database;
  readonly log: Log;
  readonly writer: Writer;
  readonly outbox: SqliteOutbox;
  readonly historyEvents: HistoryEvents;
  readonly check: BackgroundCheck | null;
}

/** The reserve file of a state directory. */
export const ballastOf = (stateDir: string): Ballast =>
  new Ballast(join(stateDir, 'swellsight.ballast'), MAX_BALLAST_BYTES);

/**
 * Frees space on a full disk. Deletes the reserve file, then the databases that were set aside, then the oldest history,
 * then messages that were not sent: each only when what was deleted before is not enough, and no more than is needed.
 */
export class FullDisk {
  readonly #stateDir: string;
  readonly #deps: FullDiskDeps;
  readonly #ballast: Ballast;
  readonly #history: OldestHistory;

  constructor(stateDir: string, deps: FullDiskDeps) {
    this.#stateDir = stateDir;
    this.#deps = deps;
    this.#ballast = ballastOf(stateDir);
    this.#history = new OldestHistory(deps.db);
  }

  /** True when the next write may fill the disk so far that even deleting rows would fail. */
  isNear(): boolean {
    return this.#ballast.isExhausted(MIN_FREE_DISK_BYTES) && !this.#hasFreePages();
  }

  /** Takes one step, in the order above. Returns false when nothing is left to delete. Call it outside any transaction. Throws `store_*`. */
  freeSpace(): boolean {
    const { check, log } = this.#deps;
    // While the check reads a table, the write-ahead log only grows.
    check?.interrupt();
    if (this.#ballast.release()) {
      log.warn('the disk is full: deleted the reserve file');
      return true;
    }
    if (deleteOldestQuarantined(join(this.#stateDir, 'swellsight.db'))) {
      log.warn('the disk is full: deleted the oldest database that was set aside');
      return true;
    }
    const rows = this.#freePages();
    log.warn({ rows }, 'the disk is full: deleted the oldest rows');
    return rows > 0 || this.#hasFreePages();
  }

  /** Reports what was deleted, and creates the reserve file again when the disk has enough space. */
  tidy(): void {
    this.#deps.historyEvents.report();
    this.#ballast.restore();
  }

  /**
   * Deletes rows until the file has pages for a few records. Does not truncate the write-ahead log, which could not grow
   * again.
   */
  #freePages(): number {
    const { db } = this.#deps;
    // The write may have failed because the log could not grow: the next one starts at its beginning.
    checkpoint(db, 'RESTART');
    let deleted = 0;
    for (let step = 0; step < MAX_STEPS && !this.#hasFreePages(); step += 1) {
      const rows = this.#deleteOldest();
      checkpoint(db, 'RESTART');
      if (rows === 0) break;
      deleted += rows;
    }
    this.#deps.historyEvents.report();
    return deleted;
  }

  #deleteOldest(): number {
    const { historyEvents, outbox, writer } = this.#deps;
    return writer.write(() => {
      const deleted = this.#history.delete(STEP_ROWS);
      if (deleted.length === 0) return outbox.bounds.dropOldest(STEP_ROWS);
      historyEvents.add(deleted);
      return deleted.length;
    });
  }

  #hasFreePages(): boolean {
    const { db } = this.#deps;
    const read = (name: string): number => Number(db.pragma(name, { simple: true }));
    return read('freelist_count') * read('page_size') >= MIN_FREE_PAGE_BYTES;
  }
}
