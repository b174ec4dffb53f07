import { isoTime, type Clock } from '../../base/clock.ts';
import { asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Acknowledgement, Outbox, OutboxEntry, OutboxFilter } from '../../store/types.ts';

// What the forwarder does with a row of the outbox: `OutboxCursor` reads it, `RecordEncoder` completes its payload, and
// `AcknowledgedRows` deletes it after the PUBACK.

/**
 * Rows that one query reads. With fewer, there would be more queries. With more, the garbage collector would copy more
 * rows, because it copies what is in the young generation of the heap.
 */
const PAGE_ROWS = 32;

/** Reads the rows of one kind from the outbox, in the order of their ids, one page at a time. */
export class OutboxCursor {
  readonly #streams: NonNullable<OutboxFilter['streams']>;
  readonly #outbox: Outbox;
  readonly #excluded: ReadonlySet<number>;
  #afterRowId = 0;
  #upToRowId = Number.MAX_SAFE_INTEGER;
  /** All rows up to this id were sent, or are no longer in the outbox. */
  #doneRowId = 0;
  /** The rows of the current page; null in place of a row that was sent. */
  #page: (OutboxEntry | null)[] = [];
  #index = 0;
  #revision = -1;

  /** Skips the rows whose ids are in `excluded` at the time of a read. */
  constructor(streams: NonNullable<OutboxFilter['streams']>, outbox: Outbox, excluded: ReadonlySet<number>) {
    this.#streams = streams;
    this.#outbox = outbox;
    this.#excluded = excluded;
  }

  /** Starts again, with the rows after `afterRowId` up to and including `upToRowId`. */
  setRange(afterRowId: number, upToRowId = Number.MAX_SAFE_INTEGER): void {
    this.#afterRowId = afterRowId;
    this.#upToRowId = upToRowId;
    this.restart();
  }

  /** Starts again at the first row of the range, because some rows must be sent again. */
  restart(): void {
    this.#doneRowId = this.#afterRowId;
    this.#page = [];
    this.#index = 0;
  }

  /** The next row; null when the outbox has no further row now. Throws `store_*`. */
  peek(): OutboxEntry | null {
    if (this.#revision !== this.#outbox.revision) {
      this.#revision = this.#outbox.revision;
      this.#page = [];
      this.#index = 0;
    }
    const next = this.#page[this.#index];
    if (next) return next;
    const upToRowId = Math.min(this.#upToRowId, this.#outbox.newestRowId);
    if (upToRowId <= this.#doneRowId) return null;
    const filter = { streams: this.#streams, afterRowId: this.#doneRowId, upToRowId };
    this.#page = [...this.#outbox.next(PAGE_ROWS, this.#excluded, filter)];
    this.#index = 0;
    if (this.#page.length === 0) this.#doneRowId = upToRowId;
    return this.#page[0] ?? null;
  }

  /** Call when the row that `peek` returned was sent. */
  advance(): void {
    this.#doneRowId = this.#page[this.#index]?.rowId ?? this.#doneRowId;
    // Release the row now: otherwise it could stay in memory until the next full garbage collection.
    this.#page[this.#index] = null;
    this.#index += 1;
  }
}

/** The topic of historical records, for the topic of live ones. */
export const backfillTopic = (live: string): string =>
  live.replace(/observation$/, 'backfill').replace(/\/sea_state$/, '/sea_state/backfill');

/** The end of every stored record: the fields whose values are known only when the record is sent come last. */
const STORED_END = '"published_at":null,"historical":false}';

const sentEnd = (publishedAt: string, historical: boolean): string =>
  `"published_at":"${publishedAt}","historical":${String(historical)}}`;

/**
 * Sets `published_at` (ISO 8601) and `historical` in a stored record. It edits the text, because parsing the unsent
 * records of a month would take too long. Throws `SyntaxError` for a record that does not end with `STORED_END` and is
 * not JSON.
 */
export function completeRecord(stored: string, publishedAt: string, historical: boolean): string {
  if (stored.endsWith(STORED_END))
    return stored.slice(0, -STORED_END.length) + sentEnd(publishedAt, historical);
  const record = JSON.parse(stored) as Record<string, unknown>;
  return JSON.stringify({ ...record, published_at: publishedAt, historical });
}

/** Size of one buffer: it has room for about twelve records. */
const SLAB_BYTES = 32_768;
/** Maximum length of a UTF-16 code unit in UTF-8. */
const MAX_BYTES_PER_UNIT = 3;

/**
 * Does the same as `completeRecord`, but writes UTF-8 directly to the buffer that is sent. With strings, there would be
 * two more copies of each record for the garbage collector.
 */
export class RecordEncoder {
  #slab = Buffer.alloc(0);
  #usedBytes = 0;
  /** The end that was written last, kept because many records are sent with the same time. */
  #end = { publishedAtMs: Number.NaN, historical: false, text: '' };

  encode(stored: string, publishedAtMs: number, historical: boolean): Buffer {
    if (!stored.endsWith(STORED_END))
      return Buffer.from(completeRecord(stored, isoTime(publishedAtMs), historical));
    if (this.#end.publishedAtMs !== publishedAtMs || this.#end.historical !== historical)
      this.#end = { publishedAtMs, historical, text: sentEnd(isoTime(publishedAtMs), historical) };
    const end = this.#end.text;
    const maxBytes = stored.length * MAX_BYTES_PER_UNIT + end.length;
    if (this.#slab.length - this.#usedBytes < maxBytes) {
      this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, maxBytes));
      this.#usedBytes = 0;
    }
    const from = this.#usedBytes;
    const endFrom = from + this.#slab.write(stored, from) - STORED_END.length;
    this.#usedBytes = endFrom + this.#slab.write(end, endFrom, 'latin1');
    return this.#slab.subarray(from, this.#usedBytes);
  }
}

/** Maximum number of acknowledged rows that one transaction deletes. */
const BATCH_ROWS = 512;
/**
 * Longest time until an acknowledged row is deleted, if the disk has no fault. After a crash in this time, it is sent
 * again.
 */
const MAX_DELAY_MS = 25;
const RETRY_MS = 1000;
/** Maximum number of acknowledged rows that wait for their deletion. With more, the forwarder stops sending. */
const MAX_WAITING_ROWS = 4 * BATCH_ROWS;

export interface AcknowledgedRowsDeps {
  readonly outbox: Outbox;
  readonly clock: Clock;
  readonly log: Log;
  /** Called with the rows that were deleted. */
  readonly onDeleted: (rows: readonly Acknowledgement[]) => void;
}

/** Deletes acknowledged rows from the outbox, many in one transaction. */
export class AcknowledgedRows {
  readonly #deps: AcknowledgedRowsDeps;
  #rows: Acknowledgement[] = [];
  #scheduled: 'no' | 'delayed' | 'immediate' = 'no';
  #isFailing = false;

  constructor(deps: AcknowledgedRowsDeps) {
    this.#deps = deps;
  }

  /** True when so many rows wait for their deletion that the forwarder must stop sending. */
  get isFull(): boolean {
    return this.#rows.length >= MAX_WAITING_ROWS;
  }

  /** `isLast`: nothing else is in flight, so a delay would not make the batch larger. */
  add(row: Acknowledgement, isLast: boolean, signal: AbortSignal): void {
    this.#rows.push(row);
    if (this.#isFailing) return;
    if (this.#rows.length >= BATCH_ROWS) this.flush(signal);
    else if (isLast) this.#flushImmediate(signal);
    else if (this.#scheduled === 'no') this.#flushAfter(MAX_DELAY_MS, signal);
  }

  /** Deletes all waiting rows now. After a failure it tries again until the signal fires. */
  flush(signal: AbortSignal): void {
    if (this.#rows.length === 0) return;
    const rows = this.#rows;
    try {
      this.#deps.outbox.acknowledge(rows);
    } catch (thrown) {
      this.#deps.log.error(
        { code: asAgentError(thrown).code, rows: rows.length },
        'cannot delete acknowledged rows from the outbox',
      );
      this.#isFailing = true;
      this.#flushAfter(RETRY_MS, signal);
      return;
    }
    this.#isFailing = false;
    this.#rows = [];
    this.#deps.onDeleted(rows);
  }

  #flushImmediate(signal: AbortSignal): void {
    if (this.#scheduled === 'immediate') return;
    this.#scheduled = 'immediate';
    setImmediate(() => {
      this.#scheduled = 'no';
      if (!signal.aborted) this.flush(signal);
    });
  }

  #flushAfter(ms: number, signal: AbortSignal): void {
    if (this.#scheduled === 'no') this.#scheduled = 'delayed';
    const flush = (): void => {
      if (this.#scheduled === 'delayed') this.#scheduled = 'no';
      this.flush(signal);
    };
    void this.#deps.clock.sleep(ms, signal).then(flush, () => undefined);
  }
}
