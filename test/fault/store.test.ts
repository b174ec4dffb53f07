import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { draft, openStore, burstFeatures, tempDir } from '../fixtures/store.ts';

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
        .prepare<[], { camera: string; seq: number; id: string }>('SELECT camera, seq, id FROM observations')
        .all();
      const depth = db.prepare<[], { n: number }>('SELECT count(*) AS n FROM outbox').get()!.n;
      const published = db.prepare<[], { n: number }>('SELECT count(*) AS n FROM publications').get()!.n;
      db.close();
      const stored = new Set(rows.map((row) => `${row.camera} ${row.seq} ${row.id}`));
      expect(printed.length).toBeGreaterThan(100);
      expect(printed.filter((line) => !stored.has(line))).toEqual([]);
      for (const camera of ['north', 'south']) {
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
    '(needs mount) deletes the oldest records and continues the numbering without a gap',
    () => {
      const dir = tempDir();
      const stateDir = join(dir.path, 'state');
      mkdirSync(stateDir);
      const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'none', stateDir]);
      expect(mounted.status, String(mounted.stderr)).toBe(0);
      try {
        const store = openStore(stateDir, systemClock, { outbox: { maxMessages: 100, maxAgeDays: 7 } });
        const big = burstFeatures(new Array(1280).fill(0.25));
        // Another program takes the rest of the disk.
        expect(existsSync(join(stateDir, 'swellsight.ballast'))).toBe(true);
        writeFileSync(join(stateDir, 'hog'), Buffer.alloc(28 * 1_048_576));
        for (let n = 1; n <= 3000; n += 1) expect(store.append(draft(), big).seq).toBe(n);
        expect(store.isWritable()).toBe(true);
        expect(existsSync(join(stateDir, 'swellsight.ballast'))).toBe(false);
        const { observations } = store.observations.query({ limit: 1000 });
        expect(observations.length).toBeGreaterThan(0);
        expect(observations.length).toBeLessThan(3000);
        store.close();
        const again = openStore(stateDir, systemClock);
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
          store.append(draft(), burstFeatures(new Array(1_000_000).fill(1)));
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
