// INVARIANTS
// 1. A message is queued in the transaction that stores its record or event. Neither exists without the other.
// 2. A row leaves the outbox in exactly one of three ways: acknowledged (the broker sent a PUBACK), rejected (moved to
//    the table `rejected`), or dropped because of a limit (and counted in the same transaction).
// 3. A row that the forwarder is sending is never dropped and never changed.
// 4. Row ids grow and are never reused within a run: the forwarder uses them to tell old rows from new ones.
import type Database from 'better-sqlite3';
import type { Clock } from '../../base/clock.ts';
import type { Sequences } from '../sequences.ts';
import type {
  Acknowledgement,
  Outbox,
  OutboxEntry,
  OutboxFilter,
  OutboxStats,
  RecordKind,
  RequeueResult,
} from '../types.ts';
import type { Writer } from '../writer.ts';
import { OutboxBounds, type OutboxLimits } from './bounds.ts';
import { Requeue } from './requeue.ts';
import { ENTRY_COLUMNS, OutboxTable, PAYLOAD, recordStream, type OutboxMessage } from './table.ts';

/** Number of rejected messages that are kept for the operator. Drop policy: oldest first. */
const MAX_REJECTED = 1000;
/** Ten years. An older row was queued before the clock was set: it only looks decades old. */
const MAX_PLAUSIBLE_AGE_MS = 3650 * 86_400_000;

export interface OutboxDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly sequences: Sequences;
  readonly clock: Clock;
  /** Called after a commit that dropped records. */
  readonly onDropped: () => void;
  /** Called with the rows that `next` returns: the forwarder may publish them from then on. */
  readonly onHandedOut: (entries: readonly OutboxEntry[]) => void;
}

export interface QueuedMessage {
  readonly payload: string;
  /** Wall clock, ms; 0 when unknown. */
  readonly createdAtMs: number;
}

type RowAge = Pick<OutboxEntry, 'rowId' | 'createdMonoMs' | 'createdAtMs'>;

/** The queue of messages to the broker, in SQLite. See INVARIANTS above, and `OutboxBounds` for the drop policy. */
export class SqliteOutbox implements Outbox {
  readonly bounds: OutboxBounds;
  readonly #deps: OutboxDeps;
  readonly #table: OutboxTable;
  readonly #requeue: Readonly<Record<RecordKind, Requeue>>;
  readonly #sql: ReturnType<typeof prepare>;
  readonly #firstRowIdOfRun: number;
  readonly #startedMonoMs: number;
  #newestRowId: number;
  /** Changes with each rewritten row. Together with `bounds.revision`, it makes `revision`. */
  #rewrites = 0;
  #listener: (() => void) | null = null;

  constructor(limits: OutboxLimits, deps: OutboxDeps) {
    this.#deps = deps;
    this.#sql = prepare(deps.db);
    this.#requeue = {
      observation: new Requeue(deps.db, 'observations'),
      sea_state: new Requeue(deps.db, 'sea_states'),
    };
    this.#table = new OutboxTable(deps);
    this.#newestRowId = this.#table.newestRowId();
    this.#firstRowIdOfRun = this.#newestRowId + 1;
    this.#startedMonoMs = deps.clock.monoMs();
    this.bounds = new OutboxBounds(limits, {
      ...deps,
      table: this.#table,
      firstRowIdOfRun: this.#firstRowIdOfRun,
    });
  }

  onAdded(listener: () => void): void {
    this.#listener = listener;
  }

  protect(rowIds: ReadonlySet<number>): void {
    this.bounds.protect(rowIds);
  }

  get newestRowId(): number {
    return this.#newestRowId;
  }

  get revision(): number {
    return this.#rewrites + this.bounds.revision;
  }

  /**
   * Queues a message and enforces the bounds. Call it in the transaction that stores the record. `isStored`: the
   * payload is in the table `observations`, and the outbox keeps no second copy of it.
   */
  enqueue(message: OutboxMessage, { isStored = false }: { readonly isStored?: boolean } = {}): void {
    this.#insert(message, { isStored, isRequeued: false });
    this.bounds.enforce();
    this.#deps.writer.afterCommit(this.#notify);
  }

  next(limit: number, excluding: ReadonlySet<number>, filter: OutboxFilter = {}): readonly OutboxEntry[] {
    const { afterRowId = 0, upToRowId = Number.MAX_SAFE_INTEGER, streams = 'all' } = filter;
    let excludedInWindow = 0;
    for (const rowId of excluding) if (rowId > afterRowId && rowId <= upToRowId) excludedInWindow += 1;
    const window = { afterRowId, upToRowId, limit: limit + excludedInWindow };
    const rows = this.#deps.writer.read(() => this.#table.entries(streams, window));
    const entries =
      excludedInWindow === 0 ? rows : rows.filter(({ rowId }) => !excluding.has(rowId)).slice(0, limit);
    if (entries.length > 0) this.#deps.onHandedOut(entries);
    return entries;
  }

  peek(limit: number): readonly OutboxEntry[] {
    const window = { afterRowId: 0, upToRowId: Number.MAX_SAFE_INTEGER, limit };
    return this.#deps.writer.read(() => this.#table.entries('all', window));
  }

  acknowledge(rows: readonly Acknowledgement[]): void {
    this.#deps.writer.writeRelaxed(() => this.#table.removeAcknowledged(rows));
  }

  reject(rowId: number, reason: string): void {
    this.#deps.writer.write(() => {
      const nowMs = Math.round(this.#deps.clock.nowMs());
      if (this.#sql.reject.run(reason, nowMs, rowId).changes === 0) return;
      this.#table.remove(this.#table.find(rowId));
      this.#sql.dropOldRejected.run(MAX_REJECTED);
    });
  }

  /**
   * Changes the payload and the time of a waiting message. Returns false when the message is being sent, or no
   * longer in the outbox.
   * Call it in a transaction.
   */
  rewrite(stream: string, seq: number, change: (message: QueuedMessage) => QueuedMessage): boolean {
    const row = this.#sql.waiting.get(stream, seq);
    if (!row || this.bounds.isProtected(row.rowId)) return false;
    const { payload, createdAtMs } = change(row);
    const sizeBytes = Buffer.byteLength(payload);
    this.#sql.rewrite.run(payload, sizeBytes, createdAtMs, row.rowId);
    this.#table.addBytes(sizeBytes - Buffer.byteLength(row.payload));
    this.#rewrites += 1;
    return true;
  }

  /**
   * Queues stored records of one kind of a camera again, as backfill, in the order of `seq`; at most 500 in one call. Skips
   * records that are in the outbox already. Drops no other row to make room.
   */
  requeue(camera: string, fromSeq: number, toSeq: number, kind: RecordKind): RequeueResult {
    const stream = recordStream(camera, kind);
    return this.#deps.writer.write(() => {
      const lastSeq = Math.min(toSeq, this.#deps.sequences.last(stream));
      const range = { stream, camera, firstSeq: Math.max(1, fromSeq), lastSeq };
      const result = this.#requeue[kind].run(range, (seq, payload) => {
        if (!this.bounds.hasRoom(payload)) return false;
        const topic = `camera/${camera}/${kind}`;
        const isStored = kind === 'observation';
        this.#insert({ stream, seq, topic, payload }, { isStored, isRequeued: true });
        return true;
      });
      if (result.queued > 0) this.#deps.writer.afterCommit(this.#notify);
      return result;
    });
  }

  stats(): OutboxStats {
    const oldest = this.#sql.oldest.get();
    return {
      depth: this.#table.rows,
      oldestAgeS: oldest ? this.#ageS(oldest) : null,
      droppedTotal: this.#deps.sequences.droppedTotal(),
    };
  }

  /**
   * The age of a row: by the monotonic clock for rows of this run, by the wall clock for older rows if this is
   * plausible.
   */
  #ageS({ rowId, createdMonoMs, createdAtMs }: RowAge): number {
    const { clock } = this.#deps;
    const sinceStartMs = clock.monoMs() - this.#startedMonoMs;
    const ageMs =
      rowId >= this.#firstRowIdOfRun
        ? clock.monoMs() - createdMonoMs
        : Math.max(clock.nowMs() - createdAtMs, sinceStartMs);
    return Math.round(Math.max(0, ageMs > MAX_PLAUSIBLE_AGE_MS ? sinceStartMs : ageMs)) / 1000;
  }

  readonly #notify = (): void => this.#listener?.();

  #insert(message: OutboxMessage, kind: { readonly isStored: boolean; readonly isRequeued: boolean }): void {
    const { clock } = this.#deps;
    this.#newestRowId += 1;
    this.#table.insert({
      ...message,
      ...kind,
      rowId: this.#newestRowId,
      createdMonoMs: clock.monoMs(),
      createdAtMs: Math.round(clock.nowMs()),
    });
  }
}

function prepare(db: Database.Database) {
  return {
    oldest: db.prepare<[], RowAge>(
      `SELECT row_id AS rowId, created_mono_ms AS createdMonoMs, created_at_ms AS createdAtMs
       FROM outbox ORDER BY row_id LIMIT 1`,
    ),
    waiting: db.prepare<[string, number], OutboxEntry>(
      `SELECT ${ENTRY_COLUMNS} FROM outbox WHERE stream = ? AND seq = ?`,
    ),
    // An empty payload stays empty: the payload of such a record is in `observations`, where the caller changes it.
    rewrite: db.prepare<[string, number, number, number]>(
      `UPDATE outbox SET payload = CASE WHEN payload = '' THEN '' ELSE ? END, size_bytes = ?, created_at_ms = ?
       WHERE row_id = ?`,
    ),
    reject: db.prepare<[string, number, number]>(
      `INSERT INTO rejected (stream, seq, topic, payload, reason, rejected_at_ms)
       SELECT stream, seq, topic, ${PAYLOAD}, ?, ? FROM outbox WHERE row_id = ?`,
    ),
    dropOldRejected: db.prepare<[number]>(
      'DELETE FROM rejected WHERE row_id <= (SELECT max(row_id) FROM rejected) - ?',
    ),
  };
}
