import { copyFileSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import Database from 'better-sqlite3';

export interface AuditOptions {
  readonly database: string;
  /** A folder for copies, in memory if there is one. */
  readonly scratch: string;
  readonly check: 'integrity_check' | 'quick_check';
  /** Ids that the broker acknowledged before the device could know. */
  readonly acked: ReadonlySet<string>;
}

interface Kept {
  readonly id: string;
  readonly key: string;
}

/**
 * Looks into the database of a device that is dead, each time that it was killed. What it says holds for that moment:
 * whole, numbered by ones, nothing gone that was there before, and nothing taken out of the outbox that the broker had
 * not acknowledged. It reads a copy, so that the device itself meets what the kill left behind.
 */
export class Audit {
  /** Faults in words, each one once. */
  readonly faults = new Set<string>();
  /** Records taken out of the outbox that the broker never acknowledged: what the device lost. */
  readonly losses: string[] = [];
  checks = 0;
  observations = 0;
  events = 0;
  queued = 0;
  readonly #options: AuditOptions;
  /** Committed and still in the outbox when last looked at. */
  #waiting: Kept[] = [];
  #newest = { observation: 0, event: 0 };

  constructor(options: AuditOptions) {
    this.#options = options;
  }

  run(): void {
    const { database, scratch, check } = this.#options;
    // Killed before it had made its first file.
    if (!existsSync(database)) return;
    for (const name of readdirSync(dirname(database)))
      if (name.includes('.broken-')) this.faults.add(`the database was set aside as ${name}`);
    const copy = join(scratch, `${basename(dirname(database))}.db`);
    for (const suffix of ['', '-wal']) {
      rmSync(copy + suffix, { force: true });
      if (existsSync(database + suffix)) copyFileSync(database + suffix, copy + suffix);
    }
    const db = new Database(copy);
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

  #read(db: Database.Database): void {
    const { acked } = this.#options;
    const one = (sql: string, ...args: unknown[]): number =>
      db.prepare<unknown[], { n: number }>(sql).get(...args)?.n ?? 0;
    const before = this.observations + this.events;
    const kept =
      one('SELECT count(*) AS n FROM observations WHERE row_id <= ?', this.#newest.observation) +
      one('SELECT count(*) AS n FROM events WHERE seq <= ?', this.#newest.event);
    if (kept !== before) this.faults.add(`${before - kept} records that were stored are gone`);

    this.#waiting.push(...this.#fresh(db));
    const queue = new Set(
      db
        .prepare<[], { key: string }>(`SELECT stream || ' ' || seq AS key FROM outbox`)
        .all()
        .map(({ key }) => key),
    );
    const setAside = one('SELECT count(*) AS n FROM rejected');
    if (setAside > 0) this.faults.add('records were set aside as rejected');
    if (one(`SELECT value AS n FROM counters WHERE name = 'dropped_total'`) > 0)
      this.faults.add('records were dropped from the outbox');
    for (const { id, key } of this.#waiting)
      if (!queue.has(key) && !acked.has(id) && setAside === 0) this.losses.push(key);
    this.#waiting = this.#waiting.filter(({ key }) => queue.has(key));
    this.queued = queue.size;
    if (one(`SELECT count(*) AS n FROM events WHERE type = 'store_recovered'`) > 0)
      this.faults.add('the store believes that records are missing');
    this.#checkNumbers(db);
  }

  #fresh(db: Database.Database): Kept[] {
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

  /** Each stream counts 1, 2, 3 … and its counter stands at the last. */
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

/** A device that was killed at its very first step has none yet. */
function hasTables(db: Database.Database): boolean {
  return db.prepare(`SELECT 1 FROM sqlite_master WHERE name = 'commands'`).get() !== undefined;
}
