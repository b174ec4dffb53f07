import { statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import { errorCode } from '../base/disk-errors.ts';
import type { RejectedMessage, StoreFigures } from './types.ts';

/** A larger file is not read through while the agent works: only the tables that are small and vital. */
const LOOKED_THROUGH_BYTES = 16 * 1_048_576;
const VITAL_TABLES = ['counters', 'labels', 'memory', 'commands'];
/** The look costs up to a tenth of a second: it is not taken again at once. */
const LOOK_EVERY_MS = 60_000;
/** Each is counted by its smallest index. */
const COUNTED = ['observations', 'events', 'bursts', 'labels', 'rejected', 'commands'];

export interface FiguresDeps {
  readonly db: Database.Database;
  readonly path: string;
  readonly clock: Clock;
}

interface SeqRange {
  readonly camera: string;
  readonly stream: string;
  readonly fromSeq: number;
  readonly toSeq: number;
}

/** What lies in the database, for people who look for a cause. */
export class StoreStats {
  readonly #deps: FiguresDeps;
  readonly #newestRejected: Database.Statement<[number], RejectedMessage>;
  readonly #rejectedCount: Database.Statement<[], { count: number }>;
  readonly #lastSeq: Database.Statement<[string], { value: number }>;
  readonly #present: Database.Statement<[SeqRange], { seq: number }>;
  #look: Pick<StoreFigures, 'integrity' | 'integrityOf'> | null = null;
  #lookedMonoMs = 0;

  constructor(deps: FiguresDeps) {
    this.#deps = deps;
    this.#rejectedCount = deps.db.prepare('SELECT count(*) AS count FROM rejected');
    this.#lastSeq = deps.db.prepare('SELECT value FROM counters WHERE name = ?');
    this.#present = deps.db.prepare(
      `SELECT seq FROM observations WHERE camera = @camera AND seq BETWEEN @fromSeq AND @toSeq
       UNION SELECT seq FROM outbox WHERE stream = @stream AND seq BETWEEN @fromSeq AND @toSeq ORDER BY seq`,
    );
    this.#newestRejected = deps.db.prepare(
      `SELECT topic, stream, seq, octet_length(payload) AS sizeBytes, reason, rejected_at_ms AS rejectedAtMs
       FROM rejected ORDER BY row_id DESC LIMIT ?`,
    );
  }

  /** Throws as the database does. */
  read(): StoreFigures {
    const { db, path } = this.#deps;
    const pragma = (name: string): number => Number(db.pragma(name, { simple: true }));
    const pageBytes = pragma('page_size');
    const databaseBytes = pragma('page_count') * pageBytes;
    return {
      rows: Object.fromEntries(COUNTED.map((table) => [table, this.#count(table)])),
      databaseBytes,
      freeBytes: pragma('freelist_count') * pageBytes,
      logBytes: statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0,
      ...this.#integrity(databaseBytes),
    };
  }

  /** Messages that the broker did not take: how many are kept, and the newest of them. */
  rejected(limit: number): { readonly count: number; readonly newest: readonly RejectedMessage[] } {
    return { count: this.#rejectedCount.get()?.count ?? 0, newest: this.#newestRejected.all(limit) };
  }

  /** Ranges of a camera's numbers, both ends included, that are neither stored nor waiting: the first `limit`. */
  gaps(
    camera: string,
    fromSeq: number,
    toSeq: number,
    limit: number,
  ): readonly (readonly [number, number])[] {
    const last = this.#lastSeq.get(`seq:camera:${camera}`)?.value ?? 0;
    const there = this.#present.iterate({ camera, stream: `camera:${camera}`, fromSeq, toSeq });
    const gaps: [number, number][] = [];
    let next = fromSeq;
    for (const { seq } of there) {
      if (seq > next) gaps.push([next, seq - 1]);
      next = seq + 1;
      if (gaps.length >= limit) break;
    }
    const end = Math.min(toSeq, last);
    if (next <= end && gaps.length < limit) gaps.push([next, end]);
    return gaps;
  }

  #count(table: string): number {
    const row = this.#deps.db.prepare<[], { count: number }>(`SELECT count(*) AS count FROM ${table}`).get();
    return row?.count ?? 0;
  }

  #integrity(databaseBytes: number): Pick<StoreFigures, 'integrity' | 'integrityOf'> {
    const nowMs = this.#deps.clock.monoMs();
    if (this.#look && nowMs - this.#lookedMonoMs < LOOK_EVERY_MS) return this.#look;
    const whole = databaseBytes <= LOOKED_THROUGH_BYTES;
    const checks = whole ? ['quick_check(1)'] : VITAL_TABLES.map((table) => `quick_check('${table}')`);
    const faults = checks.map((check) => this.#fault(check)).filter((fault) => fault !== null);
    this.#look = { integrity: faults[0] ?? 'ok', integrityOf: whole ? 'file' : VITAL_TABLES.join(', ') };
    this.#lookedMonoMs = nowMs;
    return this.#look;
  }

  #fault(check: string): string | null {
    try {
      const verdict = String(this.#deps.db.pragma(check, { simple: true }));
      return verdict === 'ok' ? null : verdict.slice(0, 200);
    } catch (error) {
      return errorCode(error) ?? 'cannot be read';
    }
  }
}
