import { readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import { createPrivateFile } from './private-files.ts';

/**
 * A lock that reserves the state directory for one process. The kernel releases it when the process ends in any way.
 */
export interface StateLock {
  release(): void;
}

/**
 * Takes the lock of the state directory: an exclusive SQLite transaction on a separate file, which is never committed.
 * Throws `store_locked` when another process holds it, `store_failed` when the file cannot be opened.
 */
export function lockState(path: string): StateLock {
  let db: Database.Database;
  createPrivateFile(path);
  try {
    db = new Database(path, { timeout: 0 });
  } catch (cause) {
    throw new AgentError('store_failed', 'cannot open the lock file', { context: { path }, cause });
  }
  try {
    // An exclusive transaction on an empty file opens the journal, for which a full disk has no room. The driver ignores
    // OFF: it forbids what can damage a database.
    db.pragma('journal_mode = MEMORY');
    db.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    db.close();
    const isBusy = errorCode(cause)?.startsWith('SQLITE_BUSY') ?? false;
    if (!isBusy)
      throw new AgentError('store_failed', 'cannot lock the state directory', { context: { path }, cause });
    const pid = readLockHolder(path);
    const holder = pid === null ? 'another process' : `process ${String(pid)}`;
    throw new AgentError('store_locked', `${holder} uses the state directory ${dirname(path)}`, {
      context: { path, pid },
      cause,
    });
  }
  return { release: () => db.close() };
}

/** Name of the lock file in the state directory. */
export const LOCK_FILE = 'swellsight.lock';

/**
 * The process that has taken the lock, without taking it; null when it is free or cannot be read. `pid` is null where the
 * system does not tell.
 */
export function findLockHolder(path: string): { readonly pid: number | null } | null {
  let db: Database.Database;
  try {
    db = new Database(path, { readonly: true, fileMustExist: true, timeout: 0 });
  } catch {
    return null;
  }
  using _db = { [Symbol.dispose]: () => db.close() };
  try {
    // Any read needs a shared lock.
    db.pragma('schema_version');
    return null;
  } catch (thrown) {
    return errorCode(thrown)?.startsWith('SQLITE_BUSY') === true ? { pid: readLockHolder(path) } : null;
  }
}

/** The process that holds a lock on the file; null where the system does not tell. Source: proc_locks(5). */
function readLockHolder(path: string): number | null {
  try {
    const { ino } = statSync(path);
    for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
      const [, pid, inode] = /WRITE\s+(\d+)\s+\w+:\w+:(\d+)\s/.exec(line) ?? [];
      if (Number(inode) === ino) return Number(pid);
    }
  } catch {
    // The message does not need it.
  }
  return null;
}
