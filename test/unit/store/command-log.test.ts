import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { migrate } from '../../../src/store/file/database.ts';
import { SqliteCommandLog, type CommandLogOptions } from '../../../src/store/command-log.ts';
import { Writer } from '../../../src/store/writer.ts';
import { ManualClock, openStore, tempDir } from '../../fixtures/store.ts';

const DAY_MS = 86_400_000;
const resultMessage = (id: string, result?: unknown) =>
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

  function open(options: CommandLogOptions = {}): SqliteCommandLog {
    const writer = new Writer({
      db,
      clock,
      freeSpace: () => false,
      isNearlyFull: () => false,
      onCorrupt: () => undefined,
    });
    return new SqliteCommandLog(options, { db, writer, clock });
  }
  const ids = () =>
    db
      .prepare<[], { id: string }>('SELECT id FROM commands ORDER BY position')
      .all()
      .map(({ id }) => id);

  it('stores the start and the result of a command, and refuses a second start', () => {
    const log = open();
    expect(log.find('a')).toBeNull();
    log.begin('a', 'capture');
    expect(log.find('a')).toEqual({ id: 'a', name: 'capture', result: null });
    log.finish('a', resultMessage('a'));
    expect(open().find('a')).toEqual({ id: 'a', name: 'capture', result: resultMessage('a') });
    expect(() => log.begin('a', 'capture')).toThrow();
    expect(() => open().begin('a', 'ping')).toThrow();
  });

  it('distinguishes ids that differ in any character', () => {
    const log = open();
    const similarIds = [
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
    similarIds.forEach((id, n) => log.begin(id, `n${n}`));
    similarIds.forEach((id, n) => expect(log.find(id)?.name).toBe(`n${n}`));
  });

  it('forgets the oldest commands above its count, repeatable ones first, with any clock', () => {
    const log = open({ maxCommands: 4 });
    log.begin('capture-1', 'capture');
    log.begin('ping-1', 'ping', true);
    log.begin('capture-2', 'capture');
    // The clock stepped back: the next commands look the oldest.
    clock.wallMs -= 400 * DAY_MS;
    log.begin('ping-2', 'ping', true);
    log.begin('ping-3', 'ping', true);
    expect(ids()).toEqual(['capture-1', 'capture-2', 'ping-2', 'ping-3']);
    for (const n of [3, 4, 5]) log.begin(`capture-${n}`, 'capture');
    expect(ids()).toEqual(['capture-2', 'capture-3', 'capture-4', 'capture-5']);
    clock.wallMs += 400 * DAY_MS;
    // The bound holds after a restart, and after retention deleted some commands.
    db.exec(`DELETE FROM commands WHERE id IN ('capture-2', 'capture-3')`);
    const later = open({ maxCommands: 4 });
    for (const n of [6, 7, 8]) later.begin(`capture-${n}`, 'capture');
    expect(ids()).toEqual(['capture-5', 'capture-6', 'capture-7', 'capture-8']);
  });

  it('removes the results of the oldest messages above its bytes, and keeps their status', () => {
    const log = open({ maxResultBytes: 20_000 });
    for (let n = 0; n < 50; n += 1) {
      log.begin(`c${n}`, 'capture');
      log.finish(`c${n}`, resultMessage(`c${n}`, { note: '波'.repeat(300) }));
    }
    const kept = ids().map((id) => log.find(id)?.result ?? '');
    expect(kept.reduce((sum, text) => sum + Buffer.byteLength(text), 0)).toBeLessThanOrEqual(20_000);
    expect(kept[0]).toBe(resultMessage('c0'));
    expect(kept[49]).toContain('波');
    // The same for messages of an earlier run.
    const later = open({ maxResultBytes: 5000 });
    later.begin('new', 'capture');
    later.finish('new', resultMessage('new', 'x'.repeat(2000)));
    const bytes = ids().reduce((sum, id) => sum + Buffer.byteLength(later.find(id)?.result ?? ''), 0);
    expect(bytes).toBeLessThan(6000);
    expect(later.find('new')?.result).toContain('xxx');
  });

  it('shortens a result that alone exceeds the bound', () => {
    const log = open({ maxResultBytes: 1000 });
    log.begin('a', 'diagnostics');
    log.finish('a', resultMessage('a', 'x'.repeat(5000)));
    expect(log.find('a')?.result).toBe(resultMessage('a'));
    log.begin('b', 'ping');
    log.finish('b', resultMessage('b', 1));
    expect(log.find('b')?.result).toBe(resultMessage('b', 1));
  });

  it('forgets commands after seven days', () => {
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

  it('migrates the commands of an older agent, in the order of their time', () => {
    const older = new Database(join(dir.path, 'older.db'));
    const first = join(import.meta.dirname, '../../../src/store/migrations/001-initial.sql');
    older.exec(readFileSync(first, 'utf8'));
    older.pragma('user_version = 1');
    older.exec(`INSERT INTO commands VALUES ('b', 'ping', 1, '{}'), ('a', 'capture', 2, NULL)`);
    migrate(older);
    db.close();
    db = older;
    expect(ids()).toEqual(['b', 'a']);
    expect(open().find('b')).toEqual({ id: 'b', name: 'ping', result: '{}' });
  });
});
