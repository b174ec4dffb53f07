import { readdirSync, readFileSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { AgentError } from '../../base/errors.ts';

const FOLDER = new URL('../migrations/', import.meta.url);
const FILE_NAME = /^(\d{3})-[a-z0-9-]+\.sql$/;

/**
 * Brings the database to the newest schema: each numbered file in a transaction of its own, `user_version` with it.
 * Throws `store_failed` for a database that a newer agent wrote.
 */
export function migrate(db: Database.Database): void {
  const steps = readdirSync(FOLDER)
    .flatMap((name) => {
      const match = FILE_NAME.exec(name);
      return match ? [{ name, version: Number(match[1]) }] : [];
    })
    .sort((a, b) => a.version - b.version);
  const newest = steps.at(-1)?.version ?? 0;
  const found = Number(db.pragma('user_version', { simple: true }));
  if (found > newest)
    throw new AgentError('store_failed', 'the database was written by a newer agent', {
      context: { found, newest },
    });
  for (const { name, version } of steps) {
    if (version <= found) continue;
    const sql = readFileSync(new URL(name, FOLDER), 'utf8');
    db.transaction(() => {
      db.exec(sql);
      db.pragma(`user_version = ${version}`);
    }).immediate();
  }
}
