import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Store } from '../../src/store/store.ts';
import type { StoreFault } from '../../src/store/file/file-watch.ts';

import { draft, ManualClock, openStore, burstFeatures, silentLog, tempDir } from '../fixtures/store.ts';

/** Fills a part of the file with what no page looks like. */
function spoil(path: string, fromByte: number, bytes: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, Buffer.alloc(bytes, 0xa5), 0, bytes, fromByte);
  closeSync(fd);
}

/** What a power cut leaves: the write-ahead log is there, and the database was not closed. */
function leaveLog(dir: string, work: (store: Store) => void): void {
  const store = openStore(dir, new ManualClock());
  work(store);
  const kept = ['swellsight.db', 'swellsight.db-wal'].map((name) => join(dir, name));
  const bytes = kept.map((path) => readFileSync(path));
  store.close();
  kept.forEach((path, index) => writeFileSync(path, bytes[index] ?? ''));
}

describe('a broken database file', () => {
  let dir: ReturnType<typeof tempDir>;
  let path: string;
  let clock: ManualClock;
  beforeEach(() => {
    dir = tempDir();
    path = join(dir.path, 'swellsight.db');
    clock = new ManualClock();
  });
  afterEach(() => dir.remove());

  const fill = (store: Store, records = 300): void => {
    for (let n = 0; n < records; n += 1) store.append(draft(), burstFeatures([n, 1, 2]));
  };
  const queued = (store: Store): number[] =>
    store.outbox.next(1000, new Set(), { streams: 'cameras' }).map(({ seq }) => seq);
  const aside = (): string[] =>
    readdirSync(dir.path).filter((name) => /\.broken-[0-9]{8}-[0-9]{6}(-\d+)?$/.test(name));

  /** Opens what is left: told, whole, numbers above all that were given out, and each one lost is counted. */
  const expectRecovery = (given: number): { store: Store; kept: number } => {
    const store = openStore(dir.path, clock);
    const [event] = store.events.recent(1);
    expect(event).toMatchObject({ type: 'store_recovered', severity: 'error', code: 'store_corrupt' });
    // It waits for the broker, and is there after another start.
    expect(store.outbox.next(10, new Set(), { streams: 'events' }).at(-1)?.seq).toBe(event?.seq);
    const kept = queued(store);
    expect(kept).toEqual(kept.toSorted((a, b) => a - b));
    const { seq } = store.append(draft(), burstFeatures([1]));
    expect(seq).toBeGreaterThan(given);
    expect(store.outbox.stats().droppedTotal).toBeGreaterThanOrEqual(given - kept.length);
    return { store, kept: kept.length };
  };

  it.each([3, 20])('of zero bytes, after %i records', (records) => {
    const store = openStore(dir.path, clock);
    fill(store, records);
    store.close();
    writeFileSync(path, '');
    expectRecovery(records).store.close();
  });

  it('with a garbage header', () => {
    const store = openStore(dir.path, clock);
    fill(store);
    store.close();
    spoil(path, 0, 100);
    const { store: after } = expectRecovery(300);
    after.close();
    expect(aside()).toHaveLength(1);
  });

  it.each([
    [0.75, 0.8],
    [0.6, 0.65],
    [0.9, 0.95],
  ])(
    'with its pages from %d to %d of the file overwritten: what was not sent and can be read goes on',
    (from, to) => {
      const store = openStore(dir.path, clock);
      fill(store);
      store.close();
      const { size } = statSync(path);
      spoil(path, Math.floor((size * from) / 4096) * 4096, Math.floor(size * (to - from)));
      const { store: after, kept } = expectRecovery(300);
      expect(kept).toBeGreaterThan(100);
      // The texts are whole.
      for (const { payload } of after.outbox.next(1000, new Set()))
        expect(JSON.parse(payload)).toHaveProperty('seq');
      after.close();
      expect(aside()).toHaveLength(1);
    },
  );

  it('cut short', () => {
    const store = openStore(dir.path, clock);
    fill(store);
    store.close();
    truncateSync(path, Math.floor(statSync(path).size / 2));
    expectRecovery(300).store.close();
    expect(aside()).toHaveLength(1);
  });

  it('with garbage in its log: what was in the file is there, and the numbers lie above', () => {
    leaveLog(dir.path, (store) => fill(store, 40));
    spoil(`${path}-wal`, 0, statSync(`${path}-wal`).size);
    const store = openStore(dir.path, clock);
    expect(store.append(draft(), burstFeatures([1])).seq).toBeGreaterThan(40);
    store.close();
    const db = new Database(path);
    expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
    db.close();
  });

  it('without the file of the numbering too: its own counters say what was given out', () => {
    const store = openStore(dir.path, clock);
    fill(store);
    store.close();
    rmSync(join(dir.path, 'swellsight.seq.json'));
    const { size } = statSync(path);
    spoil(path, Math.floor((size * 0.6) / 4096) * 4096, Math.floor(size * 0.05));
    const after = openStore(dir.path, clock);
    expect(after.recovered).not.toBeNull();
    expect(after.append(draft(), burstFeatures([1])).seq).toBeGreaterThan(300);
    after.close();
  });

  it('again and again: the last three are kept', () => {
    for (let round = 0; round < 6; round += 1) {
      clock.advance(60_000);
      writeFileSync(path, 'no database '.repeat(round + 10));
      openStore(dir.path, clock).close();
    }
    const contents = aside().map((name) => readFileSync(join(dir.path, name)).length / 12);
    expect(contents.toSorted((a, b) => a - b)).toEqual([13, 14, 15]);
  });

  it('met by a reader while it runs: told, and looked at by the next start', () => {
    const faults: StoreFault[] = [];
    const store = Store.open(
      { stateDir: dir.path, retentionDays: 30, maxMb: 500, outbox: { maxMessages: 10_000, maxAgeDays: 7 } },
      { clock, log: silentLog, onBroken: (fault) => faults.push(fault) },
    );
    // More than the cache holds, so that the file is read again.
    fill(store, 1500);
    const { size } = statSync(path);
    spoil(path, 4096 * 4, size - 4096 * 4);
    expect(() => {
      for (let from = 0; from < 1500; from += 100)
        store.outbox.next(100, new Set(), { afterRowId: from, upToRowId: from + 100 });
    }).toThrow(expect.objectContaining({ code: 'store_corrupt' }));
    expect(faults).toEqual(['damaged']);
    expect(store.failureCode()).toBe('store_corrupt');
    expect(existsSync(`${path}.suspect`)).toBe(true);
    store.close();
    const after = openStore(dir.path, clock);
    expect(after.recovered).not.toBeNull();
    expect(after.append(draft(), burstFeatures([1])).seq).toBeGreaterThan(1500);
    after.close();
  });

  it('deleted while it runs: what was stored is saved at the end, and goes on', () => {
    const faults: StoreFault[] = [];
    const store = Store.open(
      { stateDir: dir.path, retentionDays: 30, maxMb: 500, outbox: { maxMessages: 10_000, maxAgeDays: 7 } },
      { clock, log: silentLog, onBroken: (fault) => faults.push(fault) },
    );
    fill(store, 30);
    unlinkSync(path);
    clock.advance(6000);
    fill(store, 1);
    expect(faults).toEqual(['gone']);
    expect(store.failureCode()).toBe('store_failed');
    fill(store, 4);
    store.close();
    const after = openStore(dir.path, clock);
    expect(queued(after)).toEqual(Array.from({ length: 35 }, (_, index) => index + 1));
    expect(after.events.recent(1)[0]?.context['reason']).toBe('replaced while in use');
    expect(after.append(draft(), burstFeatures([1])).seq).toBe(36);
    after.close();
  });
});
