import type Database from 'better-sqlite3';
import type { OutboxEntry } from '../types.ts';

/** What is known of a row when it leaves. */
export interface Found {
  readonly row_id: number;
  readonly stream: string;
  readonly seq: number;
  /** Size of the payload. */
  readonly bytes: number;
  readonly requeued: number;
}

/** What some rows come to. */
export interface Sum {
  readonly rows: number;
  readonly events: number;
  /** Of their payloads. */
  readonly bytes: number;
}

interface Window {
  readonly afterRowId: number;
  readonly upToRowId: number;
  readonly limit: number;
}

/** The event that tells of drops: the one message that no bound takes. */
const TELLS_OF_DROPS = `'event/outbox_dropped'`;
const FOUND = 'row_id, stream, seq, size_bytes AS bytes, requeued';
/** The payload of a row of the outbox, which for a stored record is that of the record. */
export const PAYLOAD = `CASE WHEN payload <> '' THEN payload ELSE coalesce(
    (SELECT r.payload FROM observations r WHERE r.camera = substr(stream, 8) AND r.seq = outbox.seq), '') END`;

/** The camera of a stream `camera:{id}`; null for the events. */
export function cameraOf(stream: string): string | null {
  return stream.startsWith('camera:') ? stream.slice('camera:'.length) : null;
}

export function prepareOutbox(db: Database.Database) {
  const window = 'row_id > @afterRowId AND row_id <= @upToRowId ORDER BY row_id LIMIT @limit';
  // As entries, so that no row is copied.
  const rows = `SELECT row_id AS rowId, topic, stream, seq, ${PAYLOAD} AS payload,
      created_mono_ms AS createdMonoMs, created_at_ms AS createdAtMs FROM outbox`;
  return {
    newest: db.prepare<[], { row_id: number }>('SELECT row_id FROM outbox ORDER BY row_id DESC LIMIT 1'),
    oldest: db.prepare<[], OutboxEntry>(`${rows} ORDER BY row_id LIMIT 1`),
    count: db.prepare<[], { depth: number; events: number }>(
      `SELECT count(*) AS depth, count(*) FILTER (WHERE stream = 'events') AS events
       FROM outbox INDEXED BY outbox_numbers`,
    ),
    bytes: db.prepare<[], { value: number }>(`SELECT value FROM counters WHERE name = 'outbox_bytes'`),
    setBytes: db.prepare<[number]>(
      `INSERT INTO counters VALUES ('outbox_bytes', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
    ),
    insert: db.prepare(
      `INSERT INTO outbox (row_id, stream, seq, topic, payload, size_bytes, created_mono_ms, created_at_ms, requeued)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    all: db.prepare<[Window], OutboxEntry>(`${rows} WHERE ${window}`),
    cameras: db.prepare<[Window], OutboxEntry>(
      `${rows} WHERE stream <> 'events' AND requeued = 0 AND ${window}`,
    ),
    // By their own indexes: else a long queue of observations is read through for each look.
    events: db.prepare<[Window], OutboxEntry>(
      `${rows} INDEXED BY outbox_events WHERE stream = 'events' AND ${window}`,
    ),
    requeued: db.prepare<[Window], OutboxEntry>(
      `${rows} INDEXED BY outbox_requeued WHERE requeued = 1 AND ${window}`,
    ),
    found: db.prepare<[number, number], Found>(
      `SELECT ${FOUND} FROM outbox WHERE row_id BETWEEN ? AND ? ORDER BY row_id`,
    ),
    sum: db.prepare<[number, number], Sum>(
      `SELECT count(*) AS rows, count(*) FILTER (WHERE stream = 'events') AS events,
              coalesce(sum(size_bytes), 0) AS bytes
       FROM outbox WHERE row_id BETWEEN ? AND ?`,
    ),
    remove: db.prepare<[number, number]>('DELETE FROM outbox WHERE row_id BETWEEN ? AND ?'),
    ages: db.prepare<[number, number], Found & { created_mono_ms: number; created_at_ms: number }>(
      `SELECT ${FOUND}, created_mono_ms, created_at_ms FROM outbox
       WHERE row_id > ? AND topic <> ${TELLS_OF_DROPS} ORDER BY row_id LIMIT ?`,
    ),
    oldestOf: {
      requeued: db.prepare<[number], Found>(
        `SELECT ${FOUND} FROM outbox INDEXED BY outbox_requeued WHERE requeued = 1 ORDER BY row_id LIMIT ?`,
      ),
      cameras: db.prepare<[number], Found>(
        `SELECT ${FOUND} FROM outbox WHERE stream <> 'events' AND requeued = 0 ORDER BY row_id LIMIT ?`,
      ),
      events: db.prepare<[number], Found>(
        `SELECT ${FOUND} FROM outbox INDEXED BY outbox_events
         WHERE stream = 'events' AND topic <> ${TELLS_OF_DROPS} ORDER BY row_id LIMIT ?`,
      ),
    },
    reject: db.prepare<[string, number, number]>(
      `INSERT INTO rejected (stream, seq, topic, payload, reason, rejected_at_ms)
       SELECT stream, seq, topic, ${PAYLOAD}, ?, ? FROM outbox WHERE row_id = ?`,
    ),
    boundRejected: db.prepare<[number]>(
      'DELETE FROM rejected WHERE row_id <= (SELECT max(row_id) FROM rejected) - ?',
    ),
    eventRow: db.prepare<[number], { row_id: number; bytes: number }>(
      `SELECT row_id, size_bytes AS bytes FROM outbox WHERE stream = 'events' AND seq = ?`,
    ),
    waitingRow: db.prepare<[string, number], OutboxEntry>(`${rows} WHERE stream = ? AND seq = ?`),
    // A stored record is mended where it is kept.
    retime: db.prepare<[string, number, number, number]>(
      `UPDATE outbox SET payload = CASE WHEN payload = '' THEN '' ELSE ? END, size_bytes = ?, created_at_ms = ?
       WHERE row_id = ?`,
    ),
    amend: db.prepare<[string, number, number]>(
      'UPDATE outbox SET payload = ?, size_bytes = ? WHERE row_id = ?',
    ),
    stored: db.prepare<[string, number, number, number], { seq: number; waiting: number; payload: string }>(
      `SELECT o.seq, EXISTS (SELECT 1 FROM outbox q WHERE q.stream = 'camera:' || o.camera AND q.seq = o.seq) AS waiting,
              o.payload
       FROM observations o WHERE o.camera = ? AND o.seq BETWEEN ? AND ? ORDER BY o.seq LIMIT ?`,
    ),
    waiting: db.prepare<[string, number, number], { waiting: number }>(
      'SELECT count(*) AS waiting FROM outbox WHERE stream = ? AND seq BETWEEN ? AND ?',
    ),
    // From the index alone; a record that retention has deleted needs no note.
    published: db.prepare<[number, number, string, number, number]>(
      `INSERT OR REPLACE INTO publications (published_at_ms, historical, camera, seq)
       SELECT ?, ?, camera, seq FROM observations WHERE camera = ? AND seq BETWEEN ? AND ?`,
    ),
    eventsPublished: db.prepare<[number, number, number]>(
      'UPDATE events SET published_at_ms = ? WHERE seq BETWEEN ? AND ?',
    ),
  };
}
