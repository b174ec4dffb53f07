import type Database from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import { AgentError, type ErrorCode } from '../base/errors.ts';
import { asStoreError, isCorrupt, isFull } from './file/store-errors.ts';

/** After a failed write, `writable` asks the disk again at most this often. */
const PROBE_EVERY_MS = 5000;

export interface WriterDeps {
  readonly db: Database.Database;
  readonly clock: Clock;
  /** Makes room on a full disk; false when nothing could be freed. Called outside any transaction. */
  readonly makeRoom: () => boolean;
  /** True when the next write may well find the disk full, and then not even deleting would work. */
  readonly cramped: () => boolean;
  readonly onCorrupt: () => void;
}

/** The one way to write: a transaction that is on the disk when `write` returns, or did not happen. */
export class Writer {
  readonly #deps: WriterDeps;
  readonly #begin: Database.Statement;
  readonly #commit: Database.Statement;
  readonly #rollback: Database.Statement;
  #afterCommit = new Set<() => void>();
  readonly #rollbackListeners: (() => void)[] = [];
  #failure: ErrorCode | null = null;
  #probedMonoMs = -Infinity;
  #makingRoom = false;

  constructor(deps: WriterDeps) {
    this.#deps = deps;
    this.#begin = deps.db.prepare('BEGIN IMMEDIATE');
    this.#commit = deps.db.prepare('COMMIT');
    this.#rollback = deps.db.prepare('ROLLBACK');
  }

  /**
   * Runs `work` in a transaction; within another `write` it joins that one. On a full disk room is made and the
   * work is tried once more. Throws `store_full`, `store_failed` or `store_corrupt`, and whatever `work` throws.
   */
  write<T>(work: () => T): T {
    if (this.#deps.db.inTransaction) return work();
    if (!this.#makingRoom && this.#deps.cramped()) this.#makeRoom();
    try {
      return this.#transact(work);
    } catch (error) {
      if (!isFull(error) || this.#makingRoom || !this.#makeRoom()) throw this.#note(error);
    }
    try {
      return this.#transact(work);
    } catch (error) {
      throw this.#note(error);
    }
  }

  /**
   * As `write`, but a power cut may undo it, as long as no later `write` has returned: for what can be done again. Takes
   * no wait for the disk.
   */
  writeSoon<T>(work: () => T): T {
    const { db } = this.#deps;
    if (db.inTransaction) return work();
    db.pragma('synchronous = NORMAL');
    try {
      return this.write(work);
    } finally {
      db.pragma('synchronous = FULL');
    }
  }

  /** Reads, so that damage that only a reader meets is noted too. Throws as `write` does. */
  read<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (isCorrupt(error)) this.#deps.onCorrupt();
      throw asStoreError(error);
    }
  }

  /** Why the last write failed; null when it worked. */
  get failure(): ErrorCode | null {
    return this.#failure;
  }

  /** Runs `listener` once after the running transaction is on the disk; not at all when it fails. */
  afterCommit(listener: () => void): void {
    this.#afterCommit.add(listener);
  }

  /** Calls `listener` whenever a transaction did not happen. */
  onRollback(listener: () => void): void {
    this.#rollbackListeners.push(listener);
  }

  /** Whether the last write worked; after a failure the disk is tried again now and then. */
  writable(): boolean {
    const nowMs = this.#deps.clock.monoMs();
    if (this.#works() || nowMs - this.#probedMonoMs < PROBE_EVERY_MS) return this.#works();
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
      // The failure is what was asked for; it is noted by `write`.
    }
    return this.#works();
  }

  #works(): boolean {
    return this.#failure === null;
  }

  #transact<T>(work: () => T): T {
    this.#begin.run();
    let result: T;
    try {
      result = work();
      this.#commit.run();
    } catch (error) {
      // Some failures have ended the transaction already.
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

  #makeRoom(): boolean {
    this.#makingRoom = true;
    try {
      return this.#deps.makeRoom();
    } catch {
      // The first failure is the one to report.
      return false;
    } finally {
      this.#makingRoom = false;
    }
  }

  #note(error: unknown): unknown {
    const known = asStoreError(error);
    if (known instanceof AgentError && known !== error) this.#failure = known.code;
    if (isCorrupt(error)) this.#deps.onCorrupt();
    return known;
  }
}
