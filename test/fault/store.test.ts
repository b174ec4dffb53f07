import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import type { Event } from '../../src/contract/states.ts';
import { burstFeatures, draft, ManualClock, openCopy, openStore, tempDir } from '../fixtures/store.ts';

const LOOP = fileURLToPath(new URL('../fixtures/append-loop.ts', import.meta.url));

/** Runs the child process until it has printed some records, then kills it. Returns the printed lines. */
async function appendUntilKilled(stateDir: string, afterMs: number): Promise<string[]> {
  const child = spawn(process.execPath, [LOOP, stateDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (printed === '') setTimeout(() => child.kill('SIGKILL'), afterMs);
    printed += text;
  });
  await closed;
  return printed.split('\n').slice(0, -1);
}

describe('SIGKILL while records are stored', () => {
  it('loses no printed record, damages no file and uses no number twice, in twelve rounds', async () => {
    const dir = tempDir();
    const printed: string[] = [];
    try {
      for (let round = 0; round < 12; round += 1)
        printed.push(...(await appendUntilKilled(dir.path, 5 + round * 12)));
      const store = openStore(dir.path, systemClock);
      expect(store.recovered).toBeNull();
      store.close();
      const db = new Database(join(dir.path, 'swellsight.db'));
      expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
      const rows = db
        .prepare<[], { camera: string; seq: number; id: string }>(
          `SELECT camera, seq, id FROM observations UNION ALL SELECT camera || '/sea_state', seq, id FROM sea_states`,
        )
        .all();
      const depth = db.prepare<[], { n: number }>('SELECT count(*) AS n FROM outbox').get()!.n;
      const published = db
        .prepare<[], { n: number }>(
          `SELECT (SELECT count(*) FROM publications)
                + (SELECT count(*) FROM sea_states WHERE published_at_ms IS NOT NULL) AS n`,
        )
        .get()!.n;
      db.close();
      const stored = new Set(rows.map((row) => `${row.camera} ${row.seq} ${row.id}`));
      expect(printed.length).toBeGreaterThan(100);
      expect(printed.filter((line) => !stored.has(line))).toEqual([]);
      for (const camera of ['north', 'south', 'north/sea_state']) {
        const numbers = rows.filter((row) => row.camera === camera).map(({ seq }) => seq);
        expect(numbers.toSorted((a, b) => a - b)).toEqual(numbers.map((_, n) => n + 1));
      }
      // Each record is either in the outbox or marked as published.
      expect(depth + published).toBe(rows.length);
    } finally {
      dir.remove();
    }
  }, 240_000);
});

/** True when this process may mount a tmpfs: root in a container often may not. */
function canMountTmpfs(): boolean {
  const dir = tempDir();
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', dir.path]);
  if (status === 0) spawnSync('umount', ['-l', dir.path]);
  dir.remove();
  return status === 0;
}
const canMount = canMountTmpfs();

describe('a full disk', () => {
  it.skipIf(!canMount)(
    '(needs mount) deletes the reserve file, then databases that were set aside, then the oldest records, no more than it needs, and reports them',
    () => {
      const dir = tempDir();
      const stateDir = join(dir.path, 'state');
      mkdirSync(stateDir);
      const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'none', stateDir]);
      expect(mounted.status, String(mounted.stderr)).toBe(0);
      try {
        const setAside = join(stateDir, 'swellsight.db.broken-20260101-000000');
        writeFileSync(setAside, Buffer.alloc(2 * 1_048_576));
        const clock = new ManualClock();
        const store = openStore(stateDir, clock, { outbox: { maxMessages: 100, maxAgeDays: 7 } });
        // Random values cannot be compressed.
        const big = burstFeatures(Array.from({ length: 1280 }, Math.random));
        const reserve = join(stateDir, 'swellsight.ballast');
        expect(existsSync(reserve)).toBe(true);
        // Another program takes the rest of the disk.
        writeFileSync(join(stateDir, 'hog'), Buffer.alloc(28.5 * 1_048_576));
        const firstAtMs = clock.nowMs();
        const deletions = (): readonly Event[] =>
          store.events.recent(1000).filter(({ type }) => type === 'history_deleted');
        const kept = (): number => {
          const db = openCopy(stateDir);
          const rows = db.prepare<[], { n: number }>('SELECT count(*) AS n FROM observations').get()?.n ?? 0;
          db.close();
          return rows;
        };
        /** How many records were stored when it happened first. */
        const seen = { withoutReserve: 0, withoutSetAside: 0, deleted: 0, rows: 0 };
        for (let n = 1; n <= 3000; n += 1) {
          const captured_at = new Date(clock.nowMs()).toISOString();
          expect(store.append(draft({ captured_at }), big).seq).toBe(n);
          clock.advance(1000);
          if (seen.withoutReserve === 0 && !existsSync(reserve)) seen.withoutReserve = n;
          if (seen.withoutSetAside === 0 && !existsSync(setAside)) seen.withoutSetAside = n;
          if (seen.deleted > 0 || deletions().length === 0) continue;
          seen.deleted = n;
          // The event came with the first deletion: a few records make room for the next ones.
          const [event] = deletions();
          const { rows, from, to } = event?.context as { rows: number; from: string; to: string };
          expect(event).toMatchObject({ severity: 'warning', code: 'store_full' });
          seen.rows = rows;
          expect(rows).toBeLessThanOrEqual(100);
          expect(kept()).toBeLessThan(n);
          expect(kept()).toBeGreaterThanOrEqual(n - rows);
          expect(Date.parse(from)).toBe(firstAtMs);
          expect(Date.parse(to)).toBeLessThan(firstAtMs + rows * 1000);
        }
        expect(seen.withoutReserve).toBeGreaterThan(100);
        expect(seen.withoutSetAside).toBeGreaterThan(seen.withoutReserve);
        expect(seen.deleted).toBeGreaterThan(seen.withoutSetAside);
        expect(store.isWritable()).toBe(true);
        // One event an hour has all later deletions.
        clock.advance(3_600_000);
        store.prune();
        const [newest] = deletions();
        expect(Date.parse(newest!.at)).toBe(clock.nowMs());
        expect(seen.rows + Number(newest!.context['rows'])).toBeGreaterThanOrEqual(3000 - kept());
        store.close();
        // Almost the whole file is in use.
        const db = new Database(join(stateDir, 'swellsight.db'));
        const pragma = (name: string): number => Number(db.pragma(name, { simple: true }));
        expect(pragma('freelist_count') * pragma('page_size')).toBeLessThan(1_048_576);
        db.close();
        const again = openStore(stateDir, clock);
        expect(again.recovered).toBeNull();
        expect(again.append(draft(), big).seq).toBe(3001);
        again.close();
      } finally {
        spawnSync('umount', ['-l', stateDir]);
        dir.remove();
      }
    },
  );

  it.skipIf(!canMount)(
    '(needs mount) fails with store_full when nothing can be freed, and recovers when space is free',
    () => {
      const dir = tempDir();
      const stateDir = join(dir.path, 'state');
      mkdirSync(stateDir);
      expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'none', stateDir]).status).toBe(0);
      try {
        const store = openStore(stateDir, systemClock);
        store.append(draft(), burstFeatures([1]));
        const hog = join(stateDir, 'hog');
        expect(() => writeFileSync(hog, Buffer.alloc(4 * 1_048_576))).toThrow(/ENOSPC/);
        const attempt = (): void => {
          // Larger than the whole disk.
          store.append(draft(), burstFeatures(Array.from({ length: 1_000_000 }, Math.random)));
        };
        expect(attempt).toThrow(expect.objectContaining({ code: 'store_full' }));
        expect(store.failureCode()).toBe('store_full');
        store.raise({ type: 'x', severity: 'info', code: 'x', message: '', context: {} });
        writeFileSync(hog, '');
        expect(store.append(draft(), burstFeatures([1])).seq).toBe(2);
        expect(store.events.recent(1)[0]).toMatchObject({
          type: 'records_unstored',
          code: 'store_full',
          context: { records: 1 },
        });
        expect(store.isWritable()).toBe(true);
        store.close();
      } finally {
        spawnSync('umount', ['-l', stateDir]);
        dir.remove();
      }
    },
  );

  it.skipIf(!canMount)('(needs mount) deletes the reserve file when it has no room to start', () => {
    const dir = tempDir();
    const stateDir = join(dir.path, 'state');
    mkdirSync(stateDir);
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=20m', 'none', stateDir]).status).toBe(0);
    try {
      const first = openStore(stateDir, systemClock);
      first.append(draft(), burstFeatures([1]));
      first.close();
      const ballastBytes = (): number => statSync(join(stateDir, 'swellsight.ballast')).size;
      const before = ballastBytes();
      expect(() => writeFileSync(join(stateDir, 'hog'), Buffer.alloc(32 * 1_048_576))).toThrow(/ENOSPC/);
      const second = openStore(stateDir, systemClock);
      expect([second.append(draft(), burstFeatures([1])).seq, second.id]).toEqual([2, first.id]);
      // A smaller one is there again.
      expect(ballastBytes()).toBeLessThan(before);
      second.close();
    } finally {
      spawnSync('umount', ['-l', stateDir]);
      dir.remove();
    }
  });
});

describe('the sequence file', () => {
  it('is small, and is not written for each record', () => {
    const dir = tempDir();
    const store = openStore(dir.path, systemClock);
    const path = join(dir.path, 'swellsight.seq.json');
    store.append(draft(), burstFeatures([1]));
    const { ino } = statSync(path);
    for (let n = 0; n < 10; n += 1) store.append(draft(), burstFeatures([1]));
    expect(statSync(path).ino).toBe(ino);
    expect(readFileSync(path).length).toBeLessThan(500);
    store.close();
    dir.remove();
  });
});
