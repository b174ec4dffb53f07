import type Database from 'better-sqlite3';
import type { Clock } from '../clock.ts';
import type { Sequences } from './sequences.ts';
import type { Outbox, OutboxEntry, OutboxFilter, OutboxStats } from './types.ts';
import type { Writer } from './writer.ts';

/** Rejected messages kept for the operator; older ones go. */
const REJECTED_KEPT = 1000;
const DAY_MS = 86_400_000;
const EVERYTHING = Number.MAX_SAFE_INTEGER;

export interface OutboxOptions {
  readonly maxMessages: number;
}

export interface OutboxDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly sequences: Sequences;
  readonly clock: Clock;
  /** Called after a commit in which the bound pushed rows out. */
  readonly onDropped: (count: number) => void;
}

interface Row {
  readonly row_id: number;
  readonly stream: string;
  readonly seq: number;
  readonly topic: string;
  readonly payload: string;
  readonly created_mono_ms: number;
  readonly created_at_ms: number;
}

/**
 * The queue to the broker, on the disk. A row leaves in exactly one of three ways: accepted, rejected (kept aside), or
 * dropped by the bound on count or age, oldest first, in the transaction that counts it.
 */
export class SqliteOutbox implements Outbox {
  readonly #options: OutboxOptions;
  readonly #deps: OutboxDeps;
  readonly #statements: ReturnType<typeof prepare>;
  /** Row ids are never reused within a run: the forwarder tells old rows from new ones by them. */
  #newestRowId: number;
  readonly #firstRowIdOfRun: number;
  readonly #startedMonoMs: number;
  #depth: number;
  #listener: (() => void) | null = null;

  constructor(options: OutboxOptions, deps: OutboxDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#statements = prepare(deps.db);
    this.#newestRowId = this.#statements.newest.get()?.row_id ?? 0;
    this.#firstRowIdOfRun = this.#newestRowId + 1;
    this.#startedMonoMs = deps.clock.monoMs();
    this.#depth = this.#count();
    deps.writer.onRollback(() => (this.#depth = this.#count()));
  }

  onAdded(listener: () => void): void {
    this.#listener = listener;
  }

  get newestRowId(): number {
    return this.#newestRowId;
  }

  /** Queues a message and keeps the bound on count; call it in the transaction that stores the record. */
  enqueue(message: { stream: string; seq: number; topic: string; payload: string }): void {
    const { clock } = this.#deps;
    this.#newestRowId += 1;
    this.#statements.insert.run(
      this.#newestRowId,
      message.stream,
      message.seq,
      message.topic,
      message.payload,
      clock.monoMs(),
      Math.round(clock.nowMs()),
    );
    this.#depth += 1;
    this.#drop(this.#depth - this.#options.maxMessages);
    this.#deps.writer.afterCommit(this.#announce);
  }

  next(limit: number, excluding: ReadonlySet<number>, filter: OutboxFilter = {}): readonly OutboxEntry[] {
    const { afterRowId = 0, upToRowId = EVERYTHING, streams = 'all' } = filter;
    const found: OutboxEntry[] = [];
    const rows = this.#statements[streams].all({ afterRowId, upToRowId, limit: limit + excluding.size });
    for (const row of rows) {
      if (excluding.has(row.row_id)) continue;
      if (found.length === limit) break;
      found.push({
        rowId: row.row_id,
        topic: row.topic,
        stream: row.stream,
        seq: row.seq,
        payload: row.payload,
        createdMonoMs: row.created_mono_ms,
        createdAtMs: row.created_at_ms,
      });
    }
    return found;
  }

  accepted(rowIds: readonly number[], publishedAtMs: number, historical = false): void {
    this.#deps.writer.write(() => {
      for (const rowId of rowIds) {
        const row = this.#statements.take.get(rowId);
        // Already dropped by the bound: its fate is counted.
        if (!row) continue;
        this.#depth -= 1;
        const camera = cameraOf(row.stream);
        if (camera === null) this.#statements.eventPublished.run(publishedAtMs, row.seq);
        else this.#statements.observationPublished.run(publishedAtMs, historical ? 1 : 0, camera, row.seq);
      }
    });
  }

  rejected(rowId: number, reason: string): void {
    this.#deps.writer.write(() => {
      const nowMs = Math.round(this.#deps.clock.nowMs());
      if (this.#statements.reject.run(reason, nowMs, rowId).changes === 0) return;
      this.#statements.take.get(rowId);
      this.#statements.boundRejected.run(REJECTED_KEPT);
      this.#depth -= 1;
    });
  }

  stats(): OutboxStats {
    return {
      depth: this.#depth,
      oldestAgeS: this.#oldestAgeS(),
      droppedTotal: this.#deps.sequences.droppedTotal(),
    };
  }

  /**
   * Drops what waits longer than `maxAgeMs`, at most `limit` rows. Rows of this run are aged by the monotonic clock,
   * older ones by the wall clock between `plausibleMs` and `cutoffMs`, or not at all while that is null.
   */
  dropAged(maxAgeMs: number, cutoffMs: number | null, plausibleMs: number, limit: number): number {
    return this.#deps.writer.write(() => {
      const rows = this.#statements.aged.all({
        firstOfRun: this.#firstRowIdOfRun,
        monoCutoffMs: this.#deps.clock.monoMs() - maxAgeMs,
        cutoffMs: cutoffMs ?? 0,
        plausibleMs,
        limit,
      });
      for (const { row_id } of rows) this.#statements.take.get(row_id);
      return this.#counted(rows.length);
    });
  }

  /** Drops up to `count` of the oldest rows, to free space. Returns how many. */
  dropOldest(count: number): number {
    return this.#deps.writer.write(() => this.#drop(count));
  }

  readonly #announce = (): void => this.#listener?.();

  #drop(count: number): number {
    return count <= 0 ? 0 : this.#counted(this.#statements.dropOldest.run(count).changes);
  }

  #counted(dropped: number): number {
    if (dropped === 0) return 0;
    this.#depth -= dropped;
    this.#deps.sequences.countDropped(dropped);
    this.#deps.writer.afterCommit(() => this.#deps.onDropped(dropped));
    return dropped;
  }

  #count(): number {
    return this.#statements.count.get()?.depth ?? 0;
  }

  #oldestAgeS(): number | null {
    const oldest = this.#statements.oldest.get();
    if (!oldest) return null;
    const { clock } = this.#deps;
    const ownRun = oldest.row_id >= this.#firstRowIdOfRun;
    const sinceStartMs = clock.monoMs() - this.#startedMonoMs;
    const ageMs = ownRun
      ? clock.monoMs() - oldest.created_mono_ms
      : Math.max(clock.nowMs() - oldest.created_at_ms, sinceStartMs);
    // A row that was queued before the clock was set would look decades old.
    return Math.round(Math.max(0, ageMs > 3650 * DAY_MS ? sinceStartMs : ageMs)) / 1000;
  }
}

/** The camera of a stream `camera:{id}`; null for the events. */
function cameraOf(stream: string): string | null {
  return stream.startsWith('camera:') ? stream.slice('camera:'.length) : null;
}

interface Window {
  readonly afterRowId: number;
  readonly upToRowId: number;
  readonly limit: number;
}

interface Aged {
  readonly firstOfRun: number;
  readonly monoCutoffMs: number;
  readonly cutoffMs: number;
  readonly plausibleMs: number;
  readonly limit: number;
}

function prepare(db: Database.Database) {
  const window = 'row_id > @afterRowId AND row_id <= @upToRowId';
  return {
    newest: db.prepare<[], { row_id: number }>('SELECT row_id FROM outbox ORDER BY row_id DESC LIMIT 1'),
    oldest: db.prepare<[], Row>('SELECT * FROM outbox ORDER BY row_id LIMIT 1'),
    count: db.prepare<[], { depth: number }>('SELECT count(*) AS depth FROM outbox'),
    insert: db.prepare('INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?)'),
    all: db.prepare<[Window], Row>(`SELECT * FROM outbox WHERE ${window} ORDER BY row_id LIMIT @limit`),
    cameras: db.prepare<[Window], Row>(
      `SELECT * FROM outbox WHERE ${window} AND stream <> 'events' ORDER BY row_id LIMIT @limit`,
    ),
    // By its own index: else a long queue of observations is read through for each look at the events.
    events: db.prepare<[Window], Row>(
      `SELECT * FROM outbox INDEXED BY outbox_events
       WHERE stream = 'events' AND ${window} ORDER BY row_id LIMIT @limit`,
    ),
    take: db.prepare<[number], { stream: string; seq: number }>(
      'DELETE FROM outbox WHERE row_id = ? RETURNING stream, seq',
    ),
    aged: db.prepare<[Aged], { row_id: number }>(
      `SELECT row_id FROM outbox
       WHERE (row_id >= @firstOfRun AND created_mono_ms < @monoCutoffMs)
          OR (row_id < @firstOfRun AND created_at_ms > @plausibleMs AND created_at_ms < @cutoffMs)
       ORDER BY row_id LIMIT @limit`,
    ),
    dropOldest: db.prepare<[number]>(
      'DELETE FROM outbox WHERE row_id IN (SELECT row_id FROM outbox ORDER BY row_id LIMIT ?)',
    ),
    reject: db.prepare<[string, number, number]>(
      `INSERT INTO rejected (stream, seq, topic, payload, reason, rejected_at_ms)
       SELECT stream, seq, topic, payload, ?, ? FROM outbox WHERE row_id = ?`,
    ),
    boundRejected: db.prepare<[number]>(
      'DELETE FROM rejected WHERE row_id <= (SELECT max(row_id) FROM rejected) - ?',
    ),
    observationPublished: db.prepare<[number, number, string, number]>(
      'UPDATE observations SET published_at_ms = ?, historical = ? WHERE camera = ? AND seq = ?',
    ),
    eventPublished: db.prepare<[number, number]>('UPDATE events SET published_at_ms = ? WHERE seq = ?'),
  };
}
