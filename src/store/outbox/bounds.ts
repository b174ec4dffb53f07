import type { Clock } from '../../base/clock.ts';
import { takeGone } from './settling.ts';
import type { Found, prepareOutbox } from './statements.ts';
import type { OutboxTally } from './tally.ts';
import type { Sequences } from '../sequences.ts';
import type { Writer } from '../writer.ts';

/** Events may fill this share of the bound before one of them is dropped rather than a record. */
const EVENT_SHARE = 0.1;
/** Rows that one call of `dropAged` looks at. */
const AGED_AT_ONCE = 200;

export interface OutboxOptions {
  readonly maxMessages: number;
  /** Payload bytes of all that waits. */
  readonly maxBytes: number;
}

export interface OutboxBoundsDeps {
  readonly statements: ReturnType<typeof prepareOutbox>;
  readonly tally: OutboxTally;
  readonly writer: Writer;
  readonly sequences: Sequences;
  readonly clock: Clock;
  readonly firstRowIdOfRun: number;
  /** Called after a commit in which the bound pushed rows out. */
  readonly onDropped: () => void;
}

/** What the queue may hold, by count, bytes and age: drops the oldest, and counts them in the same transaction. */
export class OutboxBounds {
  #options: OutboxOptions;
  readonly #deps: OutboxBoundsDeps;
  #held: ReadonlySet<number> = new Set();
  #agedUpTo = 0;
  #revision = 0;

  constructor(options: OutboxOptions, deps: OutboxBoundsDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Other bounds; what is above them goes with the next `keep`. */
  set(options: OutboxOptions): void {
    this.#options = options;
  }

  /** Rows that are not dropped, as the set stands at any time. */
  hold(rows: ReadonlySet<number>): void {
    this.#held = rows;
  }

  holds(rowId: number): boolean {
    return this.#held.has(rowId);
  }

  /** Changes with each drop. */
  get revision(): number {
    return this.#revision;
  }

  /** Whether a message fits in without pushing another one out. */
  hasRoom(payload: string): boolean {
    const { maxMessages, maxBytes } = this.#options;
    const { rows, bytes } = this.#deps.tally;
    return rows < maxMessages && bytes + Buffer.byteLength(payload) <= maxBytes;
  }

  /** Drops the oldest until both bounds are kept, or everything left is with the broker. */
  keep(): void {
    const { maxMessages, maxBytes } = this.#options;
    const { tally } = this.#deps;
    while (tally.rows > maxMessages || tally.bytes > maxBytes) {
      const flooding = tally.events > Math.max(1, Math.floor(maxMessages * EVENT_SHARE));
      const order = flooding
        ? (['events', 'requeued', 'cameras'] as const)
        : (['requeued', 'cameras', 'events'] as const);
      // As many as the count asks for; by bytes one at a time.
      const count = Math.max(1, tally.rows - maxMessages);
      if (!order.some((kind) => this.#dropRows(this.#oldestFree(kind, count)) > 0)) return;
    }
  }

  /**
   * Drops what waits longer than `maxAgeMs`, of the next rows that it looks at: all have been looked at after some
   * calls. Rows of this run are aged by the monotonic clock, older ones by the wall clock between `plausibleMs` and
   * `cutoffMs`, or not at all while that is null.
   */
  dropAged(maxAgeMs: number, cutoffMs: number | null, plausibleMs: number): number {
    const monoCutoffMs = this.#deps.clock.monoMs() - maxAgeMs;
    const rows = this.#deps.statements.ages.all(this.#agedUpTo, AGED_AT_ONCE);
    this.#agedUpTo = rows.length < AGED_AT_ONCE ? 0 : (rows.at(-1)?.row_id ?? 0);
    const aged = rows.filter((row) =>
      row.row_id >= this.#deps.firstRowIdOfRun
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

  #oldestFree(kind: 'requeued' | 'cameras' | 'events', count: number): readonly Found[] {
    if (count <= 0) return [];
    const rows = this.#deps.statements.oldestOf[kind].all(count + this.#held.size);
    return rows.filter(({ row_id }) => !this.#held.has(row_id)).slice(0, count);
  }

  #dropRows(rows: readonly Found[]): number {
    if (rows.length === 0) return 0;
    takeGone(rows, this.#deps.statements, this.#deps.tally);
    this.#revision += 1;
    // A record that was asked for again had its fate before.
    const lost = rows.filter(({ requeued }) => requeued === 0).length;
    if (lost > 0) {
      this.#deps.sequences.countDropped(lost);
      this.#deps.writer.afterCommit(this.#deps.onDropped);
    }
    return rows.length;
  }
}
