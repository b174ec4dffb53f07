import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SqliteAnalysisCache, type AnalysisCacheOptions } from '../../../src/store/analysis-cache.ts';
import { ManualClock, tempDir } from '../../fixtures/store.ts';

const FILE = 'swellsight.cache.db';
const TTL_S = 300;

/** `sleep` waits until the test calls `wake`, so that pending results stay pending. */
class HeldClock extends ManualClock {
  readonly #waiting: (() => void)[] = [];

  override sleep(_ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
    });
  }

  wake(): Promise<void> {
    for (const go of this.#waiting.splice(0)) go();
    return new Promise((resolve) => setImmediate(resolve));
  }
}

describe('SqliteAnalysisCache', () => {
  let dir: ReturnType<typeof tempDir>;
  let clock: HeldClock;
  let logged: string[];
  let opened: SqliteAnalysisCache[];
  beforeEach(() => {
    dir = tempDir();
    clock = new HeldClock();
    logged = [];
    opened = [];
  });
  afterEach(() => {
    for (const cache of opened) cache.close();
    dir.remove();
  });

  const open = (options: Partial<AnalysisCacheOptions> = {}): SqliteAnalysisCache => {
    const log = pino({ level: 'warn' }, { write: (line: string) => void logged.push(line) });
    const cache = SqliteAnalysisCache.open(
      { stateDir: dir.path, bootId: 'boot-1', ttlS: TTL_S, ...options },
      { clock, log },
    );
    opened.push(cache);
    return cache;
  };
  const path = (): string => join(dir.path, FILE);
  const foundKeys = (cache: SqliteAnalysisCache, keys: readonly string[]): string[] =>
    keys.filter((key) => cache.get(key) !== null);

  it('returns results before and after they are written, and after a restart', async () => {
    const cache = open();
    expect(cache.get('a')).toBeNull();
    cache.put('a', '{"h":1}');
    expect(cache.get('a')).toBe('{"h":1}');
    expect(cache.stats()).toMatchObject({ hits: 1, misses: 1, entries: 0 });
    await clock.wake();
    expect(cache.get('a')).toBe('{"h":1}');
    cache.put('a', '{"h":22}');
    cache.put('b', '{}');
    cache.close();
    const again = open();
    expect(again.get('a')).toBe('{"h":22}');
    expect(again.get('b')).toBe('{}');
    expect(again.stats()).toEqual({ hits: 2, misses: 0, entries: 2, sizeBytes: 'a{"h":22}b{}'.length });
  });

  it('deletes many stale results in small steps', async () => {
    const cache = open();
    for (let i = 0; i < 1024; i += 1) cache.put(`k${i}`, '{}');
    expect(cache.stats().entries).toBe(1024);
    clock.advance(TTL_S * 1000);
    const left: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      cache.put(`new${round}`, '{}');
      await clock.wake();
      left.push(cache.stats().entries);
    }
    expect(left).toEqual([769, 514, 259, 4, 5]);
    expect(cache.get('k1023')).toBeNull();
  });

  it('creates no file before its first use, and stores nothing after it is closed', () => {
    const cache = open();
    expect(readdirSync(dir.path)).toEqual([]);
    cache.close();
    cache.put('a', '{}');
    expect(cache.get('a')).toBeNull();
    expect(readdirSync(dir.path)).toEqual([]);
  });

  it('stores nothing with a lifetime of 0, and deletes an existing file', () => {
    const before = open();
    before.put('a', '{}');
    before.close();
    expect(existsSync(path())).toBe(true);
    const cache = open({ ttlS: 0 });
    cache.put('a', '{}');
    expect(cache.get('a')).toBeNull();
    expect(cache.stats()).toEqual({ hits: 0, misses: 0, entries: 0, sizeBytes: 0 });
    expect(readdirSync(dir.path)).toEqual([]);
  });

  describe('age', () => {
    it.each(['pending', 'written'])('expires a %s result', async (state) => {
      const cache = open();
      cache.put('a', '{}');
      if (state === 'written') await clock.wake();
      clock.advance(TTL_S * 1000 - 1);
      expect(cache.get('a')).toBe('{}');
      clock.advance(1);
      expect(cache.get('a')).toBeNull();
    });

    it('uses the monotonic clock within a boot: steps of the wall clock have no effect', async () => {
      const cache = open();
      cache.put('a', '{}');
      await clock.wake();
      clock.wallMs += 10 * 365 * 86_400_000;
      expect(cache.get('a')).toBe('{}');
      clock.wallMs = 0;
      expect(cache.get('a')).toBe('{}');
      clock.mono += TTL_S * 1000;
      expect(cache.get('a')).toBeNull();
    });

    it.each([
      ['soon after', 1000, true],
      ['long after', TTL_S * 1000, false],
      ['before, by the wall clock', -1, false],
      ['years before', -10 * 365 * 86_400_000, false],
    ])('uses the wall clock after a reboot: %s', (_when, laterMs, found) => {
      const cache = open();
      cache.put('a', '{}');
      cache.close();
      clock.mono = 0;
      clock.wallMs += laterMs;
      expect(open({ bootId: 'boot-2' }).get('a')).toBe(found ? '{}' : null);
    });

    it('deletes stale results when new ones are written', async () => {
      const cache = open();
      for (let index = 0; index < 10; index++) cache.put(`old-${index}`, '{}');
      await clock.wake();
      clock.advance(TTL_S * 1000);
      cache.put('new', '{}');
      await clock.wake();
      expect(cache.stats()).toMatchObject({ entries: 1, sizeBytes: 5 });
    });
  });

  describe('bounds', () => {
    it('delete the oldest results above the count', async () => {
      const cache = open({ maxEntries: 3 });
      for (const key of ['a', 'b', 'c', 'd', 'e']) cache.put(key, '{}');
      await clock.wake();
      expect(foundKeys(cache, ['a', 'b', 'c', 'd', 'e'])).toEqual(['c', 'd', 'e']);
      // A replaced result counts as new.
      cache.put('c', '{}');
      cache.put('f', '{}');
      await clock.wake();
      expect(foundKeys(cache, ['c', 'd', 'e', 'f'])).toEqual(['c', 'e', 'f']);
    });

    it('hold for any sequence of results, and the totals match the file', async () => {
      const command = fc.record({
        key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'),
        size: fc.nat(60),
        flush: fc.boolean(),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(command, { minLength: 1, maxLength: 120 }), async (commands) => {
          const cache = open({ maxEntries: 5, maxBytes: 150 });
          const last = new Map<string, string>();
          for (const { key, size, flush } of commands) {
            const json = JSON.stringify('é'.repeat(size));
            cache.put(key, json);
            last.set(key, json);
            if (flush) await clock.wake();
          }
          cache.close();
          const db = new Database(path());
          const kept = db.prepare<[], { key: string; json: string }>('SELECT key, json FROM answers').all();
          db.close();
          const again = open({ maxEntries: 5, maxBytes: 150 });
          const bytes = kept.reduce((sum, { key, json }) => sum + key.length + Buffer.byteLength(json), 0);
          expect(again.stats()).toMatchObject({ entries: kept.length, sizeBytes: bytes });
          expect(kept.length).toBeLessThanOrEqual(5);
          expect(bytes).toBeLessThanOrEqual(150);
          for (const { key, json } of kept) expect(json).toBe(last.get(key));
          again.close();
          dir.remove();
          mkdirSync(dir.path);
        }),
        { numRuns: 15 },
      );
    });

    it('write a full batch at once', () => {
      const cache = open();
      for (let index = 0; index < 31; index++) cache.put(`k${index}`, '{}');
      expect(cache.stats().entries).toBe(0);
      cache.put('k31', '{}');
      expect(cache.stats().entries).toBe(32);
    });

    it('refuse a result above the maximum size', async () => {
      const cache = open();
      cache.put('a', ' '.repeat(64_001));
      await clock.wake();
      expect(cache.get('a')).toBeNull();
    });
  });

  describe('a damaged file', () => {
    const filled = (): void => {
      const cache = open();
      for (let index = 0; index < 200; index++) cache.put(`key-${index}`, JSON.stringify('x'.repeat(900)));
      cache.close();
    };
    const expectWorking = async (cache: SqliteAnalysisCache): Promise<void> => {
      cache.put('z', '{}');
      await clock.wake();
      expect(cache.stats()).toMatchObject({ entries: 1 });
      expect(cache.get('z')).toBe('{}');
    };

    it.each<[string, () => void]>([
      ['not a database', () => writeFileSync(path(), 'an image of the sea '.repeat(500))],
      ['empty', () => writeFileSync(path(), '')],
      [
        'of another schema',
        () => new Database(path()).exec('CREATE TABLE a (b); PRAGMA user_version = 77').close(),
      ],
      ['without a version', () => new Database(path()).exec('CREATE TABLE answers (b)').close()],
    ])('is replaced at open: %s', async (_fault, damage) => {
      damage();
      await expectWorking(open());
    });

    it('is deleted when a read fails, and replaced a minute later', async () => {
      filled();
      const size = statSync(path()).size;
      const bytes = readFileSync(path());
      bytes.fill(0x5a, size / 2);
      writeFileSync(path(), bytes);
      const cache = open();
      const found = (): number =>
        foundKeys(
          cache,
          [...Array(200).keys()].map((index) => `key-${index}`),
        ).length;
      expect(found()).toBeLessThan(200);
      expect(found()).toBe(0);
      expect(logged).toHaveLength(1);
      expect(existsSync(path())).toBe(false);
      cache.put('a', '{}');
      await clock.wake();
      expect(cache.get('a')).toBeNull();
      clock.advance(60_000);
      await expectWorking(cache);
      expect(logged).toHaveLength(1);
    });

    it.each<[string, string]>([
      ['a result', `UPDATE answers SET json = replace(json, 'x', 'y') WHERE key = 'key-7'`],
      ['the key', `UPDATE answers SET key = 'other' WHERE key = 'key-7'`],
    ])('returns no wrong result after a change of %s', (column, sql) => {
      filled();
      new Database(path()).exec(sql).close();
      const cache = open();
      expect(cache.get(column === 'the key' ? 'other' : 'key-7')).toBeNull();
      expect(cache.get('key-8')).toBeNull();
      expect(logged).toHaveLength(1);
    });

    it('does not throw when the path is a directory or its directory is missing', async () => {
      mkdirSync(path());
      const cache = open();
      cache.put('a', '{}');
      await clock.wake();
      expect(cache.get('a')).toBeNull();
      dir.remove();
      clock.advance(60_000);
      cache.put('a', '{}');
      await clock.wake();
      expect(cache.get('a')).toBeNull();
      expect(cache.stats()).toMatchObject({ hits: 0, entries: 0 });
    });

    it('does not throw after its file was deleted in use, and works after a restart', async () => {
      const cache = open();
      cache.put('a', '{}');
      await clock.wake();
      dir.remove();
      mkdirSync(dir.path);
      for (let index = 0; index < 100; index++) cache.put(`k${index}`, '{}');
      await clock.wake();
      cache.get('a');
      cache.close();
      await expectWorking(open());
    });
  });

  const canMount = canMountTmpfs();
  it.skipIf(!canMount)('(needs mount) frees its disk space when the disk is full', async () => {
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', dir.path]).status).toBe(0);
    try {
      const cache = open();
      const put = (count: number, name: string): void => {
        for (let index = 0; index < count; index++)
          cache.put(`${name}-${index}`, JSON.stringify('x'.repeat(20_000)));
      };
      put(32, 'a');
      expect(cache.get('a-0')).not.toBeNull();
      put(96, 'b');
      expect(logged).toHaveLength(1);
      expect(readdirSync(dir.path)).toEqual([]);
      expect(cache.stats().entries).toBe(0);
      clock.advance(60_000);
      cache.put('c', '{}');
      await clock.wake();
      expect(cache.get('c')).toBe('{}');
      cache.close();
    } finally {
      spawnSync('umount', ['-l', dir.path]);
    }
  });
});

function canMountTmpfs(): boolean {
  const dir = tempDir();
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', dir.path]);
  if (status === 0) spawnSync('umount', [dir.path]);
  dir.remove();
  return status === 0;
}
