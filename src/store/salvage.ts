import type Database from 'better-sqlite3';
import type { BurstRow, LabelRow } from './rows.ts';

/** What could still be read from a broken file: people's readings, which nobody can measure again. */
export interface Salvage {
  readonly labels: readonly LabelRow[];
  readonly bursts: readonly BurstRow[];
}

const NOTHING: Salvage = { labels: [], bursts: [] };

/** Reads row by row until the damage; never throws. */
export function salvage(db: Database.Database | null): Salvage {
  if (!db) return NOTHING;
  return {
    labels: rows<LabelRow>(db, 'SELECT * FROM labels'),
    bursts: rows<BurstRow>(
      db,
      `SELECT b.* FROM bursts b JOIN labels l ON l.camera = b.camera AND l.observation_id = b.observation_id`,
    ),
  };
}

function rows<T>(db: Database.Database, sql: string): T[] {
  const found: T[] = [];
  try {
    for (const row of db.prepare<[], T>(sql).iterate()) found.push(row);
  } catch {
    // The damage is known and reported by the caller; what came before it is kept.
  }
  return found;
}
