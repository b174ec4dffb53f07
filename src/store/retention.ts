import { statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import { MIN_PLAUSIBLE_MS, type AgeGuard } from './age-guard.ts';
import type { Bursts } from './bursts.ts';
import { checkpoint } from './file/database.ts';
import type { SqliteOutbox } from './outbox/outbox.ts';
import type { StoreBounds } from './types.ts';
import type { Writer } from './writer.ts';

/** Rows that one call of `prune` deletes from each table. */
const BATCH_ROWS = 200;
/** Rows that one transaction deletes: it is not interrupted, and takes several times longer on a small board. */
const STEP_ROWS = 20;
/** A call of `prune` starts no further transaction after this time, because it blocks the event loop. */
const MAX_BLOCK_MS = 5;
/**
 * Time between two searches for expired rows. They are deleted together, because each transaction that deletes rows
 * writes the same few pages again.
 */
const AGED_INTERVAL_MS = 6 * 3_600_000;
const DAY_MS = 86_400_000;
const MB = 1_048_576;
/** A burst without a label is deleted after this time; until then, somebody may still label it. */
const UNLABELLED_BURST_DAYS = 14;
const COMMAND_DAYS = 7;
const MAX_WAL_BYTES = 8 * MB;
/** The oldest rows are deleted when the file uses more than this share of `maxMb`. */
const MAX_FILL_SHARE = 0.95;

const SENT = `NOT EXISTS (SELECT 1 FROM outbox q
  WHERE q.stream = 'camera:' || observations.camera AND q.seq = observations.seq)`;

export interface RetentionOptions {
  readonly path: string;
  readonly retentionDays: number;
  readonly maxMb: number;
  readonly outboxMaxAgeDays: number;
}

export const retentionBounds = ({
  retentionDays,
  maxMb,
  outbox,
}: StoreBounds): Omit<RetentionOptions, 'path'> => ({
  retentionDays,
  maxMb,
  outboxMaxAgeDays: outbox.maxAgeDays,
});

export interface RetentionDeps {
  readonly db: Database.Database;
  readonly clock: Clock;
  readonly writer: Writer;
  readonly bursts: Bursts;
  readonly outbox: SqliteOutbox;
  readonly ages: AgeGuard;
}

export interface PruneResult {
  readonly deleted: number;
  /** True when there may be more rows to delete: call again soon. */
  readonly more: boolean;
}

/** Deletes up to `limit` rows with a time between the two times. Returns the number of deleted rows. */
type DeleteAged = (fromMs: number, toMs: number, limit: number) => number;

/** Deletes rows by age and by size, oldest first, in short rounds. Keeps labelled bursts, and records not sent yet. */
export class Retention {
  #options: RetentionOptions;
  readonly #deps: RetentionDeps;
  readonly #aged: readonly { readonly days: () => number; readonly delete: DeleteAged }[];
  readonly #oldest: readonly ((limit: number) => number)[];
  /** When a search for expired rows last found no more of them. */
  #agedMonoMs = -Infinity;
  /** True when the last round has deleted rows: the next one moves the write-ahead log into the file. */
  #isLogGrown = false;

  constructor(options: RetentionOptions, deps: RetentionDeps) {
    this.#options = options;
    this.#deps = deps;
    const unlabelled = `NOT EXISTS (SELECT 1 FROM labels l
      WHERE l.camera = bursts.camera AND l.observation_id = bursts.observation_id)`;
    const aged = (table: string, key: string, column: string, also = 'TRUE'): DeleteAged => {
      const statement = deps.db.prepare<[number, number, number]>(
        `DELETE FROM ${table} WHERE ${key} IN (SELECT ${key} FROM ${table}
           WHERE ${column} > ? AND ${column} < ? AND ${also} LIMIT ?)`,
      );
      return (...bounds) => statement.run(...bounds).changes;
    };
    const oldest = (table: string, key: string, also = 'TRUE') => {
      const statement = deps.db.prepare<[number]>(
        `DELETE FROM ${table} WHERE ${key} IN (SELECT ${key} FROM ${table} WHERE ${also} ORDER BY ${key} LIMIT ?)`,
      );
      return (limit: number) => statement.run(limit).changes;
    };
    const { bursts } = deps;
    const days = (): number => this.#options.retentionDays;
    const burstDays = (): number => Math.min(days(), UNLABELLED_BURST_DAYS);
    this.#aged = [
      { days, delete: aged('observations', 'row_id', 'captured_at_ms') },
      { days, delete: aged('sea_states', 'row_id', 'captured_at_ms') },
      { days, delete: aged('events', 'seq', 'at_ms') },
      { days: burstDays, delete: (...bounds) => bursts.deleteAgedRecent(...bounds) },
      { days: burstDays, delete: aged('bursts', 'row_id', 'captured_at_ms', unlabelled) },
      { days: () => COMMAND_DAYS, delete: aged('commands', 'id', 'received_at_ms') },
      { days, delete: aged('rejected', 'row_id', 'rejected_at_ms') },
    ];
    this.#oldest = [
      oldest('recent_bursts', 'row_id'),
      oldest('bursts', 'row_id', unlabelled),
      // Keep records that wait in the outbox: deleting one would free nothing, because its payload would move to the
      // outbox.
      oldest('observations', 'row_id', SENT),
      oldest('sea_states', 'row_id'),
      oldest('events', 'seq'),
      oldest('rejected', 'row_id'),
    ];
  }

  /** Sets the limits for the next rounds. */
  setBounds(bounds: Omit<RetentionOptions, 'path'>): void {
    this.#options = { ...this.#options, ...bounds };
    this.#agedMonoMs = -Infinity;
  }

  /** Runs one round of deletions, or of moving what they wrote into the file. Throws `store_*`. */
  prune(): PruneResult {
    // Each of both blocks the event loop about as long as a round may.
    if (this.#isLogGrown) {
      checkpoint(this.#deps.db, 'PASSIVE');
      this.#isLogGrown = false;
      return { deleted: 0, more: true };
    }
    const result = this.#withoutCheckpoint(() => this.#deleteRows());
    this.#isLogGrown = result.more;
    return result;
  }

  #withoutCheckpoint<T>(work: () => T): T {
    const pages = this.#pragma('wal_autocheckpoint');
    this.#deps.db.pragma('wal_autocheckpoint = 0');
    try {
      return work();
    } finally {
      this.#deps.db.pragma(`wal_autocheckpoint = ${pages}`);
    }
  }

  #deleteRows(): PruneResult {
    const { ages, clock } = this.#deps;
    ages.observe();
    const endMonoMs = clock.monoMs() + MAX_BLOCK_MS;
    const isInTime = (): boolean => clock.monoMs() < endMonoMs;
    const dropped = this.#dropAgedMessages();
    const byAge = this.#pruneAged(isInTime);
    const isOver = this.#usedBytes() > this.#options.maxMb * MB * MAX_FILL_SHARE;
    const bySize = isOver && isInTime() ? this.#pruneOldest(STEP_ROWS) : 0;
    this.#limitLog();
    const deleted = dropped + byAge.deleted + bySize;
    return { deleted, more: byAge.more || (isOver && (bySize > 0 || !isInTime())) };
  }

  #dropAgedMessages(): number {
    const { ages, outbox } = this.#deps;
    const { outboxMaxAgeDays } = this.#options;
    return outbox.bounds.dropAged(
      outboxMaxAgeDays * DAY_MS,
      ages.cutoffMs(outboxMaxAgeDays),
      MIN_PLAUSIBLE_MS,
    );
  }

  /** `more`: there are more expired rows. Does nothing for a time after it found none. */
  #pruneAged(isInTime: () => boolean): PruneResult {
    const { ages, clock, writer } = this.#deps;
    if (clock.monoMs() - this.#agedMonoMs < AGED_INTERVAL_MS) return { deleted: 0, more: false };
    let deleted = 0;
    let [isTrusted, more] = [true, false];
    for (const { days, delete: remove } of this.#aged) {
      const cutoffMs = ages.cutoffMs(days());
      isTrusted &&= cutoffMs !== null;
      for (let rows = 0; cutoffMs !== null && rows < BATCH_ROWS;) {
        if (!isInTime()) return { deleted, more: true };
        const changes = writer.writeRelaxed(() => remove(MIN_PLAUSIBLE_MS, cutoffMs, STEP_ROWS));
        rows += changes;
        deleted += changes;
        more ||= rows >= BATCH_ROWS;
        if (changes < STEP_ROWS) break;
      }
    }
    if (isTrusted && !more) this.#agedMonoMs = clock.monoMs();
    return { deleted, more };
  }

  #pruneOldest(limit: number): number {
    const { outbox, writer } = this.#deps;
    let deleted = 0;
    for (const remove of this.#oldest) deleted += writer.writeRelaxed(() => remove(limit));
    return deleted > 0 ? deleted : outbox.bounds.dropOldest(limit);
  }

  #usedBytes(): number {
    const pages = this.#pragma('page_count') - this.#pragma('freelist_count');
    return pages * this.#pragma('page_size');
  }

  #limitLog(): void {
    const wal = statSync(`${this.#options.path}-wal`, { throwIfNoEntry: false });
    if (wal && wal.size > MAX_WAL_BYTES) checkpoint(this.#deps.db, 'TRUNCATE');
  }

  #pragma(name: string): number {
    return Number(this.#deps.db.pragma(name, { simple: true }));
  }
}
