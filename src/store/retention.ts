import { statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { MIN_PLAUSIBLE_MS, type AgeGuard } from './age-guard.ts';
import { checkpoint } from './file/database.ts';
import type { SqliteOutbox } from './outbox/outbox.ts';
import type { Writer } from './writer.ts';

/** Rows that one transaction deletes: this blocks the event loop for a few milliseconds. */
const BATCH_ROWS = 200;
const DAY_MS = 86_400_000;
const MB = 1_048_576;
/** A burst without a label is deleted after this time; until then, somebody may still label it. */
const UNLABELLED_BURST_DAYS = 14;
const COMMAND_DAYS = 7;
const MAX_WAL_BYTES = 8 * MB;
const VACUUM_PAGES = 256;
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

export interface RetentionDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly outbox: SqliteOutbox;
  readonly ages: AgeGuard;
}

export interface PruneResult {
  readonly deleted: number;
  /** True when there may be more rows to delete: call again soon. */
  readonly more: boolean;
}

/** Deletes rows by age and by size, oldest first, in short rounds. Keeps labelled bursts, and records not sent yet. */
export class Retention {
  #options: RetentionOptions;
  readonly #deps: RetentionDeps;
  readonly #aged: readonly { days: () => number; delete: Database.Statement<[number, number, number]> }[];
  readonly #oldest: readonly Database.Statement<[number]>[];

  constructor(options: RetentionOptions, deps: RetentionDeps) {
    this.#options = options;
    this.#deps = deps;
    const unlabelled = `NOT EXISTS (SELECT 1 FROM labels l
      WHERE l.camera = bursts.camera AND l.observation_id = bursts.observation_id)`;
    const aged = (table: string, key: string, column: string, also = 'TRUE') =>
      deps.db.prepare<[number, number, number]>(
        `DELETE FROM ${table} WHERE ${key} IN (SELECT ${key} FROM ${table}
           WHERE ${column} > ? AND ${column} < ? AND ${also} LIMIT ?)`,
      );
    const oldest = (table: string, key: string, also = 'TRUE') =>
      deps.db.prepare<[number]>(
        `DELETE FROM ${table} WHERE ${key} IN (SELECT ${key} FROM ${table} WHERE ${also} ORDER BY ${key} LIMIT ?)`,
      );
    const days = (): number => this.#options.retentionDays;
    this.#aged = [
      { days, delete: aged('observations', 'row_id', 'captured_at_ms') },
      { days, delete: aged('events', 'seq', 'at_ms') },
      {
        days: () => Math.min(days(), UNLABELLED_BURST_DAYS),
        delete: aged('bursts', 'row_id', 'captured_at_ms', unlabelled),
      },
      { days: () => COMMAND_DAYS, delete: aged('commands', 'id', 'received_at_ms') },
      { days, delete: aged('rejected', 'row_id', 'rejected_at_ms') },
    ];
    this.#oldest = [
      oldest('bursts', 'row_id', unlabelled),
      // Keep records that wait in the outbox: deleting one would free nothing, because its payload would move to the
      // outbox.
      oldest('observations', 'row_id', SENT),
      oldest('events', 'seq'),
      oldest('rejected', 'row_id'),
    ];
  }

  /** Sets the limits for the next rounds. */
  setBounds(bounds: Omit<RetentionOptions, 'path'>): void {
    this.#options = { ...this.#options, ...bounds };
  }

  /** Runs one round of deletions. Throws `store_*`. */
  prune(): PruneResult {
    this.#deps.ages.observe();
    const byAge = this.#pruneAged();
    const bySize = this.#usedBytes() > this.#options.maxMb * MB * MAX_FILL_SHARE ? this.#pruneOldest() : 0;
    this.#shrink();
    return { deleted: byAge + bySize, more: byAge >= BATCH_ROWS || bySize > 0 };
  }

  #pruneAged(): number {
    const { ages, outbox, writer } = this.#deps;
    let deleted = outbox.bounds.dropAged(
      this.#options.outboxMaxAgeDays * DAY_MS,
      ages.cutoffMs(this.#options.outboxMaxAgeDays),
      MIN_PLAUSIBLE_MS,
    );
    for (const { days, delete: remove } of this.#aged) {
      const cutoffMs = ages.cutoffMs(days());
      if (cutoffMs === null) continue;
      deleted += writer.write(() => remove.run(MIN_PLAUSIBLE_MS, cutoffMs, BATCH_ROWS).changes);
    }
    return deleted;
  }

  #pruneOldest(): number {
    const { outbox, writer } = this.#deps;
    let deleted = 0;
    for (const remove of this.#oldest) deleted += writer.write(() => remove.run(BATCH_ROWS).changes);
    return deleted > 0 ? deleted : outbox.bounds.dropOldest(BATCH_ROWS);
  }

  #usedBytes(): number {
    const pages = this.#pragma('page_count') - this.#pragma('freelist_count');
    return pages * this.#pragma('page_size');
  }

  #shrink(): void {
    const { db } = this.#deps;
    const overBytes = this.#pragma('page_count') * this.#pragma('page_size') - this.#options.maxMb * MB;
    // SQLite reuses free pages. Return them to the disk only when the file exceeds its bound.
    if (overBytes > 0 && this.#pragma('freelist_count') > 0) db.pragma(`incremental_vacuum(${VACUUM_PAGES})`);
    const wal = statSync(`${this.#options.path}-wal`, { throwIfNoEntry: false });
    if (wal && wal.size > MAX_WAL_BYTES) checkpoint(db, 'TRUNCATE');
  }

  #pragma(name: string): number {
    return Number(this.#deps.db.pragma(name, { simple: true }));
  }
}
