import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { migrate } from './database.ts';
import { asStoreError, isCorrupt } from './store-errors.ts';

/**
 * Copies the database of a state directory, also while an agent uses it, and migrates the copy to the newest schema: a
 * proof for an update. Does nothing when there is no database, or a damaged one, which each start sets aside. Throws
 * `store_failed` when a newer version of the agent wrote the database, and `store_full`.
 */
export async function migrateCopy(stateDir: string, copyDir: string): Promise<void> {
  const path = join(stateDir, 'swellsight.db');
  if (!existsSync(path)) return;
  const copyPath = join(copyDir, 'swellsight.db');
  try {
    const original = new Database(path, { readonly: true, timeout: 10_000 });
    {
      using _original = { [Symbol.dispose]: () => original.close() };
      await original.backup(copyPath);
    }
    const copy = new Database(copyPath);
    using _copy = { [Symbol.dispose]: () => copy.close() };
    migrate(copy);
  } catch (error) {
    if (!isCorrupt(error)) throw asStoreError(error);
  }
}
