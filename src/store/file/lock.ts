import Database from 'better-sqlite3';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';

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
  try {
    db = new Database(path, { timeout: 0 });
  } catch (cause) {
    throw new AgentError('store_failed', 'cannot open the lock file', { context: { path }, cause });
  }
  try {
    // Nothing is written to this file, so it needs no journal.
    db.pragma('journal_mode = OFF');
    db.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    db.close();
    const isBusy = errorCode(cause)?.startsWith('SQLITE_BUSY') ?? false;
    throw new AgentError(
      isBusy ? 'store_locked' : 'store_failed',
      isBusy ? 'another process uses the state directory' : 'cannot lock the state directory',
      { context: { path }, cause },
    );
  }
  return { release: () => db.close() };
}
