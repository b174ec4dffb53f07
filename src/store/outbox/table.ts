import type Database from 'better-sqlite3';
import type { Acknowledgement, OutboxEntry, OutboxFilter, RecordKind } from '../types.ts';
import type { Writer } from '../writer.ts';

export interface OutboxMessage {
  readonly stream: string;
  readonly seq: number;
  readonly topic: string;
  readonly payload: string;
}

export interface NewOutboxRow extends OutboxMessage {
  readonly rowId: number;
  /** True when the payload is in the table `observations`: the row in the outbox then has an empty payload. */
  readonly isStored: boolean;
  readonly isRequeued: boolean;
  readonly createdMonoMs: number;
  readonly createdAtMs: number;
}

/** The columns that are needed to delete a row that was rejected or dropped. */
export interface OutboxRow {
  readonly row_id: number;
  readonly stream: string;
  readonly seq: number;
  /** Size of the payload. */
  readonly bytes: number;
  readonly requeued: 0 | 1;
}

/** Selects rows with `afterRowId < row_id <= upToRowId`. */
export interface RowWindow {
  readonly afterRowId: number;
  readonly upToRowId: number;
  readonly limit: number;
}

interface Totals {
  readonly rows: number;
  readonly events: number;
  /** Total size of the payloads. */
  readonly bytes: number;
}

export const ROW_COLUMNS = 'row_id, stream, seq, size_bytes AS bytes, requeued';
/** SQL: the payload of an outbox row. If this column is empty, the payload is in the table `observations`. */
export const PAYLOAD = `CASE WHEN payload <> '' THEN payload ELSE coalesce(
    (SELECT r.payload FROM observations r WHERE r.camera = substr(stream, 8) AND r.seq = outbox.seq), '') END`;
/** SQL: columns with the names of the fields of `OutboxEntry`, so that rows can be used without a copy. */
export const ENTRY_COLUMNS = `row_id AS rowId, topic, stream, seq, ${PAYLOAD} AS payload,
    created_mono_ms AS createdMonoMs, created_at_ms AS createdAtMs`;

const STREAM_ENDS: Readonly<Record<RecordKind, string>> = { observation: '', sea_state: '/sea_state' };

/** The stream of the records of one kind of a camera. */
export const recordStream = (camera: string, kind: RecordKind): string =>
  `camera:${camera}${STREAM_ENDS[kind]}`;

/** The camera and the kind of the records of a stream; null for the stream `events`. */
export function recordsOf(stream: string): { readonly camera: string; readonly kind: RecordKind } | null {
  if (!stream.startsWith('camera:')) return null;
  const camera = stream.slice('camera:'.length);
  // The id of a camera contains no slash.
  const end = camera.indexOf('/');
  return end < 0 ? { camera, kind: 'observation' } : { camera: camera.slice(0, end), kind: 'sea_state' };
}

/**
 * Rows of the table `outbox`, with running totals. All inserts and deletes go through this class, so that the totals
 * match the table without a scan. Call the methods that write in a transaction.
 */
export class OutboxTable {
  readonly #sql: ReturnType<typeof prepare>;
  readonly #writer: Writer;
  #totals: Totals;
  /** The totals after the last commit. */
  #committed: Totals;

  constructor({ db, writer }: { readonly db: Database.Database; readonly writer: Writer }) {
    this.#sql = prepare(db);
    this.#writer = writer;
    this.#totals = this.#sql.count.get() ?? { rows: 0, events: 0, bytes: 0 };
    this.#committed = this.#totals;
    writer.onRollback(() => (this.#totals = this.#committed));
  }

  get rows(): number {
    return this.#totals.rows;
  }

  get events(): number {
    return this.#totals.events;
  }

  /** Payload bytes of all rows. */
  get bytes(): number {
    return this.#totals.bytes;
  }

  newestRowId(): number {
    return this.#sql.newest.get()?.row_id ?? 0;
  }

  entries(streams: NonNullable<OutboxFilter['streams']>, window: RowWindow): readonly OutboxEntry[] {
    return this.#sql[streams].all(window);
  }

  find(rowId: number): readonly OutboxRow[] {
    return this.#sql.between.all(rowId, rowId);
  }

  insert(row: NewOutboxRow): void {
    const sizeBytes = Buffer.byteLength(row.payload);
    this.#sql.insert.run(
      row.rowId,
      row.stream,
      row.seq,
      row.topic,
      row.isStored ? '' : row.payload,
      sizeBytes,
      row.createdMonoMs,
      row.createdAtMs,
      row.isRequeued ? 1 : 0,
    );
    this.#add({ rows: 1, events: row.stream === 'events' ? 1 : 0, bytes: sizeBytes });
    // Only agents of former versions read it. An insert changes its page anyway.
    this.#sql.setBytes.run(this.#totals.bytes);
  }

  /** Adjusts the total size after the size of a payload changed. */
  addBytes(bytes: number): void {
    this.#add({ rows: 0, events: 0, bytes });
  }

  /** Deletes rows that were rejected or dropped. */
  remove(rows: readonly OutboxRow[]): void {
    for (const { row_id: rowId, stream, bytes } of rows)
      this.#removeBetween(rowId, rowId, { rows: 1, events: stream === 'events' ? 1 : 0, bytes });
  }

  /**
   * Deletes acknowledged rows, one statement for each run of consecutive ids, and writes the time of publication to
   * their records and events. Skips rows that are no longer in the outbox.
   */
  removeAcknowledged(acknowledged: readonly Acknowledgement[]): void {
    for (const rows of splitIntoRuns(acknowledged.toSorted((a, b) => a.rowId - b.rowId))) {
      const first = rows[0]?.rowId ?? 0;
      const last = rows.at(-1)?.rowId ?? 0;
      const totals = this.#sql.totals.get(first, last);
      if (!totals || totals.rows === 0) continue;
      this.#markPublished(totals.rows === rows.length ? rows : this.#stillQueued(rows, first, last));
      this.#removeBetween(first, last, totals);
    }
  }

  #stillQueued(rows: readonly Acknowledgement[], first: number, last: number): readonly Acknowledgement[] {
    const queued = new Set(this.#sql.between.all(first, last).map(({ row_id }) => row_id));
    // `delete` is false for the second of two equal ids, so each row counts once.
    return rows.filter(({ rowId }) => queued.delete(rowId));
  }

  #markPublished(rows: readonly Acknowledgement[]): void {
    for (const { stream, firstSeq, lastSeq, publishedAtMs, historical } of groupByStream(rows)) {
      const records = recordsOf(stream);
      if (!records) this.#sql.eventsPublished.run(publishedAtMs, firstSeq, lastSeq);
      else this.#sql[records.kind].run(publishedAtMs, historical ? 1 : 0, records.camera, firstSeq, lastSeq);
    }
  }

  #removeBetween(first: number, last: number, { rows, events, bytes }: Totals): void {
    this.#sql.remove.run(first, last);
    this.#add({ rows: -rows, events: -events, bytes: -bytes });
  }

  #add({ rows, events, bytes }: Totals): void {
    const before = this.#totals;
    this.#totals = {
      rows: before.rows + rows,
      events: before.events + events,
      bytes: before.bytes + bytes,
    };
    this.#writer.afterCommit(this.#noteCommit);
  }

  readonly #noteCommit = (): void => {
    this.#committed = this.#totals;
  };
}

/** Splits rows, which are sorted by id, into runs of consecutive ids. */
function splitIntoRuns(rows: readonly Acknowledgement[]): readonly (readonly Acknowledgement[])[] {
  const runs: (readonly Acknowledgement[])[] = [];
  let start = 0;
  rows.forEach((row, index) => {
    const next = rows[index + 1];
    if (next && next.rowId <= row.rowId + 1) return;
    runs.push(rows.slice(start, index + 1));
    start = index + 1;
  });
  return runs;
}

type SeqRange = Pick<Acknowledgement, 'stream' | 'publishedAtMs' | 'historical'> & {
  readonly firstSeq: number;
  lastSeq: number;
};

/** Groups rows of one stream with consecutive numbers that were published in the same way at the same time. */
function groupByStream(rows: readonly Acknowledgement[]): readonly SeqRange[] {
  const ranges: SeqRange[] = [];
  const newest = new Map<string, SeqRange>();
  for (const { stream, seq, publishedAtMs, historical } of rows) {
    const range = newest.get(stream);
    if (
      range?.lastSeq === seq - 1 &&
      range.publishedAtMs === publishedAtMs &&
      range.historical === historical
    ) {
      range.lastSeq = seq;
      continue;
    }
    const added = { stream, firstSeq: seq, lastSeq: seq, publishedAtMs, historical };
    newest.set(stream, added);
    ranges.push(added);
  }
  return ranges;
}

function prepare(db: Database.Database) {
  const window = 'row_id > @afterRowId AND row_id <= @upToRowId ORDER BY row_id LIMIT @limit';
  const entries = `SELECT ${ENTRY_COLUMNS} FROM outbox`;
  return {
    newest: db.prepare<[], { row_id: number }>('SELECT row_id FROM outbox ORDER BY row_id DESC LIMIT 1'),
    count: db.prepare<[], Totals>(
      `SELECT count(*) AS rows, count(*) FILTER (WHERE stream = 'events') AS events,
              coalesce(sum(size_bytes), 0) AS bytes FROM outbox`,
    ),
    setBytes: db.prepare<[number]>(
      `INSERT INTO counters VALUES ('outbox_bytes', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
    ),
    insert: db.prepare(
      `INSERT INTO outbox (row_id, stream, seq, topic, payload, size_bytes, created_mono_ms, created_at_ms, requeued)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    all: db.prepare<[RowWindow], OutboxEntry>(`${entries} WHERE ${window}`),
    cameras: db.prepare<[RowWindow], OutboxEntry>(
      `${entries} WHERE stream <> 'events' AND requeued = 0 AND ${window}`,
    ),
    // These two queries need their own indexes: without them, each would scan all observations in the queue.
    events: db.prepare<[RowWindow], OutboxEntry>(
      `${entries} INDEXED BY outbox_events WHERE stream = 'events' AND ${window}`,
    ),
    requeued: db.prepare<[RowWindow], OutboxEntry>(
      `${entries} INDEXED BY outbox_requeued WHERE requeued = 1 AND ${window}`,
    ),
    between: db.prepare<[number, number], OutboxRow>(
      `SELECT ${ROW_COLUMNS} FROM outbox WHERE row_id BETWEEN ? AND ? ORDER BY row_id`,
    ),
    totals: db.prepare<[number, number], Totals>(
      `SELECT count(*) AS rows, count(*) FILTER (WHERE stream = 'events') AS events,
              coalesce(sum(size_bytes), 0) AS bytes
       FROM outbox WHERE row_id BETWEEN ? AND ?`,
    ),
    remove: db.prepare<[number, number]>('DELETE FROM outbox WHERE row_id BETWEEN ? AND ?'),
    // This statement reads only the index. A record that retention has deleted gets no row in `publications`.
    observation: db.prepare<[number, number, string, number, number]>(
      `INSERT OR REPLACE INTO publications (published_at_ms, historical, camera, seq)
       SELECT ?, ?, camera, seq FROM observations WHERE camera = ? AND seq BETWEEN ? AND ?`,
    ),
    sea_state: db.prepare<[number, number, string, number, number]>(
      'UPDATE sea_states SET published_at_ms = ?, historical = ? WHERE camera = ? AND seq BETWEEN ? AND ?',
    ),
    eventsPublished: db.prepare<[number, number, number]>(
      'UPDATE events SET published_at_ms = ? WHERE seq BETWEEN ? AND ?',
    ),
  };
}
