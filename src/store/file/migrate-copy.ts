import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  openSync,
  readSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import { migrate } from './database.ts';
import { asStoreError, isCorrupt } from './store-errors.ts';

/** With an observation a minute, the log begins anew every half hour. */
const MAX_COPIES = 5;
const LOG_HEADER_BYTES = 32;

/**
 * Copies the database of a state directory, also while an agent uses it, and migrates the copy to the newest schema: a
 * proof for an update. Does nothing when there is no database, or a damaged one, which each start sets aside. Throws
 * `store_failed` when a newer version of the agent wrote the database, and `store_full`.
 */
export function migrateCopy(stateDir: string, copyDir: string): void {
  const path = join(stateDir, 'swellsight.db');
  if (!existsSync(path)) return;
  const copyPath = join(copyDir, 'swellsight.db');
  try {
    copyDatabase(path, copyPath);
    const copy = new Database(copyPath);
    using _copy = { [Symbol.dispose]: () => copy.close() };
    migrate(copy);
  } catch (error) {
    if (!isCorrupt(error)) throw asStoreError(error);
  }
}

/**
 * Copies the file and then its log, without SQLite: the agent has locked them. What changes in the file meanwhile is also
 * in the log, unless the log began anew: then copies both again. Throws the errors of the file system, and `store_failed` if
 * the log begins anew each time.
 */
export function copyDatabase(path: string, copyPath: string): void {
  for (let copies = 0; copies < MAX_COPIES; copies += 1) {
    const before = readLogStart(path);
    rmSync(`${copyPath}-wal`, { force: true });
    copyFileSync(path, copyPath, constants.COPYFILE_FICLONE);
    try {
      copyFileSync(`${path}-wal`, `${copyPath}-wal`);
    } catch (error) {
      // A clean stop removes the log.
      if (errorCode(error) !== 'ENOENT') throw error;
    }
    if (readLogStart(path) === before) return;
  }
  throw new AgentError('store_failed', 'the database changes too fast to be copied');
}

/** Changes when the log begins anew (https://sqlite.org/walformat.html); without a log, when the file changes. */
function readLogStart(path: string): string {
  const bytes = Buffer.alloc(LOG_HEADER_BYTES);
  const log = existsSync(`${path}-wal`) ? openSync(`${path}-wal`, 'r') : null;
  using _log = { [Symbol.dispose]: () => log !== null && closeSync(log) };
  const isEmpty = log === null || readSync(log, bytes) === 0;
  return isEmpty ? String(statSync(path).mtimeMs) : bytes.toString('hex');
}
