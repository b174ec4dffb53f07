import type Database from 'better-sqlite3';

/** A deleted row. */
export interface DeletedRow {
  /** Its time, wall clock, ms. */
  readonly ms: number;
}

/** One kind of stored data, in the order in which it was stored. */
interface Kind {
  readonly oldest: Database.Statement<[], DeletedRow>;
  readonly delete: Database.Statement<[number], DeletedRow>;
}

/**
 * The oldest history of any kind. Labelled bursts do not belong to it, and neither do records that wait in the outbox:
 * deleting one would free nothing, because its payload would move to the outbox.
 */
export class OldestHistory {
  readonly #kinds: readonly Kind[];

  constructor(db: Database.Database) {
    const kind = (table: string, key: string, column: string, also = 'TRUE'): Kind => ({
      oldest: db.prepare(`SELECT ${column} AS ms FROM ${table} WHERE ${also} ORDER BY ${key} LIMIT 1`),
      delete: db.prepare(
        `DELETE FROM ${table} WHERE ${key} IN (SELECT ${key} FROM ${table} WHERE ${also} ORDER BY ${key} LIMIT ?)
           RETURNING ${column} AS ms`,
      ),
    });
    const sent = `NOT EXISTS (SELECT 1 FROM outbox q
      WHERE q.stream = 'camera:' || observations.camera AND q.seq = observations.seq)`;
    const unlabelled = `NOT EXISTS (SELECT 1 FROM labels l
      WHERE l.camera = bursts.camera AND l.observation_id = bursts.observation_id)`;
    this.#kinds = [
      kind('observations', 'row_id', 'captured_at_ms', sent),
      kind(
        'recent_bursts',
        'row_id',
        '(SELECT o.captured_at_ms FROM observations o WHERE o.row_id = recent_bursts.row_id)',
      ),
      kind('bursts', 'row_id', 'captured_at_ms', unlabelled),
      kind('sea_states', 'row_id', 'captured_at_ms'),
      kind('events', 'seq', 'at_ms'),
      kind('rejected', 'row_id', 'rejected_at_ms'),
    ];
  }

  /** Deletes up to `limit` rows of the kind that has the oldest row. Call it in a transaction. */
  delete(limit: number): readonly DeletedRow[] {
    const [oldest] = this.#kinds
      .map((kind) => ({ kind, ms: kind.oldest.get()?.ms ?? Infinity }))
      .toSorted((a, b) => a.ms - b.ms);
    return oldest && oldest.ms < Infinity ? oldest.kind.delete.all(limit) : [];
  }
}
