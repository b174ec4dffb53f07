import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { migrate } from '../../../src/store/file/migrate.ts';
import { SqliteCommandLog, type CommandLogOptions } from '../../../src/store/command-log.ts';
import { Writer } from '../../../src/store/writer.ts';
import { ManualClock, openStore, tempDir } from '../../fixtures/store.ts';

const DAY_MS = 86_400_000;
const answer = (id: string, result?: unknown) =>
  JSON.stringify({ id, status: 'succeeded', ...(result === undefined ? {} : { result }), duration_ms: 1 });

describe('SqliteCommandLog', () => {
  let dir: ReturnType<typeof tempDir>;
  let db: Database.Database;
  const clock = new ManualClock();

  beforeEach(() => {
    dir = tempDir();
    db = new Database(join(dir.path, 'log.db'));
    migrate(db);
  });
  afterEach(() => {
    db.close();
    dir.remove();
  });

  function opened(options: CommandLogOptions = {}): SqliteCommandLog {
    const writer = new Writer({
      db,
      clock,
      makeRoom: () => false,
      cramped: () => false,
      onCorrupt: () => undefined,
    });
    return new SqliteCommandLog(options, { db, writer, clock });
  }
  const ids = () =>
    db
      .prepare<[], { id: string }>('SELECT id FROM commands ORDER BY position')
      .all()
      .map(({ id }) => id);

  it('remembers what began and how it ended', () => {
    const log = opened();
    expect(log.find('a')).toBeNull();
    log.begin('a', 'capture');
    expect(log.find('a')).toEqual({ id: 'a', name: 'capture', result: null });
    log.finish('a', answer('a'));
    expect(opened().find('a')).toEqual({ id: 'a', name: 'capture', result: answer('a') });
    expect(() => log.begin('a', 'capture')).toThrow();
    expect(() => opened().begin('a', 'ping')).toThrow();
  });

  it('tells ids apart that differ in anything', () => {
    const log = opened();
    const strange = [
      'a',
      'A',
      'a ',
      'á',
      'a\u0301',
      '\u202ea',
      'a\0',
      '',
      '🌊',
      '%',
      "'; DROP TABLE commands",
    ];
    strange.forEach((id, n) => log.begin(id, `n${n}`));
    strange.forEach((id, n) => expect(log.find(id)?.name).toBe(`n${n}`));
  });

  it('forgets the oldest above its number, first those that do no harm, whatever the clock says', () => {
    const log = opened({ mostKept: 4 });
    log.begin('capture-1', 'capture');
    log.begin('ping-1', 'ping', true);
    log.begin('capture-2', 'capture');
    // The clock fell back: what comes now looks the oldest.
    clock.wallMs -= 400 * DAY_MS;
    log.begin('ping-2', 'ping', true);
    log.begin('ping-3', 'ping', true);
    expect(ids()).toEqual(['capture-1', 'capture-2', 'ping-2', 'ping-3']);
    for (const n of [3, 4, 5]) log.begin(`capture-${n}`, 'capture');
    expect(ids()).toEqual(['capture-2', 'capture-3', 'capture-4', 'capture-5']);
    clock.wallMs += 400 * DAY_MS;
    // Again the same bound after a restart, and with what retention took away meanwhile.
    db.exec(`DELETE FROM commands WHERE id IN ('capture-2', 'capture-3')`);
    const later = opened({ mostKept: 4 });
    for (const n of [6, 7, 8]) later.begin(`capture-${n}`, 'capture');
    expect(ids()).toEqual(['capture-5', 'capture-6', 'capture-7', 'capture-8']);
  });

  it('takes the results out of the oldest answers above its bytes, and keeps how they ended', () => {
    const log = opened({ mostResultBytes: 20_000 });
    for (let n = 0; n < 50; n += 1) {
      log.begin(`c${n}`, 'capture');
      log.finish(`c${n}`, answer(`c${n}`, { note: '波'.repeat(300) }));
    }
    const kept = ids().map((id) => log.find(id)?.result ?? '');
    expect(kept.reduce((sum, text) => sum + Buffer.byteLength(text), 0)).toBeLessThanOrEqual(20_000);
    expect(kept[0]).toBe(answer('c0'));
    expect(kept[49]).toContain('波');
    // The same with what a run before has left.
    const later = opened({ mostResultBytes: 5000 });
    later.begin('new', 'capture');
    later.finish('new', answer('new', 'x'.repeat(2000)));
    const bytes = ids().reduce((sum, id) => sum + Buffer.byteLength(later.find(id)?.result ?? ''), 0);
    expect(bytes).toBeLessThan(6000);
    expect(later.find('new')?.result).toContain('xxx');
  });

  it('a result may be larger than the bound', () => {
    const log = opened({ mostResultBytes: 1000 });
    log.begin('a', 'diagnostics');
    log.finish('a', answer('a', 'x'.repeat(5000)));
    expect(log.find('a')?.result).toBe(answer('a'));
    log.begin('b', 'ping');
    log.finish('b', answer('b', 1));
    expect(log.find('b')?.result).toBe(answer('b', 1));
  });

  it('forgets after seven days', () => {
    const week = new ManualClock();
    const store = openStore(dir.path, week);
    store.commands.begin('old', 'ping');
    week.advance(6 * DAY_MS);
    store.commands.begin('new', 'ping');
    store.prune();
    expect(store.commands.find('old')).not.toBeNull();
    week.advance(1.1 * DAY_MS);
    while (store.prune().more);
    expect(store.commands.find('old')).toBeNull();
    expect(store.commands.find('new')).not.toBeNull();
    store.close();
  });

  it('takes over what an older agent stored, in the order of its time', () => {
    const older = new Database(join(dir.path, 'older.db'));
    const first = join(import.meta.dirname, '../../../src/store/migrations/001-initial.sql');
    older.exec(readFileSync(first, 'utf8'));
    older.pragma('user_version = 1');
    older.exec(`INSERT INTO commands VALUES ('b', 'ping', 1, '{}'), ('a', 'capture', 2, NULL)`);
    migrate(older);
    db.close();
    db = older;
    expect(ids()).toEqual(['b', 'a']);
    expect(opened().find('b')).toEqual({ id: 'b', name: 'ping', result: '{}' });
  });
});
