import { statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import { errorCode } from '../base/disk-errors.ts';
import { recordStream } from './outbox/table.ts';
import type { Sequences } from './sequences.ts';
import type { DatabaseStats, RecordKind, RejectedMessage } from './types.ts';

/** In a larger file, only the small essential tables are checked, because the check blocks the event loop. */
const MAX_FULL_CHECK_BYTES = 16 * 1_048_576;
const ESSENTIAL_TABLES = ['counters', 'labels', 'memory', 'commands'];
/** The check takes up to 0.1 s, so its result is cached. */
const CHECK_INTERVAL_MS = 60_000;
/** Tables whose rows are counted. To count the rows of a table, SQLite scans its smallest index. */
const COUNTED_TABLES = ['bursts', 'labels', 'rejected', 'commands'];
/**
 * Tables that grow with the history, and the numbers that their rows got in the order in which they were stored. Up to
 * `MAX_COUNTED_ROWS` rows are counted; more would block the event loop for seconds.
 */
const LONG_TABLES = [
  { table: 'observations', key: 'row_id' },
  { table: 'events', key: 'seq' },
  { table: 'sea_states', key: 'row_id' },
];
const MAX_COUNTED_ROWS = 100_000;

export interface StoreStatsDeps {
  readonly db: Database.Database;
  readonly path: string;
  readonly clock: Clock;
  readonly sequences: Sequences;
}

interface SeqRange {
  readonly camera: string;
  readonly stream: string;
  readonly fromSeq: number;
  readonly toSeq: number;
}

/** Numbers about the database, for diagnostics. */
export class StoreStats {
  readonly #deps: StoreStatsDeps;
  readonly #newestRejected: Database.Statement<[number], RejectedMessage>;
  readonly #rejectedCount: Database.Statement<[], { count: number }>;
  readonly #present: Readonly<Record<RecordKind, Database.Statement<[SeqRange], { seq: number }>>>;
  #checked: Pick<DatabaseStats, 'integrity' | 'integrityOf'> | null = null;
  #checkedMonoMs = 0;

  constructor(deps: StoreStatsDeps) {
    this.#deps = deps;
    this.#rejectedCount = deps.db.prepare('SELECT count(*) AS count FROM rejected');
    const present = (table: string): Database.Statement<[SeqRange], { seq: number }> =>
      deps.db.prepare(
        `SELECT seq FROM ${table} WHERE camera = @camera AND seq BETWEEN @fromSeq AND @toSeq
         UNION SELECT seq FROM outbox WHERE stream = @stream AND seq BETWEEN @fromSeq AND @toSeq ORDER BY seq`,
      );
    this.#present = { observation: present('observations'), sea_state: present('sea_states') };
    this.#newestRejected = deps.db.prepare(
      `SELECT topic, stream, seq, octet_length(payload) AS sizeBytes, reason, rejected_at_ms AS rejectedAtMs
       FROM rejected ORDER BY row_id DESC LIMIT ?`,
    );
  }

  /** Throws the errors of SQLite. */
  read(): DatabaseStats {
    const { db, path } = this.#deps;
    const pragma = (name: string): number => Number(db.pragma(name, { simple: true }));
    const pageBytes = pragma('page_size');
    const databaseBytes = pragma('page_count') * pageBytes;
    return {
      rows: {
        ...Object.fromEntries(LONG_TABLES.map(({ table, key }) => [table, this.#countLong(table, key)])),
        ...Object.fromEntries(COUNTED_TABLES.map((table) => [table, this.#count(table)])),
      },
      databaseBytes,
      freeBytes: pragma('freelist_count') * pageBytes,
      logBytes: statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0,
      ...this.#integrity(databaseBytes),
    };
  }

  /** The number of rejected messages, and the newest `limit` of them. */
  rejected(limit: number): { readonly count: number; readonly newest: readonly RejectedMessage[] } {
    return { count: this.#rejectedCount.get()?.count ?? 0, newest: this.#newestRejected.all(limit) };
  }

  /** The number of the newest record of this kind of a camera; 0 before the first one. */
  newestSeq(camera: string, kind: RecordKind = 'observation'): number {
    return this.#deps.sequences.last(recordStream(camera, kind));
  }

  /** The first `limit` ranges of missing numbers of a camera: those that are neither stored nor in the outbox. */
  gaps(
    camera: string,
    fromSeq: number,
    toSeq: number,
    limit: number,
    kind: RecordKind = 'observation',
  ): readonly (readonly [number, number])[] {
    const stream = recordStream(camera, kind);
    const present = this.#present[kind].iterate({ camera, stream, fromSeq, toSeq });
    const gaps: [number, number][] = [];
    let next = fromSeq;
    for (const { seq } of present) {
      if (seq > next) gaps.push([next, seq - 1]);
      next = seq + 1;
      if (gaps.length >= limit) break;
    }
    const end = Math.min(toSeq, this.#deps.sequences.last(stream));
    if (next <= end && gaps.length < limit) gaps.push([next, end]);
    return gaps;
  }

  #count(table: string): number {
    const row = this.#deps.db.prepare<[], { count: number }>(`SELECT count(*) AS count FROM ${table}`).get();
    return row?.count ?? 0;
  }

  /** The number of rows of a longer table is an upper bound: a few rows in between may have been deleted. */
  #countLong(table: string, key: string): number {
    const range = `(SELECT max(${key}) FROM ${table}) - (SELECT min(${key}) FROM ${table}) + 1`;
    const bound =
      this.#deps.db.prepare<[], { rows: number | null }>(`SELECT ${range} AS rows`).get()?.rows ?? 0;
    return bound <= MAX_COUNTED_ROWS ? this.#count(table) : bound;
  }

  #integrity(databaseBytes: number): Pick<DatabaseStats, 'integrity' | 'integrityOf'> {
    const nowMs = this.#deps.clock.monoMs();
    if (this.#checked && nowMs - this.#checkedMonoMs < CHECK_INTERVAL_MS) return this.#checked;
    const isFullCheck = databaseBytes <= MAX_FULL_CHECK_BYTES;
    const checks = isFullCheck
      ? ['quick_check(1)']
      : ESSENTIAL_TABLES.map((table) => `quick_check('${table}')`);
    const faults = checks.map((check) => this.#findFault(check)).filter((fault) => fault !== null);
    this.#checked = {
      integrity: faults[0] ?? 'ok',
      integrityOf: isFullCheck ? 'file' : ESSENTIAL_TABLES.join(', '),
    };
    this.#checkedMonoMs = nowMs;
    return this.#checked;
  }

  #findFault(check: string): string | null {
    try {
      const verdict = String(this.#deps.db.pragma(check, { simple: true }));
      return verdict === 'ok' ? null : verdict.slice(0, 200);
    } catch (error) {
      return errorCode(error) ?? 'cannot be read';
    }
  }
}
