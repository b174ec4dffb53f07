import Database from 'better-sqlite3';
import { AgentError } from '../../base/errors.ts';
import { errorCode } from '../../base/disk-errors.ts';

/** Holds the state folder for one process. The kernel lets go of it when the process ends, however it ends. */
export interface StateLock {
  release(): void;
}

/**
 * Takes the folder's lock: an exclusive transaction, never committed, on a file of its own.
 * Throws `store_locked` when another process holds it, `store_failed` when the file cannot be opened.
 */
export function lockState(path: string): StateLock {
  let db: Database.Database;
  try {
    db = new Database(path, { timeout: 0 });
  } catch (cause) {
    throw new AgentError('store_failed', 'the lock file cannot be opened', { context: { path }, cause });
  }
  try {
    // Nothing is ever written here: without a journal there is nothing to recover.
    db.pragma('journal_mode = OFF');
    db.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    db.close();
    const busy = errorCode(cause)?.startsWith('SQLITE_BUSY') ?? false;
    throw new AgentError(busy ? 'store_locked' : 'store_failed', 'the state folder cannot be locked', {
      context: { path },
      cause,
    });
  }
  return { release: () => db.close() };
}
