import type { Outbox, OutboxEntry, OutboxFilter } from '../../store/types.ts';

/** Rows read at once: few statements, and few rows that wait in the young part of the heap, where each is copied. */
const PAGE = 32;

/** One kind of row in the outbox, read in the order of its ids, a page at a time. */
export class OutboxCursor {
  readonly #streams: NonNullable<OutboxFilter['streams']>;
  readonly #deps: { outbox: Outbox; taken: ReadonlySet<number> };
  #from = 0;
  #upTo = Number.MAX_SAFE_INTEGER;
  /** Rows up to this one were handed on, or are gone. */
  #cursor = 0;
  /** Null where a row was sent. */
  #page: (OutboxEntry | null)[] = [];
  #at = 0;
  #revision = -1;

  constructor(
    streams: NonNullable<OutboxFilter['streams']>,
    deps: { outbox: Outbox; taken: ReadonlySet<number> },
  ) {
    this.#streams = streams;
    this.#deps = deps;
  }

  /** Begins anew, with the rows above one id and up to another. */
  begin(from: number, upTo: number): void {
    this.#from = from;
    this.#upTo = upTo;
    this.restart();
  }

  /** Begins anew with the same rows: some that were handed on have come back. */
  restart(): void {
    this.#cursor = this.#from;
    this.#page = [];
    this.#at = 0;
  }

  /** The row whose turn it is; null when there is none now. Throws `store_*`. */
  peek(): OutboxEntry | null {
    const { outbox, taken } = this.#deps;
    if (this.#revision !== outbox.revision) {
      this.#revision = outbox.revision;
      this.#page = [];
      this.#at = 0;
    }
    const next = this.#page[this.#at];
    if (next) return next;
    const upToRowId = Math.min(this.#upTo, outbox.newestRowId);
    if (upToRowId <= this.#cursor) return null;
    const filter = { streams: this.#streams, afterRowId: this.#cursor, upToRowId };
    this.#page = [...outbox.next(PAGE, taken, filter)];
    this.#at = 0;
    if (this.#page.length === 0) this.#cursor = upToRowId;
    return this.#page[0] ?? null;
  }

  /** The row that `peek` gave was sent. */
  advance(): void {
    this.#cursor = this.#page[this.#at]?.rowId ?? this.#cursor;
    // A page that has grown old would keep all that was in it until the next full collection.
    this.#page[this.#at] = null;
    this.#at += 1;
  }
}
