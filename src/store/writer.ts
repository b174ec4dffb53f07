import type Database from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import { errorCode } from '../base/disk-errors.ts';
import { AgentError, type ErrorCode } from '../base/errors.ts';
import { asStoreError, isCorrupt, isFull } from './file/store-errors.ts';

/**
 * How often a write is repeated on a full disk. More would delete the history for a write that is larger than the disk.
 */
const MAX_ATTEMPTS = 6;
/** After a failed write, `isWritable` tries another write, but at most once in this interval. */
const PROBE_INTERVAL_MS = 5000;

export interface WriterDeps {
  readonly db: Database.Database;
  readonly clock: Clock;
  /**
   * Frees some space on a full disk; the next call frees more. Returns false when nothing is left. Called outside any
   * transaction.
   */
  readonly freeSpace: () => boolean;
  /** True when the next write may fill the disk so far that even deleting rows would fail. */
  readonly isNearlyFull: () => boolean;
  /** Called when a read or write finds damage. */
  readonly onCorrupt: (reason: string) => void;
}

/** Runs all writes to the database. Each write is a transaction: when `write` returns, it is on the disk. */
export class Writer {
  readonly #deps: WriterDeps;
  readonly #begin: Database.Statement;
  readonly #commit: Database.Statement;
  readonly #rollback: Database.Statement;
  #afterCommit = new Set<() => void>();
  readonly #rollbackListeners: (() => void)[] = [];
  #failure: ErrorCode | null = null;
  #probedMonoMs = -Infinity;
  #isFreeingSpace = false;

  constructor(deps: WriterDeps) {
    this.#deps = deps;
    this.#begin = deps.db.prepare('BEGIN IMMEDIATE');
    this.#commit = deps.db.prepare('COMMIT');
    this.#rollback = deps.db.prepare('ROLLBACK');
  }

  /**
   * Runs `work` in a transaction. Inside another `write`, `work` joins that transaction. On a full disk, frees space
   * and tries again. Throws `store_full`, `store_failed` or `store_corrupt`, and any error of `work`.
   */
  write<T>(work: () => T): T {
    if (this.#deps.db.inTransaction) return work();
    if (!this.#isFreeingSpace && this.#deps.isNearlyFull()) this.#freeSpace();
    for (let attempt = 1; ; attempt += 1) {
      try {
        return this.#transact(work);
      } catch (error) {
        const canFree = isFull(error) && !this.#isFreeingSpace && attempt < MAX_ATTEMPTS;
        if (!canFree || !this.#freeSpace()) throw this.#toStoreError(error);
      }
    }
  }

  /**
   * Like `write`, but does not wait for the disk: a power cut may undo the transaction until a later `write` has
   * returned. Use it for work that the agent can repeat.
   */
  writeRelaxed<T>(work: () => T): T {
    const { db } = this.#deps;
    if (db.inTransaction) return work();
    db.pragma('synchronous = NORMAL');
    try {
      return this.write(work);
    } finally {
      db.pragma('synchronous = FULL');
    }
  }

  /** Runs a read and reports damage that it finds. Throws as `write` does. */
  read<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.#reportDamage(error);
      throw asStoreError(error);
    }
  }

  /** The error code of the last write; null when the last write succeeded. */
  get failure(): ErrorCode | null {
    return this.#failure;
  }

  /** Calls `listener` once, after the current transaction was committed. Does not call it if the transaction fails. */
  afterCommit(listener: () => void): void {
    this.#afterCommit.add(listener);
  }

  /** Calls `listener` after each transaction that was rolled back. */
  onRollback(listener: () => void): void {
    this.#rollbackListeners.push(listener);
  }

  /** Whether the last write succeeded. After a failure, a call tries a small write, at most every 5 s. */
  isWritable(): boolean {
    const nowMs = this.#deps.clock.monoMs();
    if (this.#failure === null || nowMs - this.#probedMonoMs < PROBE_INTERVAL_MS)
      return this.#failure === null;
    this.#probedMonoMs = nowMs;
    try {
      this.write(() =>
        this.#deps.db
          .prepare(
            `INSERT INTO memory VALUES ('store.probe', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
          )
          .run(String(nowMs)),
      );
    } catch {
      // `write` has recorded the failure.
    }
    return this.failure === null;
  }

  #transact<T>(work: () => T): T {
    this.#begin.run();
    let result: T;
    try {
      result = work();
      this.#commit.run();
    } catch (error) {
      // After some errors, SQLite itself has already rolled the transaction back.
      if (this.#deps.db.inTransaction) this.#rollback.run();
      this.#afterCommit = new Set();
      for (const listener of this.#rollbackListeners) listener();
      throw error;
    }
    this.#failure = null;
    const listeners = this.#afterCommit;
    this.#afterCommit = new Set();
    for (const listener of listeners) listener();
    return result;
  }

  #freeSpace(): boolean {
    this.#isFreeingSpace = true;
    try {
      return this.#deps.freeSpace();
    } catch {
      // The caller reports the error of the write.
      return false;
    } finally {
      this.#isFreeingSpace = false;
    }
  }

  #toStoreError(error: unknown): unknown {
    const storeError = asStoreError(error);
    if (storeError instanceof AgentError && storeError !== error) this.#failure = storeError.code;
    this.#reportDamage(error);
    return storeError;
  }

  #reportDamage(error: unknown): void {
    if (isCorrupt(error)) this.#deps.onCorrupt(errorCode(error) ?? 'damaged');
  }
}
