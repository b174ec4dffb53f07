import { existsSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import { checkStartTables } from './check.ts';
import { readMigrations, type Migration } from './migrations.ts';
import { createPrivateFile } from './private-files.ts';
import {
  clearMarks,
  isMarkedUnchecked,
  markUnchecked,
  quarantine,
  readSuspectMark,
  restoreRescued,
} from './quarantine.ts';
import { salvage, type Salvage } from './salvage.ts';
import { asStoreError, isCorrupt, isFull } from './store-errors.ts';

/** Files up to this size are checked completely at each open: this takes less than a second. */
const MAX_CHECKED_BYTES = 64 * 1024 * 1024;
/**
 * Page size of a new database file. Each commit writes whole pages, so small pages make it write less. An existing file
 * keeps its page size, and its auto_vacuum, with which each commit writes pages that map pages: a sixth of all bytes.
 */
const PAGE_BYTES = 512;
/** Size that a new database file has at least: enough for about fifty records and to delete older records. */
const RESERVED_BYTES = 1024 * 1024;
/**
 * Size of the write-ahead log at which it is copied to the database file. On a full disk, the file must be able to grow by
 * this size: FullDisk keeps as much free.
 */
const CHECKPOINT_BYTES = 1024 * 1024;
/** For the check of the file in another process, see `BackgroundCheck`, and programs of operators. */
const BUSY_TIMEOUT_MS = 2000;
const MIGRATIONS = fileURLToPath(new URL('../migrations/', import.meta.url));
/** The row in `counters` with the oldest schema whose agent can use the database. Without it, only the newest one can. */
const OLDEST_READER = 'schema_compatible_from';

export interface OpenedDatabase {
  readonly db: Database.Database;
  /** Set when the file was damaged: `open` has renamed it and created a new file. */
  readonly broken: {
    readonly reason: string;
    /** The new name of the damaged file, in the same directory. */
    readonly quarantined: string;
    /** Rows that were still readable in the damaged file. */
    readonly salvage: Salvage;
  } | null;
  /**
   * Set when the previous run lost its file, because the file was replaced or deleted while in use, and this is the
   * copy that it saved. The value is the new name of the file that had replaced it; empty when there was no such file.
   */
  readonly displaced: string | null;
  /** True when the whole file must be checked while it is in use, see `BackgroundCheck`. */
  readonly isUnchecked: boolean;
}

interface CheckedDatabase {
  readonly db: Database.Database;
  readonly isUnchecked: boolean;
}

class BrokenFile extends Error {
  readonly salvage: Salvage;
  constructor(reason: string, salvaged: Salvage) {
    super(reason);
    this.salvage = salvaged;
  }
}

/**
 * Opens the database in WAL mode, such that each commit is on the disk before it returns, and migrates it to the newest
 * schema. No other program can read the file then, unless it is unchecked. If the file fails its check, renames it to
 * `….broken-{date}` and creates a new file. A file of more than `maxCheckedBytes` is not checked completely: that would
 * take minutes. The caller holds the lock of the state directory.
 * Throws `store_failed` or `store_full` when the disk refuses to read or write.
 */
export function openDatabase(
  path: string,
  nowMs: number,
  maxCheckedBytes = MAX_CHECKED_BYTES,
): OpenedDatabase {
  let displaced: string | null = null;
  try {
    displaced = restoreRescued(path, nowMs);
    return { ...openChecked(path, maxCheckedBytes), broken: null, displaced };
  } catch (error) {
    if (!(error instanceof BrokenFile)) throw asStoreError(error);
    const quarantined = quarantine(path, nowMs);
    try {
      const opened = openChecked(path, maxCheckedBytes);
      return { ...opened, displaced, broken: { reason: error.message, quarantined, salvage: error.salvage } };
    } catch (second) {
      throw second instanceof BrokenFile
        ? new AgentError('store_failed', 'a newly created database failed its check', { cause: second })
        : asStoreError(second);
    }
  }
}

function openChecked(path: string, maxCheckedBytes: number): CheckedDatabase {
  // A clean shutdown removes the write-ahead log.
  const isUnclean = existsSync(`${path}-wal`) && statSync(`${path}-wal`).size > 0;
  const isLarge = existsSync(path) && statSync(path).size > maxCheckedBytes;
  const isUnchecked = isLarge && (isUnclean || isMarkedUnchecked(path));
  const damage = readSuspectMark(path);
  let db: Database.Database | null = null;
  try {
    createPrivateFile(path);
    db = new Database(path, { timeout: BUSY_TIMEOUT_MS });
    configure(db, isUnchecked);
    const fault = isLarge ? (damage ?? checkStartTables(db)) : checkFile(db, damage !== null);
    if (fault !== null) throw new BrokenFile(fault, salvage(db));
    if (isLarge && isUnclean) tryToMarkUnchecked(path);
    migrate(db);
    reservePages(db, path);
    if (!isLarge) clearMarks(path);
    return { db, isUnchecked };
  } catch (error) {
    if (error instanceof BrokenFile || !isCorrupt(error)) {
      db?.close();
      throw error;
    }
    const salvaged = salvage(db);
    db?.close();
    throw new BrokenFile(errorCode(error) ?? 'damaged', salvaged);
  }
}

function checkFile(db: Database.Database, isSuspect: boolean): string | null {
  const verdict = String(db.pragma(isSuspect ? 'integrity_check(1)' : 'quick_check(1)', { simple: true }));
  return verdict === 'ok' ? null : verdict;
}

/** On a full disk, there is no mark: then only this run checks the file. */
function tryToMarkUnchecked(path: string): void {
  try {
    markUnchecked(path);
  } catch (error) {
    if (!isFull(error)) throw error;
  }
}

function configure(db: Database.Database, isShared: boolean): void {
  // It must come before the first table is created; it has no effect later.
  db.pragma(`page_size = ${PAGE_BYTES}`);
  if (isShared) db.pragma('journal_mode = WAL');
  else lockFile(db);
  // The default of this SQLite build in WAL mode is NORMAL, with which a power cut loses the last commits.
  db.pragma('synchronous = FULL');
  // Temporary files would go to a disk that may be a card, or to a directory that is read-only.
  db.pragma('temp_store = MEMORY');
  db.pragma('foreign_keys = ON');
  db.pragma('cache_size = -1024');
  db.pragma(`wal_autocheckpoint = ${CHECKPOINT_BYTES / pageBytes(db)}`);
  db.pragma('journal_size_limit = 4194304');
}

/**
 * Opens the write-ahead log and locks the file, so that SQLite keeps the index of the log in memory. Otherwise the index is
 * in a file, which the kernel writes every minute. While another program has the file open, the file stays shared.
 */
function lockFile(db: Database.Database, { isOpen = false } = {}): void {
  db.pragma('busy_timeout = 0');
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    // SQLite chooses the place of the index when it opens the log.
    if (isOpen) db.pragma('journal_mode = DELETE');
    db.pragma('journal_mode = WAL');
  } catch (error) {
    if (!(errorCode(error) ?? '').startsWith('SQLITE_BUSY')) throw error;
    db.pragma('locking_mode = NORMAL');
    db.pragma('journal_mode = WAL');
  } finally {
    db.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  }
}

/**
 * Locks the file of an open database, once no other process of the agent needs it. Call it outside any transaction. Does
 * nothing on a nearly full disk: the log is closed and opened again.
 */
export function stopSharing(db: Database.Database, path: string): void {
  const { bavail, bsize } = statfsSync(dirname(path));
  if (bavail * bsize > RESERVED_BYTES) lockFile(db, { isOpen: true });
}

/** Moves the write-ahead log into the file. Does not wait for readers of other processes, which could take seconds. */
export function checkpoint(db: Database.Database, mode: 'PASSIVE' | 'RESTART' | 'TRUNCATE'): void {
  db.pragma('busy_timeout = 0');
  try {
    db.pragma(`wal_checkpoint(${mode})`);
  } finally {
    db.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  }
}

const pageBytes = (db: Database.Database): number => Number(db.pragma('page_size', { simple: true }));

/**
 * Brings the database to the newest schema: runs each migration in its own transaction, which also sets `user_version`. A
 * newer agent may have migrated the database already: an update that was undone must not make it useless, so it is used
 * as it is when its migrations allow it. Throws `store_failed` when they do not.
 */
export function migrate(db: Database.Database, migrations = readMigrations(MIGRATIONS)): void {
  const newest = migrations.at(-1)?.version ?? 0;
  const found = Number(db.pragma('user_version', { simple: true }));
  if (found > newest && oldestReader(db, found) > newest)
    throw new AgentError('store_failed', 'a newer version of the agent wrote this database', {
      context: { found, newest },
    });
  for (const migration of migrations) {
    if (migration.version > found) db.transaction(() => runMigration(db, migration)).immediate();
  }
}

function runMigration(db: Database.Database, { version, sql, compatibleFrom }: Migration): void {
  const oldest = Math.max(
    compatibleFrom,
    oldestReader(db, Number(db.pragma('user_version', { simple: true }))),
  );
  db.exec(sql);
  db.pragma(`user_version = ${version}`);
  db.prepare('DELETE FROM counters WHERE name = ?').run(OLDEST_READER);
  if (oldest < version) db.prepare('INSERT INTO counters VALUES (?, ?)').run(OLDEST_READER, oldest);
}

function oldestReader(db: Database.Database, version: number): number {
  // A new database has no tables.
  if (version === 0) return 0;
  const row = db
    .prepare<[string], { value: number }>('SELECT value FROM counters WHERE name = ?')
    .get(OLDEST_READER);
  return row?.value ?? version;
}

/**
 * Adds free pages to a small file and its log, so that the next records fit even when other programs fill the disk. A
 * larger file does not need this: deleting its oldest records makes room. Does nothing if the disk is full already.
 */
function reservePages(db: Database.Database, path: string): void {
  if (Number(db.pragma('page_count', { simple: true })) * pageBytes(db) >= RESERVED_BYTES) return;
  const { bavail, bsize } = statfsSync(dirname(path));
  // The file and its log grow by the same size: together by at most a quarter of the free space.
  const bytes = Math.min(RESERVED_BYTES, (bavail * bsize) / 8);
  try {
    db.transaction(() => {
      db.exec('CREATE TABLE reserved (filler BLOB)');
      db.prepare('INSERT INTO reserved VALUES (zeroblob(?))').run(Math.floor(bytes));
      db.exec('DROP TABLE reserved');
    }).immediate();
    db.pragma('wal_checkpoint(RESTART)');
  } catch (error) {
    if (!isFull(error)) throw error;
  }
}
