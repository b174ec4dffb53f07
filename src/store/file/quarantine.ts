import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type Database from 'better-sqlite3';
import { syncDirectory } from '../../base/atomic-file.ts';
import { createDirectory } from '../../base/create-directory.ts';
import { createPrivateFile } from './private-files.ts';

/** Number of damaged files that are kept for the operator. Drop policy: oldest first. */
const MAX_QUARANTINED = 3;
const DATABASE_SUFFIXES = ['-wal', '-shm', ''];

/** Renames a database file and its log to `{name}.broken-{date}`. Returns the new name. */
export function quarantine(path: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  let target = `${path}.broken-${stamp}`;
  for (let n = 2; existsSync(target); n += 1) target = `${path}.broken-${stamp}-${n}`;
  // Rename the log first: a crash between the renames must not leave an old log with a new database.
  for (const suffix of DATABASE_SUFFIXES)
    if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix);
  clearMarks(path);
  const others = quarantinedFiles(path).filter((file) => file !== target);
  for (const file of others.slice(0, Math.max(0, others.length + 1 - MAX_QUARANTINED))) deleteDatabase(file);
  return basename(target);
}

/** Deletes the oldest `….broken-{date}` file, to free space. Returns false when there is none. */
export function deleteOldestQuarantined(path: string): boolean {
  const [oldest] = quarantinedFiles(path);
  if (oldest === undefined) return false;
  deleteDatabase(oldest);
  return true;
}

/** The paths of the `….broken-{date}` files, oldest first, by the dates in their names. */
function quarantinedFiles(path: string): readonly string[] {
  const prefix = `${basename(path)}.broken-`;
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix) && !/-(wal|shm)$/.test(name))
    .sort()
    .map((name) => join(dirname(path), name));
}

function deleteDatabase(path: string): void {
  for (const suffix of DATABASE_SUFFIXES) rmSync(path + suffix, { force: true });
}

const suspectMark = (path: string): string => `${path}.suspect`;
const uncheckedMark = (path: string): string => `${path}.unchecked`;

/** Notes that damage was found, for the next `open`. Throws the errors of the file system. */
export function markSuspect(path: string, reason: string): void {
  writeMark(suspectMark(path), reason);
}

/** The damage that was noted; null when there is none. */
export function readSuspectMark(path: string): string | null {
  if (!existsSync(suspectMark(path))) return null;
  return readFileSync(suspectMark(path), 'utf8') || 'damage was found';
}

/** Notes that the whole file must be checked. The note stays until a check is complete, also across restarts. */
export function markUnchecked(path: string): void {
  if (!isMarkedUnchecked(path)) writeMark(uncheckedMark(path), '');
}

export const isMarkedUnchecked = (path: string): boolean => existsSync(uncheckedMark(path));

export function clearUncheckedMark(path: string): void {
  rmSync(uncheckedMark(path), { force: true });
}

/** Removes both marks: the file is intact, or was set aside. */
export function clearMarks(path: string): void {
  rmSync(suspectMark(path), { force: true });
  clearUncheckedMark(path);
}

function writeMark(mark: string, text: string): void {
  writeFileSync(mark, text, { mode: 0o600, flush: true });
  syncDirectory(dirname(mark));
}

const rescuedPath = (path: string): string => `${path}.rescued`;

/**
 * Copies an open database whose file was deleted or replaced. The next start continues with this copy. Throws the
 * errors of SQLite and of the file system.
 */
export function rescue(db: Database.Database, path: string): void {
  createDirectory(dirname(path));
  const part = `${rescuedPath(path)}.part`;
  rmSync(part, { force: true });
  createPrivateFile(part);
  db.prepare('VACUUM INTO ?').run(part);
  const fd = openSync(part, 'r+');
  {
    using _closed = { [Symbol.dispose]: () => closeSync(fd) };
    fsyncSync(fd);
  }
  renameSync(part, rescuedPath(path));
}

/**
 * Moves the copy that `rescue` made to the path of the database. A file that is at this path is first renamed to
 * `….broken-{date}`. Returns the new name of that file, empty when there was no file; null when there is no copy.
 */
export function restoreRescued(path: string, nowMs: number): string | null {
  rmSync(`${rescuedPath(path)}.part`, { force: true });
  if (!existsSync(rescuedPath(path))) return null;
  // The write-ahead log belongs to the lost file. The copy already contains what is in this log.
  for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
  const displaced = existsSync(path) ? quarantine(path, nowMs) : '';
  renameSync(rescuedPath(path), path);
  return displaced;
}
