import type Database from 'better-sqlite3';
import type { Clock } from '../../base/clock.ts';
import type { Sequences } from '../sequences.ts';
import type { StoreBounds } from '../types.ts';
import type { Writer } from '../writer.ts';
import { ROW_COLUMNS, type OutboxRow, type OutboxTable } from './table.ts';

/** While events fill more than this share of the outbox, the oldest event is dropped before any record. */
const MAX_EVENT_SHARE = 0.1;
const DEFAULT_MAX_MB = 256;
/** Maximum number of rows that one call of `dropAged` reads. */
const AGE_BATCH_ROWS = 200;

/** Kinds of rows: records queued a second time, records queued for the first time, events. */
type Kind = 'requeued' | 'cameras' | 'events';
const RECORDS_FIRST: readonly Kind[] = ['requeued', 'cameras', 'events'];
const EVENTS_FIRST: readonly Kind[] = ['events', 'requeued', 'cameras'];

export interface OutboxLimits {
  readonly maxMessages: number;
  /** Maximum total size of all payloads. */
  readonly maxBytes: number;
}

export const outboxLimits = ({ outbox }: StoreBounds): OutboxLimits => ({
  maxMessages: outbox.maxMessages,
  maxBytes: (outbox.maxMb ?? DEFAULT_MAX_MB) * 1_048_576,
});

export interface OutboxBoundsDeps {
  readonly db: Database.Database;
  readonly table: OutboxTable;
  readonly writer: Writer;
  readonly sequences: Sequences;
  readonly clock: Clock;
  readonly firstRowIdOfRun: number;
  /** Called after a commit that dropped records. */
  readonly onDropped: () => void;
}

/**
 * Bounds the outbox by count, payload bytes and age. Drop policy: oldest first; requeued records, then other records,
 * then events. While events exceed their share, events first. Never drops protected rows or the event `outbox_dropped`.
 * Counts each drop in the transaction that deletes the row.
 */
export class OutboxBounds {
  #limits: OutboxLimits;
  readonly #deps: OutboxBoundsDeps;
  readonly #sql: ReturnType<typeof prepare>;
  #protected: ReadonlySet<number> = new Set();
  #lastAgedRowId = 0;
  #revision = 0;

  constructor(limits: OutboxLimits, deps: OutboxBoundsDeps) {
    this.#limits = limits;
    this.#deps = deps;
    this.#sql = prepare(deps.db);
  }

  /** The next `enforce` drops what exceeds the new limits. */
  setLimits(limits: OutboxLimits): void {
    this.#limits = limits;
  }

  /** Never drops these rows. The caller may change the set later. */
  protect(rowIds: ReadonlySet<number>): void {
    this.#protected = rowIds;
  }

  isProtected(rowId: number): boolean {
    return this.#protected.has(rowId);
  }

  /** Changes with each drop. */
  get revision(): number {
    return this.#revision;
  }

  /** Whether a message fits without dropping another one. */
  hasRoom(payload: string): boolean {
    const { maxMessages, maxBytes } = this.#limits;
    const { rows, bytes } = this.#deps.table;
    return rows < maxMessages && bytes + Buffer.byteLength(payload) <= maxBytes;
  }

  /** Drops rows until the outbox is within its limits, or until only protected rows are left. */
  enforce(): void {
    const { maxMessages, maxBytes } = this.#limits;
    const { table } = this.#deps;
    while (table.rows > maxMessages || table.bytes > maxBytes) {
      const isEventFlood = table.events > Math.max(1, Math.floor(maxMessages * MAX_EVENT_SHARE));
      const order = isEventFlood ? EVENTS_FIRST : RECORDS_FIRST;
      // If only the limit on bytes is exceeded, drop one row at a time.
      const count = Math.max(1, table.rows - maxMessages);
      if (!order.some((kind) => this.#drop(this.#oldestUnprotected(kind, count)) > 0)) return;
    }
  }

  /**
   * Drops rows older than `maxAgeMs` from the next batch of the table; repeated calls visit every row. Uses the
   * monotonic clock for rows of this run. Uses the wall clock for older rows: it drops those created between
   * `minPlausibleMs` and `cutoffMs`, or none while `cutoffMs` is null. Returns the number of dropped rows.
   */
  dropAged(maxAgeMs: number, cutoffMs: number | null, minPlausibleMs: number): number {
    const monoCutoffMs = this.#deps.clock.monoMs() - maxAgeMs;
    const rows = this.#sql.ages.all(this.#lastAgedRowId, AGE_BATCH_ROWS);
    this.#lastAgedRowId = rows.length < AGE_BATCH_ROWS ? 0 : (rows.at(-1)?.row_id ?? 0);
    const aged = rows.filter((row) =>
      row.row_id >= this.#deps.firstRowIdOfRun
        ? row.created_mono_ms < monoCutoffMs
        : cutoffMs !== null && row.created_at_ms > minPlausibleMs && row.created_at_ms < cutoffMs,
    );
    const droppable = aged.filter(({ row_id }) => !this.isProtected(row_id));
    return droppable.length === 0 ? 0 : this.#deps.writer.write(() => this.#drop(droppable));
  }

  /** Drops up to `count` rows to free space: records first, then events. Returns the number of dropped rows. */
  dropOldest(count: number): number {
    return this.#deps.writer.write(() => {
      let dropped = 0;
      for (const kind of RECORDS_FIRST) dropped += this.#drop(this.#oldestUnprotected(kind, count - dropped));
      return dropped;
    });
  }

  #oldestUnprotected(kind: Kind, count: number): readonly OutboxRow[] {
    if (count <= 0) return [];
    const rows = this.#sql[kind].all(count + this.#protected.size);
    return rows.filter(({ row_id }) => !this.isProtected(row_id)).slice(0, count);
  }

  #drop(rows: readonly OutboxRow[]): number {
    if (rows.length === 0) return 0;
    this.#deps.table.remove(rows);
    this.#revision += 1;
    // Do not count requeued records: each of them was published, or counted as dropped, before it was requeued.
    const lost = rows.filter(({ requeued }) => requeued === 0).length;
    if (lost > 0) {
      this.#deps.sequences.countDropped(lost);
      this.#deps.writer.afterCommit(this.#deps.onDropped);
    }
    return rows.length;
  }
}

function prepare(db: Database.Database) {
  const isDroppable = `topic <> 'event/outbox_dropped'`;
  return {
    ages: db.prepare<[number, number], OutboxRow & { created_mono_ms: number; created_at_ms: number }>(
      `SELECT ${ROW_COLUMNS}, created_mono_ms, created_at_ms FROM outbox
       WHERE row_id > ? AND ${isDroppable} ORDER BY row_id LIMIT ?`,
    ),
    requeued: db.prepare<[number], OutboxRow>(
      `SELECT ${ROW_COLUMNS} FROM outbox INDEXED BY outbox_requeued WHERE requeued = 1 ORDER BY row_id LIMIT ?`,
    ),
    cameras: db.prepare<[number], OutboxRow>(
      `SELECT ${ROW_COLUMNS} FROM outbox WHERE stream <> 'events' AND requeued = 0 ORDER BY row_id LIMIT ?`,
    ),
    events: db.prepare<[number], OutboxRow>(
      `SELECT ${ROW_COLUMNS} FROM outbox INDEXED BY outbox_events
       WHERE stream = 'events' AND ${isDroppable} ORDER BY row_id LIMIT ?`,
    ),
  };
}
