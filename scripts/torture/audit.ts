import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { copyDatabase } from '../../src/store/file/migrate-copy.ts';

export interface AuditOptions {
  readonly database: string;
  /** A directory for copies, in memory when possible. */
  readonly scratch: string;
  readonly check: 'integrity_check' | 'quick_check';
  /** Ids of acknowledged messages, recorded before the device receives the acknowledgement. */
  readonly acked: ReadonlySet<string>;
}

interface Kept {
  readonly id: string;
  readonly key: string;
}

/**
 * Checks the database of a device after each kill: intact, numbered without gaps, no stored record missing, and no row
 * deleted from the outbox without an acknowledgement. Reads a copy, so that the device itself recovers from the kill.
 */
export class Audit {
  /** Descriptions of faults, without duplicates. */
  readonly faults = new Set<string>();
  /** Records deleted from the outbox without an acknowledgement. */
  readonly losses: string[] = [];
  checks = 0;
  observations = 0;
  events = 0;
  queued = 0;
  readonly #options: AuditOptions;
  /** Records that were in the outbox at the last check. */
  #waiting: Kept[] = [];
  #newest = { observation: 0, event: 0 };

  constructor(options: AuditOptions) {
    this.#options = options;
  }

  run(): void {
    const { database, check } = this.#options;
    // The device was killed before it created its database.
    if (!existsSync(database)) return;
    for (const name of readdirSync(dirname(database)))
      if (name.includes('.broken-')) this.faults.add(`the database was set aside as ${name}`);
    const db = this.#openCopy();
    try {
      this.checks += 1;
      const verdict = String(db.pragma(check, { simple: true }));
      if (verdict !== 'ok') this.faults.add(`${check}: ${verdict}`);
      else if (hasTables(db)) this.#read(db);
    } catch (error) {
      this.faults.add(`unreadable: ${String(error)}`);
    } finally {
      db.close();
    }
  }

  /** How many messages wait in the outbox. */
  depth(): number {
    try {
      const db = this.#openCopy();
      using _db = { [Symbol.dispose]: () => db.close() };
      return db.prepare<[], { n: number }>('SELECT count(*) AS n FROM outbox').get()?.n ?? 0;
    } catch {
      // The device was killed before it created its tables, and has not started again yet.
      return 1;
    }
  }

  /** A running device has locked the file. */
  #openCopy(): Database.Database {
    const { database, scratch } = this.#options;
    const copy = join(scratch, `${basename(dirname(database))}.db`);
    copyDatabase(database, copy);
    return new Database(copy);
  }

  #read(db: Database.Database): void {
    const { acked } = this.#options;
    const one = (sql: string, ...args: unknown[]): number =>
      db.prepare<unknown[], { n: number }>(sql).get(...args)?.n ?? 0;
    const before = this.observations + this.events;
    const kept =
      one('SELECT count(*) AS n FROM observations WHERE row_id <= ?', this.#newest.observation) +
      one('SELECT count(*) AS n FROM events WHERE seq <= ?', this.#newest.event);
    if (kept !== before) this.faults.add(`${before - kept} stored records are missing`);

    this.#waiting.push(...this.#readNew(db));
    const queue = new Set(
      db
        .prepare<[], { key: string }>(`SELECT stream || ' ' || seq AS key FROM outbox`)
        .all()
        .map(({ key }) => key),
    );
    const rejected = one('SELECT count(*) AS n FROM rejected');
    if (rejected > 0) this.faults.add('records were rejected');
    if (one(`SELECT value AS n FROM counters WHERE name = 'dropped_total'`) > 0)
      this.faults.add('records were dropped from the outbox');
    for (const { id, key } of this.#waiting)
      if (!queue.has(key) && !acked.has(id) && rejected === 0) this.losses.push(key);
    this.#waiting = this.#waiting.filter(({ key }) => queue.has(key));
    this.queued = queue.size;
    if (one(`SELECT count(*) AS n FROM events WHERE type = 'store_recovered'`) > 0)
      this.faults.add('the store reported missing records');
    this.#checkNumbers(db);
  }

  #readNew(db: Database.Database): Kept[] {
    const observations = db
      .prepare<[number], Kept & { row: number }>(
        `SELECT row_id AS row, id, 'camera:' || camera || ' ' || seq AS key FROM observations WHERE row_id > ?`,
      )
      .all(this.#newest.observation);
    const events = db
      .prepare<[number], Kept & { row: number }>(
        `SELECT seq AS row, payload ->> 'id' AS id, 'events ' || seq AS key FROM events WHERE seq > ?`,
      )
      .all(this.#newest.event);
    this.#newest = {
      observation: Math.max(this.#newest.observation, ...observations.map(({ row }) => row)),
      event: Math.max(this.#newest.event, ...events.map(({ row }) => row)),
    };
    this.observations += observations.length;
    this.events += events.length;
    return [...observations, ...events];
  }

  /** Each stream has the numbers 1, 2, 3 … and its counter is equal to the last one. */
  #checkNumbers(db: Database.Database): void {
    const streams = db
      .prepare<[], { stream: string; n: number; last: number; counter: number | null }>(
        `SELECT stream, n, last, (SELECT value FROM counters WHERE name = 'seq:' || stream) AS counter FROM (
           SELECT 'camera:' || camera AS stream, count(*) AS n, max(seq) AS last FROM observations GROUP BY camera
           UNION ALL SELECT 'events', count(*), max(seq) FROM events HAVING count(*) > 0)`,
      )
      .all();
    for (const { stream, n, last, counter } of streams)
      if (n !== last || last !== counter)
        this.faults.add(`${stream}: ${n} records, the last is ${last}, the counter ${counter ?? 'missing'}`);
  }
}

/** False for a device that was killed during its first start. */
function hasTables(db: Database.Database): boolean {
  return db.prepare(`SELECT 1 FROM sqlite_master WHERE name = 'commands'`).get() !== undefined;
}
