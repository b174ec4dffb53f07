import type Database from 'better-sqlite3';
import type { Clock } from '../clock.ts';
import { cameraOf, prepareOutbox, type Found } from './outbox-statements.ts';
import { requeueRange } from './requeue.ts';
import { runsOf, streamRuns } from './runs.ts';
import type { Sequences } from './sequences.ts';
import type { Acceptance, Outbox, OutboxEntry, OutboxFilter, OutboxStats, Requeued } from './types.ts';
import { waitedS } from './waited.ts';
import type { Writer } from './writer.ts';

/** Rejected messages kept for the operator; older ones go. */
const REJECTED_KEPT = 1000;
const EVERYTHING = Number.MAX_SAFE_INTEGER;
/** Events may fill this share of the bound before one of them is dropped rather than a record. */
const EVENT_SHARE = 0.1;
/** Rows that one call of `dropAged` looks at. */
const AGED_AT_ONCE = 200;

export interface OutboxOptions {
  readonly maxMessages: number;
  /** Payload bytes of all that waits. */
  readonly maxBytes: number;
}

export interface OutboxDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly sequences: Sequences;
  readonly clock: Clock;
  /** Called after a commit in which the bound pushed rows out. */
  readonly onDropped: () => void;
  /** Called with the rows that `next` gives away: from then on they may have been sent. */
  readonly onHanded?: (entries: readonly OutboxEntry[]) => void;
}

export interface Retimed {
  readonly payload: string;
  /** Wall clock, ms; 0 where it is not known. */
  readonly createdAtMs: number;
}

interface Message {
  readonly stream: string;
  readonly seq: number;
  readonly topic: string;
  readonly payload: string;
}

const AGAIN = { stored: true, requeued: true };

/**
 * The queue to the broker, on the disk. A row leaves in exactly one of three ways: accepted, rejected (kept aside), or
 * dropped by the bound on count, bytes or age, oldest first, in the transaction that counts it. What is with the broker
 * is never dropped; events are dropped only when they themselves are a flood; the event that tells of drops never is.
 */
export class SqliteOutbox implements Outbox {
  #options: OutboxOptions;
  readonly #deps: OutboxDeps;
  readonly #statements: ReturnType<typeof prepareOutbox>;
  /** Row ids are never reused within a run: the forwarder tells old rows from new ones by them. */
  #newestRowId: number;
  readonly #firstRowIdOfRun: number;
  readonly #startedMonoMs: number;
  #held: ReadonlySet<number> = new Set();
  #revision = 0;
  #agedUpTo = 0;
  #depth = 0;
  #events = 0;
  #bytes = 0;
  #listener: (() => void) | null = null;

  constructor(options: OutboxOptions, deps: OutboxDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#statements = prepareOutbox(deps.db);
    this.#newestRowId = this.#statements.newest.get()?.row_id ?? 0;
    this.#firstRowIdOfRun = this.#newestRowId + 1;
    this.#startedMonoMs = deps.clock.monoMs();
    this.#count();
    deps.writer.onRollback(() => this.#count());
  }

  onAdded(listener: () => void): void {
    this.#listener = listener;
  }

  hold(rows: ReadonlySet<number>): void {
    this.#held = rows;
  }

  get newestRowId(): number {
    return this.#newestRowId;
  }

  get revision(): number {
    return this.#revision;
  }

  /**
   * Queues a message and keeps the bounds; call it in the transaction that stores the record. `stored`: the payload is
   * that of a stored observation, and is not kept twice.
   */
  enqueue(message: Message, options: { readonly stored?: boolean } = {}): void {
    this.#insert(message, { stored: options.stored ?? false, requeued: false });
    this.#keepBounds();
    this.#deps.writer.afterCommit(this.#announce);
  }

  /** Replaces the payload of an event that was not sent yet. False when it is gone, or with the broker. */
  amendEvent(seq: number, payload: string): boolean {
    const row = this.#statements.eventRow.get(seq);
    if (!row || this.#held.has(row.row_id)) return false;
    const sizeBytes = Buffer.byteLength(payload);
    this.#statements.amend.run(payload, sizeBytes, row.row_id);
    this.#addBytes(sizeBytes - row.bytes);
    this.#revision += 1;
    return true;
  }

  /** Replaces what a message says and when it was queued. False when it is gone, or with the broker. */
  retime(stream: string, seq: number, mend: (payload: string, createdAtMs: number) => Retimed): boolean {
    const row = this.#statements.waitingRow.get(stream, seq);
    if (!row || this.#held.has(row.rowId)) return false;
    const { payload, createdAtMs } = mend(row.payload, row.createdAtMs);
    const sizeBytes = Buffer.byteLength(payload);
    this.#statements.retime.run(payload, sizeBytes, createdAtMs, row.rowId);
    this.#addBytes(sizeBytes - Buffer.byteLength(row.payload));
    this.#revision += 1;
    return true;
  }

  next(limit: number, excluding: ReadonlySet<number>, filter: OutboxFilter = {}): readonly OutboxEntry[] {
    const { afterRowId = 0, upToRowId = EVERYTHING, streams = 'all' } = filter;
    let amidst = 0;
    for (const rowId of excluding) if (rowId > afterRowId && rowId <= upToRowId) amidst += 1;
    const window = { afterRowId, upToRowId, limit: limit + amidst };
    const rows = this.#deps.writer.read(() => this.#statements[streams].all(window));
    const found = amidst === 0 ? rows : rows.filter(({ rowId }) => !excluding.has(rowId)).slice(0, limit);
    if (found.length > 0) this.#deps.onHanded?.(found);
    return found;
  }

  peek(limit: number): readonly OutboxEntry[] {
    const window = { afterRowId: 0, upToRowId: EVERYTHING, limit };
    return this.#deps.writer.read(() => this.#statements.all.all(window));
  }

  accepted(rowIds: readonly number[], publishedAtMs: number, historical = false): void {
    this.settle(rowIds.map((rowId) => ({ rowId, publishedAtMs, historical })));
  }

  settle(rows: readonly Acceptance[]): void {
    const sorted = rows.toSorted((a, b) => a.rowId - b.rowId);
    this.#deps.writer.writeSoon(() => {
      for (const run of runsOf(sorted)) {
        // Rows that are gone already had another fate, which is counted.
        const found = this.#statements.found.all(run.first, run.last);
        this.#note(found, run.rows);
        this.#remove(run.first, run.last, found);
      }
      this.#statements.setBytes.run(this.#bytes);
    });
  }

  rejected(rowId: number, reason: string): void {
    this.#deps.writer.write(() => {
      const nowMs = Math.round(this.#deps.clock.nowMs());
      if (this.#statements.reject.run(reason, nowMs, rowId).changes === 0) return;
      this.#remove(rowId, rowId, this.#statements.found.all(rowId, rowId));
      this.#statements.boundRejected.run(REJECTED_KEPT);
      this.#statements.setBytes.run(this.#bytes);
    });
  }

  /**
   * Puts stored records of one camera into the queue again, as backfill, in the order of their numbers; at most 500 in
   * one call. Those that wait already are left alone, and nothing is pushed out for them.
   */
  requeue(camera: string, fromSeq: number, toSeq: number): Requeued {
    const stream = `camera:${camera}`;
    return this.#deps.writer.write(() => {
      const last = Math.min(toSeq, this.#deps.sequences.last(stream));
      const range = { camera, first: Math.max(1, fromSeq), last };
      const outcome = requeueRange(this.#statements, range, (seq, payload) => {
        if (!this.#hasRoom(payload)) return false;
        this.#insert({ stream, seq, topic: `camera/${camera}/observation`, payload }, AGAIN);
        return true;
      });
      if (outcome.queued > 0) this.#deps.writer.afterCommit(this.#announce);
      return outcome;
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
   * Drops what waits longer than `maxAgeMs`, of the next rows that it looks at: all have been looked at after some
   * calls. Rows of this run are aged by the monotonic clock, older ones by the wall clock between `plausibleMs` and
   * `cutoffMs`, or not at all while that is null.
   */
  dropAged(maxAgeMs: number, cutoffMs: number | null, plausibleMs: number): number {
    const monoCutoffMs = this.#deps.clock.monoMs() - maxAgeMs;
    const rows = this.#statements.ages.all(this.#agedUpTo, AGED_AT_ONCE);
    this.#agedUpTo = rows.length < AGED_AT_ONCE ? 0 : (rows.at(-1)?.row_id ?? 0);
    const aged = rows.filter((row) =>
      row.row_id >= this.#firstRowIdOfRun
        ? row.created_mono_ms < monoCutoffMs
        : cutoffMs !== null && row.created_at_ms > plausibleMs && row.created_at_ms < cutoffMs,
    );
    const free = aged.filter(({ row_id }) => !this.#held.has(row_id));
    return free.length === 0 ? 0 : this.#deps.writer.write(() => this.#dropRows(free));
  }

  /** Drops up to `count` of the oldest rows, to free space: records first, then events. Returns how many. */
  dropOldest(count: number): number {
    return this.#deps.writer.write(() => {
      let dropped = 0;
      for (const kind of ['requeued', 'cameras', 'events'] as const)
        dropped += this.#dropRows(this.#oldestFree(kind, count - dropped));
      return dropped;
    });
  }

  readonly #announce = (): void => this.#listener?.();

  #insert(message: Message, { stored, requeued }: { stored: boolean; requeued: boolean }): void {
    const { clock } = this.#deps;
    const sizeBytes = Buffer.byteLength(message.payload);
    this.#newestRowId += 1;
    this.#statements.insert.run(
      this.#newestRowId,
      message.stream,
      message.seq,
      message.topic,
      stored ? '' : message.payload,
      sizeBytes,
      clock.monoMs(),
      Math.round(clock.nowMs()),
      requeued ? 1 : 0,
    );
    this.#depth += 1;
    if (cameraOf(message.stream) === null) this.#events += 1;
    this.#addBytes(sizeBytes);
  }

  /** Other bounds; what is above them goes with the next message that comes. */
  setBounds(options: OutboxOptions): void {
    this.#options = options;
  }

  #hasRoom(payload: string): boolean {
    const { maxMessages, maxBytes } = this.#options;
    return this.#depth < maxMessages && this.#bytes + Buffer.byteLength(payload) <= maxBytes;
  }

  /** Drops the oldest until both bounds are kept, or everything left is with the broker. */
  #keepBounds(): void {
    const { maxMessages, maxBytes } = this.#options;
    while (this.#depth > maxMessages || this.#bytes > maxBytes) {
      const flooding = this.#events > Math.max(1, Math.floor(maxMessages * EVENT_SHARE));
      const order = flooding
        ? (['events', 'requeued', 'cameras'] as const)
        : (['requeued', 'cameras', 'events'] as const);
      // As many as the count asks for; by bytes one at a time.
      const count = Math.max(1, this.#depth - maxMessages);
      if (!order.some((kind) => this.#dropRows(this.#oldestFree(kind, count)) > 0)) return;
    }
  }

  #oldestFree(kind: 'requeued' | 'cameras' | 'events', count: number): readonly Found[] {
    if (count <= 0) return [];
    const rows = this.#statements.oldestOf[kind].all(count + this.#held.size);
    return rows.filter(({ row_id }) => !this.#held.has(row_id)).slice(0, count);
  }

  #dropRows(rows: readonly Found[]): number {
    if (rows.length === 0) return 0;
    for (const row of rows) this.#remove(row.row_id, row.row_id, [row]);
    this.#statements.setBytes.run(this.#bytes);
    this.#revision += 1;
    // A record that was asked for again had its fate before.
    const lost = rows.filter(({ requeued }) => requeued === 0).length;
    if (lost > 0) {
      this.#deps.sequences.countDropped(lost);
      this.#deps.writer.afterCommit(this.#deps.onDropped);
    }
    return rows.length;
  }

  /** Takes out the rows from one id to another, which are those that were found. */
  #remove(first: number, last: number, found: readonly Found[]): void {
    if (found.length === 0) return;
    this.#statements.remove.run(first, last);
    this.#depth -= found.length;
    for (const { stream, bytes } of found) {
      if (cameraOf(stream) === null) this.#events -= 1;
      this.#bytes -= bytes;
    }
  }

  /** Notes on records and events when they were published. */
  #note(found: readonly Found[], accepted: readonly Acceptance[]): void {
    for (const { stream, first, last, publishedAtMs, historical } of streamRuns(found, accepted)) {
      const camera = cameraOf(stream);
      if (camera === null) this.#statements.eventsPublished.run(publishedAtMs, first, last);
      else this.#statements.published.run(publishedAtMs, historical ? 1 : 0, camera, first, last);
    }
  }

  #addBytes(bytes: number): void {
    this.#bytes += bytes;
    this.#statements.setBytes.run(this.#bytes);
  }

  #count(): void {
    const { depth, events } = this.#statements.count.get() ?? { depth: 0, events: 0 };
    this.#depth = depth;
    this.#events = events;
    this.#bytes = this.#statements.bytes.get()?.value ?? 0;
  }

  #oldestAgeS(): number | null {
    const oldest = this.#statements.oldest.get();
    if (!oldest) return null;
    const run = { ownRun: oldest.rowId >= this.#firstRowIdOfRun, startedMonoMs: this.#startedMonoMs };
    return waitedS(oldest, run, this.#deps.clock);
  }
}
