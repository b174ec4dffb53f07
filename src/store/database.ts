import { existsSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import Database from 'better-sqlite3';
import { AgentError } from '../errors.ts';
import { migrate } from './migrate.ts';
import { salvage, type Salvage } from './salvage.ts';
import { asStoreError, errorCode, isCorrupt } from './sqlite-errors.ts';

/** Larger files are checked at open only after an unclean end: reading them whole would delay every start. */
const ALWAYS_CHECKED_BYTES = 64 * 1024 * 1024;

export interface OpenedDatabase {
  readonly db: Database.Database;
  /** Set when the file found was broken, moved aside, and a new one begun. */
  readonly broken: {
    readonly reason: string;
    /** Name of the file now, in the same folder. */
    readonly quarantined: string;
    /** What could still be read from it. */
    readonly salvage: Salvage;
  } | null;
}

class BrokenFile extends Error {
  readonly salvage: Salvage;
  constructor(reason: string, found: Salvage) {
    super(reason);
    this.salvage = found;
  }
}

/**
 * Opens the database in WAL mode with every commit on the disk before it returns, and brings it to the newest schema.
 * A file that fails its check is renamed, never deleted, and a new one is begun. The caller holds the state lock.
 * Throws `store_failed` or `store_full` when the disk will not have it.
 */
export function openDatabase(path: string, nowMs: number): OpenedDatabase {
  try {
    return { db: openChecked(path), broken: null };
  } catch (error) {
    if (!(error instanceof BrokenFile)) throw asStoreError(error);
    const quarantined = quarantine(path, nowMs);
    try {
      const db = openChecked(path);
      return { db, broken: { reason: error.message, quarantined, salvage: error.salvage } };
    } catch (again) {
      throw again instanceof BrokenFile
        ? new AgentError('store_failed', 'a new database is broken at once', { cause: again })
        : asStoreError(again);
    }
  }
}

/** Asks for a full check at the next start: the running agent met damage that the check at open had not seen. */
export function markSuspect(path: string): void {
  writeFileSync(suspectMark(path), '');
}

const suspectMark = (path: string): string => `${path}.suspect`;

function openChecked(path: string): Database.Database {
  // A clean end removes the write-ahead log; one that is there tells of a crash or a power cut.
  const unclean = existsSync(`${path}-wal`) && statSync(`${path}-wal`).size > 0;
  const suspect = existsSync(suspectMark(path));
  const small = !existsSync(path) || statSync(path).size <= ALWAYS_CHECKED_BYTES;
  let db: Database.Database | null = null;
  try {
    db = new Database(path, { timeout: 2000 });
    configure(db);
    if (suspect || unclean || small) {
      const verdict: unknown = db.pragma(suspect ? 'integrity_check(1)' : 'quick_check(1)', { simple: true });
      if (verdict !== 'ok') throw new BrokenFile(String(verdict), salvage(db));
    }
    migrate(db);
    rmSync(suspectMark(path), { force: true });
    return db;
  } catch (error) {
    if (error instanceof BrokenFile || !isCorrupt(error)) {
      db?.close();
      throw error;
    }
    const found = salvage(db);
    db?.close();
    throw new BrokenFile(errorCode(error) ?? 'damaged', found);
  }
}

function configure(db: Database.Database): void {
  // Must stand before the first table is made; no effect on a file that has one.
  db.pragma('auto_vacuum = INCREMENTAL');
  db.pragma('journal_mode = WAL');
  // The build's default in WAL mode is NORMAL, which loses the last commits in a power cut.
  db.pragma('synchronous = FULL');
  db.pragma('foreign_keys = ON');
  db.pragma('cache_size = -1024');
  db.pragma('wal_autocheckpoint = 256');
  db.pragma('journal_size_limit = 4194304');
}

function quarantine(path: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  let target = `${path}.broken-${stamp}`;
  for (let n = 2; existsSync(target); n += 1) target = `${path}.broken-${stamp}-${n}`;
  // The log first: a crash in between must not leave an old log beside a new database.
  for (const suffix of ['-wal', '-shm', ''])
    if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix);
  rmSync(suspectMark(path), { force: true });
  return basename(target);
}
