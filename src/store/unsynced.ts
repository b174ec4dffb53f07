import type Database from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import type { OutboxEntry } from './types.ts';
import type { Writer } from './writer.ts';

/**
 * A smaller difference between two clock offsets is not an error of the wall clock: the two clocks are read one after
 * the other, and time passes between the two reads.
 */
export const MIN_SHIFT_MS = 1000;
const PRUNE_BATCH_ROWS = 200;
/**
 * Before the forwarder sends a message, its row is marked (`handed` = 1), which needs a commit. One commit marks this
 * many rows in advance, because one commit per message would halve the speed at which a long queue is sent.
 */
const MIN_MARKED_AHEAD = 64;
const MAX_MARKED_AHEAD = 4096;

/** A row of the table `unsynced`: a record or event that was made while the clock was not synchronised. */
export interface UnsyncedRow {
  readonly stream: string;
  readonly seq: number;
  readonly boot_id: string;
  /** How far the wall clock was ahead of the monotonic clock, ms, when the timestamps of this message were read. */
  readonly ahead_ms: number;
  readonly outbox_row_id: number;
  /** 1 when the forwarder may have published the message: its timestamps must not change any more. */
  readonly handed: 0 | 1;
}

interface UnsyncedMessage {
  readonly stream: string;
  readonly seq: number;
  readonly outboxRowId: number;
  readonly bootId: string;
}

export interface DueQuery {
  readonly bootId: string;
  /** Also return the rows of this boot whose `ahead_ms` is correct. */
  readonly includeUnshifted: boolean;
  /** Return the rows of this boot whose `ahead_ms` differs from this offset. Null: return no row of this boot. */
  readonly offsetMs: number | null;
  readonly limit: number;
}

/** The clock offset: how far the wall clock is ahead of the monotonic clock, ms. */
interface ClockOffset {
  readonly nowMs: number;
  /** The offset before its last change; null when it has not changed. */
  readonly beforeMs: number | null;
  readonly changedMonoMs: number;
}

/** The table `unsynced`: messages whose timestamps may be wrong, and whether each of them may have been published. */
export class UnsyncedRows {
  readonly #deps: { readonly writer: Writer; readonly clock: Clock };
  readonly #sql: ReturnType<typeof prepare>;
  #offset: ClockOffset;
  /** False when every row is marked (`handed` = 1). */
  #hasUnmarked: boolean;
  #handedOutRows = 0;
  /** Messages that the forwarder may have published, but whose mark could not be written to the disk. */
  readonly #unmarkable = new Set<string>();

  constructor(deps: { readonly db: Database.Database; readonly writer: Writer; readonly clock: Clock }) {
    this.#deps = deps;
    this.#sql = prepare(deps.db);
    this.#hasUnmarked = this.#findUnmarked();
    this.#offset = { nowMs: this.#readOffsetMs(), beforeMs: null, changedMonoMs: -Infinity };
  }

  /**
   * Adds a message. Call it in the transaction that queues the message. `read` contains the timestamps of the message
   * on both clocks, because the wall clock may have been set between the message's timestamp and this call.
   */
  add(message: UnsyncedMessage, read?: { readonly wallMs: number; readonly monoMs: number }): void {
    const { nowMs, beforeMs, changedMonoMs } = this.clockOffset();
    let offsetMs = nowMs;
    if (read && beforeMs !== null && read.monoMs <= changedMonoMs) {
      const readOffsetMs = read.wallMs - read.monoMs;
      if (Math.abs(readOffsetMs - beforeMs) < Math.abs(readOffsetMs - nowMs)) offsetMs = beforeMs;
    }
    this.#sql.insert.run(message.stream, message.seq, message.bootId, offsetMs, message.outboxRowId);
    this.#hasUnmarked = true;
  }

  /**
   * Marks messages that the forwarder may publish from now on. Their timestamps no longer change, even after a crash.
   */
  markHandedOut(entries: readonly OutboxEntry[]): void {
    if (!this.#hasUnmarked) return;
    const unmarked = entries.filter(({ stream, seq }) => this.#sql.handed.get(stream, seq)?.handed === 0);
    const last = unmarked.at(-1);
    if (!last) return;
    this.#handedOutRows += unmarked.length;
    const aheadCount = Math.min(Math.max(this.#handedOutRows, MIN_MARKED_AHEAD), MAX_MARKED_AHEAD);
    try {
      this.#deps.writer.write(() => {
        for (const { stream, seq } of unmarked) this.#sql.mark.run(stream, seq);
        this.#sql.markAhead.run(last.rowId, last.stream === 'events' ? 1 : 0, aheadCount);
      });
      this.#hasUnmarked = this.#findUnmarked();
    } catch {
      // Publishing does not wait for the disk. The writer has recorded the failure.
      for (const entry of unmarked) this.#unmarkable.add(keyOf(entry));
    }
  }

  mayBePublished(row: UnsyncedRow): boolean {
    return row.handed === 1 || this.#unmarkable.has(keyOf(row));
  }

  /** All rows of other boots, and the rows of this boot that the query selects, in the order of the outbox. */
  due({ includeUnshifted, ...query }: DueQuery): readonly UnsyncedRow[] {
    return this.#sql.due.all({ ...query, all: includeUnshifted ? 1 : 0, minShiftMs: MIN_SHIFT_MS });
  }

  setOffset({ stream, seq }: UnsyncedRow, offsetMs: number): void {
    this.#sql.setOffset.run(offsetMs, stream, seq);
  }

  delete({ stream, seq }: UnsyncedRow): void {
    this.#sql.delete.run(stream, seq);
  }

  /** Adds the duration of a suspend to the offsets of all rows that were made before it. Call it in a transaction. */
  addSleep(sleptMs: number, bootId: string): void {
    // A row that was made after the machine woke up already has the new offset.
    this.#sql.addSleep.run(sleptMs, bootId, this.clockOffset().nowMs, MIN_SHIFT_MS);
  }

  /** Deletes the rows of messages that retention has deleted. Call it from time to time. */
  prune(): void {
    this.#deps.writer.write(() => this.#sql.prune.run(PRUNE_BATCH_ROWS));
  }

  clockOffset(): ClockOffset {
    const nowMs = this.#readOffsetMs();
    if (Math.abs(nowMs - this.#offset.nowMs) >= MIN_SHIFT_MS)
      this.#offset = { nowMs, beforeMs: this.#offset.nowMs, changedMonoMs: this.#deps.clock.monoMs() };
    return this.#offset;
  }

  #readOffsetMs(): number {
    return this.#deps.clock.nowMs() - this.#deps.clock.monoMs();
  }

  #findUnmarked(): boolean {
    return this.#sql.anyUnmarked.get()?.found === 1;
  }
}

const keyOf = ({ stream, seq }: { readonly stream: string; readonly seq: number }): string =>
  `${stream}/${seq}`;

function prepare(db: Database.Database) {
  return {
    insert: db.prepare<[string, number, string, number, number]>(
      'INSERT OR REPLACE INTO unsynced VALUES (?, ?, ?, ?, ?, 0)',
    ),
    anyUnmarked: db.prepare<[], { found: number }>(
      'SELECT EXISTS (SELECT 1 FROM unsynced WHERE handed = 0) AS found',
    ),
    handed: db.prepare<[string, number], { handed: number }>(
      'SELECT handed FROM unsynced WHERE stream = ? AND seq = ?',
    ),
    mark: db.prepare<[string, number]>('UPDATE unsynced SET handed = 1 WHERE stream = ? AND seq = ?'),
    markAhead: db.prepare<[number, 0 | 1, number]>(
      `UPDATE unsynced SET handed = 1 WHERE handed = 0 AND (stream, seq) IN
         (SELECT stream, seq FROM unsynced WHERE outbox_row_id > ? AND (stream = 'events') = ?
          ORDER BY outbox_row_id LIMIT ?)`,
    ),
    addSleep: db.prepare<[number, string, number, number]>(
      'UPDATE unsynced SET ahead_ms = ahead_ms + ? WHERE boot_id = ? AND abs(ahead_ms - ?) >= ?',
    ),
    due: db.prepare<[Omit<DueQuery, 'includeUnshifted'> & { all: 0 | 1; minShiftMs: number }], UnsyncedRow>(
      `SELECT * FROM unsynced
       WHERE boot_id <> @bootId OR @all = 1 OR abs(ahead_ms - @offsetMs) >= @minShiftMs
       ORDER BY outbox_row_id LIMIT @limit`,
    ),
    setOffset: db.prepare<[number, string, number]>(
      'UPDATE unsynced SET ahead_ms = ? WHERE stream = ? AND seq = ?',
    ),
    delete: db.prepare<[string, number]>('DELETE FROM unsynced WHERE stream = ? AND seq = ?'),
    prune: db.prepare<[number]>(
      `DELETE FROM unsynced WHERE (stream, seq) IN
         (SELECT u.stream, u.seq FROM (SELECT * FROM unsynced ORDER BY outbox_row_id LIMIT ?) u WHERE
            NOT EXISTS (SELECT 1 FROM outbox o WHERE o.row_id = u.outbox_row_id)
            AND NOT EXISTS (SELECT 1 FROM observations o
                            WHERE o.camera = substr(u.stream, 8) AND o.seq = u.seq)
            AND NOT EXISTS (SELECT 1 FROM sea_states s
                            WHERE s.camera = replace(substr(u.stream, 8), '/sea_state', '') AND s.seq = u.seq
                              AND substr(u.stream, -10) = '/sea_state')
            AND NOT EXISTS (SELECT 1 FROM events e WHERE u.stream = 'events' AND e.seq = u.seq))`,
    ),
  };
}
