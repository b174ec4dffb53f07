import Database from 'better-sqlite3';
import { PAYLOAD } from '../outbox/statements.ts';
import type { BurstRow, LabelRow } from '../rows.ts';

/** What could still be read from a broken file: people's readings, which nobody can measure again. */
export interface Salvage {
  readonly labels: readonly LabelRow[];
  readonly bursts: readonly BurstRow[];
  /** The numbers given out, as far as this file knew. */
  readonly counters: readonly { readonly name: string; readonly value: number }[];
}

const NOTHING: Salvage = { labels: [], bursts: [], counters: [] };

/** Reads row by row until the damage; never throws. */
export function salvage(db: Database.Database | null): Salvage {
  if (!db) return NOTHING;
  return {
    labels: rows<LabelRow>(db, 'SELECT * FROM labels'),
    bursts: rows<BurstRow>(
      db,
      `SELECT b.* FROM bursts b JOIN labels l ON l.camera = b.camera AND l.observation_id = b.observation_id`,
    ),
    counters: rows(db, `SELECT name, value FROM counters WHERE name LIKE 'seq:%'`),
  };
}

/** A message that had not been sent when its database broke. */
export interface UnsentRow {
  readonly row_id: number;
  readonly stream: string;
  readonly seq: number;
  readonly topic: string;
  readonly payload: string;
}

/**
 * Hands on what waited in the queue of a broken file, oldest first, as far as it can be read: up to the damage, and
 * after it. Never throws for what the file holds.
 */
export function salvageUnsent(path: string, take: (row: UnsentRow) => void): void {
  let db: Database.Database;
  try {
    db = new Database(path, { readonly: true, fileMustExist: true });
  } catch {
    return;
  }
  try {
    const ids = new Set<number>();
    for (const order of ['ASC', 'DESC'])
      for (const { row_id } of rows<{ row_id: number }>(
        db,
        `SELECT row_id FROM outbox NOT INDEXED ORDER BY row_id ${order}`,
      ))
        ids.add(row_id);
    for (const rowId of [...ids].sort((x, y) => x - y)) {
      const [row] = rows<UnsentRow>(
        db,
        `SELECT row_id, stream, seq, topic, ${PAYLOAD} AS payload FROM outbox NOT INDEXED WHERE row_id = ${String(rowId)}`,
      );
      if (row && isWhole(row)) take(row);
    }
  } finally {
    db.close();
  }
}

/** Whether the text is the message that the row says it is: damage may have left anything. */
function isWhole({ stream, seq, topic, payload }: UnsentRow): boolean {
  try {
    const message = JSON.parse(payload) as { seq?: unknown };
    const expected = stream === 'events' ? 'event/' : `camera/${stream.slice('camera:'.length)}/`;
    return message.seq === seq && Number.isSafeInteger(seq) && topic.startsWith(expected);
  } catch {
    return false;
  }
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
