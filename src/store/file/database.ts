import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { AgentError } from '../../base/errors.ts';
import { makeFolder } from '../../base/make-folder.ts';
import { migrate } from './migrate.ts';
import { salvage, type Salvage } from './salvage.ts';
import { errorCode } from '../../base/disk-errors.ts';
import { asStoreError, isCorrupt, isFull } from './store-errors.ts';

/** Larger files are checked at open only after an unclean end: reading them whole would delay every start. */
const ALWAYS_CHECKED_BYTES = 64 * 1024 * 1024;

/** 1 MB: what about fifty records take, and the deleting of older ones. */
const RESERVED_PAGES = 256;
/** Broken files kept for whoever wants to look into them; the oldest go. */
const QUARANTINED_KEPT = 3;

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
  /**
   * Set when this is the rescued content of a file that had been replaced in use: the name of what lay in its place now,
   * empty when nothing did.
   */
  readonly displaced: string | null;
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
 * A file that fails its check is renamed, and a new one is begun; the last three such files are kept. The caller holds
 * the state lock.
 * Throws `store_failed` or `store_full` when the disk will not have it.
 */
export function openDatabase(path: string, nowMs: number): OpenedDatabase {
  let displaced: string | null = null;
  try {
    displaced = adoptRescued(path, nowMs);
    return { db: openChecked(path), broken: null, displaced };
  } catch (error) {
    if (!(error instanceof BrokenFile)) throw asStoreError(error);
    const quarantined = quarantine(path, nowMs);
    try {
      const db = openChecked(path);
      return { db, displaced, broken: { reason: error.message, quarantined, salvage: error.salvage } };
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

/**
 * Saves what an open database holds, for its file was taken away or replaced: the next `openDatabase` goes on with it,
 * and sets aside what has taken its place. Throws as SQLite and the file system do.
 */
export function rescue(db: Database.Database, path: string): void {
  makeFolder(dirname(path));
  const part = `${rescued(path)}.part`;
  rmSync(part, { force: true });
  db.prepare('VACUUM INTO ?').run(part);
  const fd = openSync(part, 'r+');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(part, rescued(path));
}

const rescued = (path: string): string => `${path}.rescued`;

function adoptRescued(path: string, nowMs: number): string | null {
  rmSync(`${rescued(path)}.part`, { force: true });
  if (!existsSync(rescued(path))) return null;
  // They are the lost file's, and what they held is in the rescued one.
  for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
  const displaced = existsSync(path) ? quarantine(path, nowMs) : '';
  renameSync(rescued(path), path);
  return displaced;
}

/** Deletes the oldest of the files that were set aside. False when there is none. */
export function deleteOldestQuarantined(path: string): boolean {
  const [oldest] = quarantinedFiles(path);
  if (oldest === undefined) return false;
  for (const suffix of ['-wal', '-shm', '']) rmSync(oldest + suffix, { force: true });
  return true;
}

/** Oldest first, as far as the dates in their names can be believed. */
function quarantinedFiles(path: string): readonly string[] {
  const prefix = `${basename(path)}.broken-`;
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix) && !/-(wal|shm)$/.test(name))
    .sort()
    .map((name) => join(dirname(path), name));
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
    reserve(db, path);
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

/**
 * Grows a small file and its log by pages that are free inside, so that a disk that others fill leaves room for the next
 * records; in a larger one the oldest records make it. A disk that is full by now has none to give.
 */
function reserve(db: Database.Database, path: string): void {
  if (Number(db.pragma('page_count', { simple: true })) >= RESERVED_PAGES) return;
  const { bavail, bsize } = statfsSync(dirname(path));
  // In the file and in its log: a quarter of what is free at most.
  const bytes = Math.min(
    RESERVED_PAGES * Number(db.pragma('page_size', { simple: true })),
    (bavail * bsize) / 8,
  );
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

function quarantine(path: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  let target = `${path}.broken-${stamp}`;
  for (let n = 2; existsSync(target); n += 1) target = `${path}.broken-${stamp}-${n}`;
  // The log first: a crash in between must not leave an old log beside a new database.
  for (const suffix of ['-wal', '-shm', ''])
    if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix);
  rmSync(suspectMark(path), { force: true });
  const others = quarantinedFiles(path).filter((file) => file !== target);
  for (const file of others.slice(0, Math.max(0, others.length + 1 - QUARANTINED_KEPT)))
    for (const suffix of ['-wal', '-shm', '']) rmSync(file + suffix, { force: true });
  return basename(target);
}
