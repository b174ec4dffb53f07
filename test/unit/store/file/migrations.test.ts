import Database from 'better-sqlite3';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { migrate } from '../../../../src/store/file/database.ts';
import { readMigrations, schemaRange, type Migration } from '../../../../src/store/file/migrations.ts';

const DIRECTORY = join(import.meta.dirname, '../../../../src/store/migrations');
/** The last migration from before the line `-- compatible-from` existed. */
const LAST_WITHOUT_LINE = 5;

const shipped = readMigrations(DIRECTORY);
const newest = shipped.at(-1)!.version;
const step = (version: number, compatibleFrom = version): Migration => ({
  version,
  compatibleFrom,
  sql: `CREATE TABLE added_${version} (a INTEGER) STRICT`,
});

const versionOf = (db: Database.Database): number => Number(db.pragma('user_version', { simple: true }));

describe('migrations', () => {
  it('all say from which schema on an agent can use the result', () => {
    const unstated = shipped.filter(
      ({ version, sql }) => version > LAST_WITHOUT_LINE && !sql.includes('-- compatible-from: '),
    );
    expect(unstated.map(({ version }) => version)).toEqual([]);
  });

  it.each([
    [[], shipped.at(-1)!.compatibleFrom],
    [[step(newest + 1)], newest + 1],
    [[step(newest + 1, newest)], newest],
    [[step(newest + 1, newest), step(newest + 2, newest)], newest],
    [[step(newest + 1, newest), step(newest + 2)], newest + 2],
    [[step(newest + 1), step(newest + 2, newest)], newest + 1],
  ])('%j: the oldest agent that can use the database has schema %i', (more, compatibleFrom) => {
    const all = [...shipped, ...more];
    expect(schemaRange(all)).toEqual({ schema: all.at(-1)!.version, compatibleFrom });
    const isUsable = (schema: number): boolean => {
      const db = new Database(':memory:');
      migrate(db, all);
      try {
        migrate(
          db,
          all.filter(({ version }) => version <= schema),
        );
        return versionOf(db) === all.at(-1)!.version;
      } catch {
        return false;
      }
    };
    expect(all.map(({ version }) => version).find(isUsable)).toBe(compatibleFrom);
  });

  it('lets the former agent use a database that a version on trial has migrated, and the newer one again later', () => {
    const db = new Database(':memory:');
    const next = [...shipped, step(newest + 1, newest)];
    migrate(db, shipped);
    migrate(db, next);
    migrate(db, shipped);
    expect(versionOf(db)).toBe(newest + 1);
    migrate(db, [...next, step(newest + 2)]);
    expect(() => migrate(db, shipped)).toThrow(expect.objectContaining({ code: 'store_failed' }));
  });
});

describe('migration 6', () => {
  const upTo = (version: number): readonly Migration[] => shipped.filter((one) => one.version <= version);
  const insert = (db: Database.Database, count: number): void => {
    const statement = db.prepare(
      `INSERT INTO observations (id, camera, seq, captured_at_ms, status, payload) VALUES (?, ?, ?, ?, ?, '{}')`,
    );
    const statuses = ['measured', 'rejected', 'failed', 'skipped'];
    const from = (db.prepare('SELECT count(*) AS n FROM observations').get() as { n: number }).n;
    for (let n = from; n < from + count; n += 1)
      statement.run(`id-${n}`, n % 3 === 0 ? 'north' : 'south', n, (n * 37) % 50, statuses[n % 4]);
  };
  const columns = 'camera, status, captured_at_ms, row_id';
  const rowsOf = (db: Database.Database, table: string): unknown[] =>
    db.prepare(`SELECT ${columns} FROM ${table} ORDER BY ${columns}`).all();
  const databaseOf5 = (): Database.Database => {
    const db = new Database(':memory:');
    migrate(db, upTo(5));
    insert(db, 200);
    return db;
  };

  it('orders the records that are stored already', () => {
    const db = databaseOf5();
    migrate(db, upTo(6));
    expect(rowsOf(db, 'history')).toHaveLength(200);
    expect(rowsOf(db, 'history')).toEqual(rowsOf(db, 'observations'));
  });

  it('changes nothing when it is interrupted, and runs again', () => {
    const db = databaseOf5();
    const interrupted = upTo(6).map((one) =>
      one.version === 6 ? { ...one, sql: `${one.sql}; SELECT no_such_function();` } : one,
    );
    const before = db.prepare('SELECT sql FROM sqlite_schema').all();
    expect(() => migrate(db, interrupted)).toThrow(/no_such_function/);
    expect(versionOf(db)).toBe(5);
    expect(db.prepare('SELECT sql FROM sqlite_schema').all()).toEqual(before);
    migrate(db, upTo(6));
    expect(rowsOf(db, 'history')).toEqual(rowsOf(db, 'observations'));
  });

  it('keeps the order while an agent of the former version uses the database', () => {
    const db = databaseOf5();
    migrate(db, upTo(6));
    migrate(db, upTo(5));
    insert(db, 50);
    db.exec('DELETE FROM observations WHERE captured_at_ms < 10');
    db.exec('UPDATE observations SET captured_at_ms = captured_at_ms + 3 WHERE seq % 2 = 0');
    expect(rowsOf(db, 'history').length).toBeGreaterThan(100);
    expect(rowsOf(db, 'history')).toEqual(rowsOf(db, 'observations'));
  });
});
