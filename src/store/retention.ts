import { statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import { PLAUSIBLE_MS, type AgeGuard } from './age-guard.ts';
import type { SqliteOutbox } from './outbox/outbox.ts';
import type { Writer } from './writer.ts';

/** Rows deleted in one transaction: short, so that the main loop is not held up. */
const BATCH = 200;
const DAY_MS = 86_400_000;
const MB = 1_048_576;
/** Bursts without a label are learned from by a label that comes within this time. */
const BURST_DAYS = 14;
const COMMAND_DAYS = 7;
const MAX_WAL_BYTES = 8 * MB;
const VACUUM_PAGES = 256;
const MAX_ROUNDS = 20;
/** Share of the file that an emergency frees. */
const FREED_SHARE = 0.2;
/** Pages that a few records and the deleting of others take. */
const CRAMPED_PAGES = 64;

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
  readonly clock: Clock;
}

export interface PruneOutcome {
  readonly deleted: number;
  /** True when the round's batch was full: call again soon. */
  readonly more: boolean;
}

/** Deletes by age and by size, oldest first, in small rounds. */
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
        days: () => Math.min(days(), BURST_DAYS),
        delete: aged('bursts', 'row_id', 'captured_at_ms', unlabelled),
      },
      { days: () => COMMAND_DAYS, delete: aged('commands', 'id', 'received_at_ms') },
      { days, delete: aged('rejected', 'row_id', 'rejected_at_ms') },
    ];
    this.#oldest = [
      oldest('bursts', 'row_id', unlabelled),
      // One that waits is kept by the queue: to delete it would free nothing.
      oldest('observations', 'row_id', SENT),
      oldest('events', 'seq'),
      oldest('rejected', 'row_id'),
    ];
  }

  /** Other bounds, from the next round on. */
  setBounds(bounds: Omit<RetentionOptions, 'path'>): void {
    this.#options = { ...this.#options, ...bounds };
  }

  /** One round. Throws `store_*`. */
  prune(): PruneOutcome {
    this.#deps.ages.observe();
    const byAge = this.#pruneAged();
    const bySize = this.#usedBytes() > this.#options.maxMb * MB * 0.95 ? this.#pruneOldest() : 0;
    this.#shrink();
    return { deleted: byAge + bySize, more: byAge >= BATCH || bySize > 0 };
  }

  /**
   * Deletes the oldest records, whatever their age, until a part of the file is free inside; the outbox last, and
   * counted. The write-ahead log keeps its size: on a full disk it could not grow again. Returns how many rows went.
   */
  makeRoom(): number {
    let deleted = 0;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const rows = this.#pruneOldest();
      this.#deps.db.pragma('wal_checkpoint(RESTART)');
      deleted += rows;
      if (rows === 0 || this.#pragma('freelist_count') > this.#pragma('page_count') * FREED_SHARE) break;
    }
    return deleted;
  }

  /** True when the file can hardly take more without growing. */
  cramped(): boolean {
    return this.#pragma('freelist_count') < CRAMPED_PAGES;
  }

  #pruneAged(): number {
    const { ages, outbox, writer } = this.#deps;
    let deleted = outbox.dropAged(
      this.#options.outboxMaxAgeDays * DAY_MS,
      ages.cutoffMs(this.#options.outboxMaxAgeDays),
      PLAUSIBLE_MS,
    );
    for (const { days, delete: remove } of this.#aged) {
      const cutoffMs = ages.cutoffMs(days());
      if (cutoffMs === null) continue;
      deleted += writer.write(() => remove.run(PLAUSIBLE_MS, cutoffMs, BATCH).changes);
    }
    return deleted;
  }

  #pruneOldest(): number {
    const { outbox, writer } = this.#deps;
    let deleted = 0;
    for (const remove of this.#oldest) deleted += writer.write(() => remove.run(BATCH).changes);
    return deleted > 0 ? deleted : outbox.dropOldest(BATCH);
  }

  #usedBytes(): number {
    const pages = this.#pragma('page_count') - this.#pragma('freelist_count');
    return pages * this.#pragma('page_size');
  }

  #shrink(): void {
    const { db } = this.#deps;
    const overBytes = this.#pragma('page_count') * this.#pragma('page_size') - this.#options.maxMb * MB;
    // Free pages inside the file are used again; they go back to the disk only when the file is over its bound.
    if (overBytes > 0 && this.#pragma('freelist_count') > 0) db.pragma(`incremental_vacuum(${VACUUM_PAGES})`);
    const wal = statSync(`${this.#options.path}-wal`, { throwIfNoEntry: false });
    if (wal && wal.size > MAX_WAL_BYTES) db.pragma('wal_checkpoint(TRUNCATE)');
  }

  #pragma(name: string): number {
    return Number(this.#deps.db.pragma(name, { simple: true }));
  }
}
