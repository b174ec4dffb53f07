import Database from 'better-sqlite3';
import { errorCode } from '../../base/disk-errors.ts';
import { isCorrupt } from './store-errors.ts';

const BUSY_TIMEOUT_MS = 10_000;
/** The tables without which the agent cannot start. They have limits that do not depend on the length of the history. */
const START_TABLES = ['counters', 'memory', 'labels', 'commands', 'outbox', 'unsynced'];

/** What the process of `check-process.ts` sends when its check is complete. */
export interface CheckReport {
  /** The first fault; null when there is none. */
  readonly fault: string | null;
}

/** Checks the tables that each start needs. Returns the first fault; null when there is none. */
export function checkStartTables(db: Database.Database): string | null {
  return firstFault(
    db,
    tablesOf(db).filter((table) => START_TABLES.includes(table)),
  );
}

/**
 * Checks all tables of a file with their indexes, which takes minutes for years of records. Each table is read in a
 * transaction of its own, so that the write-ahead log can be emptied between two of them. Returns the first fault; null
 * when there is none. Throws the errors of SQLite that do not report damage.
 */
export function checkAllTables(path: string): string | null {
  const db = new Database(path, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
  using _db = { [Symbol.dispose]: () => db.close() };
  try {
    // A check reads most pages once.
    db.pragma('cache_size = -2048');
    return firstFault(db, tablesOf(db));
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    return errorCode(error);
  }
}

function tablesOf(db: Database.Database): readonly string[] {
  return db
    .prepare<[], { name: string }>(`SELECT name FROM sqlite_schema WHERE type = 'table'`)
    .all()
    .map(({ name }) => name);
}

function firstFault(db: Database.Database, tables: readonly string[]): string | null {
  for (const table of tables) {
    const verdict = String(db.pragma(`quick_check('${table}')`, { simple: true }));
    if (verdict !== 'ok') return `${table}: ${verdict}`;
  }
  return null;
}
