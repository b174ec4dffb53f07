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
    [[], newest],
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
