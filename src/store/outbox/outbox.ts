import type Database from 'better-sqlite3';
import type { Clock } from '../../base/clock.ts';
import { OutboxBounds, type OutboxOptions } from './bounds.ts';
import { takeGone, takeOut } from './settling.ts';
import { prepareOutbox } from './statements.ts';
import { OutboxTally } from './tally.ts';
import { requeueRange } from './requeue.ts';
import type { Sequences } from '../sequences.ts';
import type { Acceptance, Outbox, OutboxEntry, OutboxFilter, OutboxStats, Requeued } from '../types.ts';
import { waitedS } from './waited.ts';
import type { Writer } from '../writer.ts';

/** Rejected messages kept for the operator; older ones go. */
const REJECTED_KEPT = 1000;
const EVERYTHING = Number.MAX_SAFE_INTEGER;
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
  readonly #deps: OutboxDeps;
  readonly #statements: ReturnType<typeof prepareOutbox>;
  readonly #tally: OutboxTally;
  readonly #bounds: OutboxBounds;
  /** Row ids are never reused within a run: the forwarder tells old rows from new ones by them. */
  #newestRowId: number;
  readonly #firstRowIdOfRun: number;
  readonly #startedMonoMs: number;
  /** Changes of what waits; beside them count the drops. */
  #revision = 0;
  #listener: (() => void) | null = null;

  constructor(options: OutboxOptions, deps: OutboxDeps) {
    this.#deps = deps;
    this.#statements = prepareOutbox(deps.db);
    this.#newestRowId = this.#statements.newest.get()?.row_id ?? 0;
    this.#firstRowIdOfRun = this.#newestRowId + 1;
    this.#startedMonoMs = deps.clock.monoMs();
    this.#tally = new OutboxTally(this.#statements);
    this.#bounds = new OutboxBounds(options, {
      ...deps,
      statements: this.#statements,
      tally: this.#tally,
      firstRowIdOfRun: this.#firstRowIdOfRun,
    });
    deps.writer.onRollback(() => this.#tally.count());
  }

  onAdded(listener: () => void): void {
    this.#listener = listener;
  }

  hold(rows: ReadonlySet<number>): void {
    this.#bounds.hold(rows);
  }

  get newestRowId(): number {
    return this.#newestRowId;
  }

  get revision(): number {
    return this.#revision + this.#bounds.revision;
  }

  /**
   * Queues a message and keeps the bounds; call it in the transaction that stores the record. `stored`: the payload is
   * that of a stored observation, and is not kept twice.
   */
  enqueue(message: Message, options: { readonly stored?: boolean } = {}): void {
    this.#insert(message, { stored: options.stored ?? false, requeued: false });
    this.#bounds.keep();
    this.#deps.writer.afterCommit(this.#announce);
  }

  /** Replaces the payload of an event that was not sent yet. False when it is gone, or with the broker. */
  amendEvent(seq: number, payload: string): boolean {
    const row = this.#statements.eventRow.get(seq);
    if (!row || this.#bounds.holds(row.row_id)) return false;
    const sizeBytes = Buffer.byteLength(payload);
    this.#statements.amend.run(payload, sizeBytes, row.row_id);
    this.#tally.grew(sizeBytes - row.bytes);
    this.#revision += 1;
    return true;
  }

  /** Replaces what a message says and when it was queued. False when it is gone, or with the broker. */
  retime(stream: string, seq: number, mend: (payload: string, createdAtMs: number) => Retimed): boolean {
    const row = this.#statements.waitingRow.get(stream, seq);
    if (!row || this.#bounds.holds(row.rowId)) return false;
    const { payload, createdAtMs } = mend(row.payload, row.createdAtMs);
    const sizeBytes = Buffer.byteLength(payload);
    this.#statements.retime.run(payload, sizeBytes, createdAtMs, row.rowId);
    this.#tally.grew(sizeBytes - Buffer.byteLength(row.payload));
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
    const rows = this.#deps.writer.read(() => rowIds.flatMap((id) => this.#statements.found.all(id, id)));
    this.settle(
      rows.map(({ row_id: rowId, stream, seq }) => ({ rowId, stream, seq, publishedAtMs, historical })),
    );
  }

  settle(rows: readonly Acceptance[]): void {
    this.#deps.writer.writeSoon(() => takeOut(rows, this.#statements, this.#tally));
  }

  rejected(rowId: number, reason: string): void {
    this.#deps.writer.write(() => {
      const nowMs = Math.round(this.#deps.clock.nowMs());
      if (this.#statements.reject.run(reason, nowMs, rowId).changes === 0) return;
      takeGone(this.#statements.found.all(rowId, rowId), this.#statements, this.#tally);
      this.#statements.boundRejected.run(REJECTED_KEPT);
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
        if (!this.#bounds.hasRoom(payload)) return false;
        this.#insert({ stream, seq, topic: `camera/${camera}/observation`, payload }, AGAIN);
        return true;
      });
      if (outcome.queued > 0) this.#deps.writer.afterCommit(this.#announce);
      return outcome;
    });
  }

  stats(): OutboxStats {
    return {
      depth: this.#tally.rows,
      oldestAgeS: this.#oldestAgeS(),
      droppedTotal: this.#deps.sequences.droppedTotal(),
    };
  }

  /** As `OutboxBounds.dropAged`. */
  dropAged(maxAgeMs: number, cutoffMs: number | null, plausibleMs: number): number {
    return this.#bounds.dropAged(maxAgeMs, cutoffMs, plausibleMs);
  }

  /** As `OutboxBounds.dropOldest`. */
  dropOldest(count: number): number {
    return this.#bounds.dropOldest(count);
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
    this.#tally.came(message.stream, sizeBytes);
  }

  /** Other bounds; what is above them goes with the next message that comes. */
  setBounds(options: OutboxOptions): void {
    this.#bounds.set(options);
  }

  #oldestAgeS(): number | null {
    const oldest = this.#statements.oldest.get();
    if (!oldest) return null;
    const run = { ownRun: oldest.rowId >= this.#firstRowIdOfRun, startedMonoMs: this.#startedMonoMs };
    return waitedS(oldest, run, this.#deps.clock);
  }
}
