import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import type { StoreFault } from '../../src/store/types.ts';
import { acknowledge, burstFeatures, draft, openStore, seaStateDraft } from '../fixtures/store.ts';
import { useStore, type OpenedStore } from '../fixtures/use-store.ts';

/** Overwrites a part of the file with bytes that are no valid page. */
function overwrite(path: string, fromByte: number, bytes: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, Buffer.alloc(bytes, 0xa5), 0, bytes, fromByte);
  closeSync(fd);
}

/** Leaves the files of a power cut: the database is not closed, and its write-ahead log exists. */
function cutPower({ dir, store }: OpenedStore): void {
  const kept = ['swellsight.db', 'swellsight.db-wal'].map((name) => join(dir, name));
  const bytes = kept.map((path) => readFileSync(path));
  store.close();
  kept.forEach((path, index) => writeFileSync(path, bytes[index] ?? ''));
}

describe('a damaged database file', () => {
  const state = useStore();
  let path: string;
  beforeEach(() => {
    path = join(state.dir, 'swellsight.db');
  });

  const fill = (store: Store, records = 300): void => {
    for (let n = 0; n < records; n += 1) store.append(draft(), burstFeatures([n, 1, 2]));
  };
  const queuedSeqs = (store: Store): number[] =>
    store.outbox.next(1000, new Set(), { streams: 'cameras' }).map(({ seq }) => seq);
  const quarantined = (): string[] =>
    readdirSync(state.dir).filter((name) => /\.broken-[0-9]{8}-[0-9]{6}(-\d+)?$/.test(name));

  /** Opens the store again, and checks: an event reports the damage, numbering continues above `lastSeq`, each lost record is counted. */
  const expectRecovery = (lastSeq: number): { store: Store; kept: number } => {
    const store = state.reopen();
    const [event] = store.events.recent(1);
    expect(event).toMatchObject({ type: 'store_recovered', severity: 'error', code: 'store_corrupt' });
    // The event is queued for the broker.
    expect(store.outbox.next(10, new Set(), { streams: 'events' }).at(-1)?.seq).toBe(event?.seq);
    const kept = queuedSeqs(store);
    expect(kept).toEqual(kept.toSorted((a, b) => a - b));
    const { seq } = store.append(draft(), burstFeatures([1]));
    expect(seq).toBeGreaterThan(lastSeq);
    expect(store.outbox.stats().droppedTotal).toBeGreaterThanOrEqual(lastSeq - kept.length);
    return { store, kept: kept.length };
  };

  it.each([3, 20])('recovers from a file of zero bytes, after %i records', (records) => {
    const { store } = state;
    fill(store, records);
    store.close();
    writeFileSync(path, '');
    expectRecovery(records).store.close();
  });

  it('recovers from a garbage header', () => {
    const { store } = state;
    fill(store);
    store.close();
    overwrite(path, 0, 100);
    const { store: after } = expectRecovery(300);
    after.close();
    expect(quarantined()).toHaveLength(1);
  });

  it.each([
    [0.75, 0.8],
    [0.6, 0.65],
    [0.9, 0.95],
  ])(
    'keeps the readable unsent messages when the pages from %d to %d of the file are overwritten',
    (from, to) => {
      const { store } = state;
      fill(store);
      store.close();
      const { size } = statSync(path);
      overwrite(path, Math.floor((size * from) / 4096) * 4096, Math.floor(size * (to - from)));
      const { store: after, kept } = expectRecovery(300);
      expect(kept).toBeGreaterThan(100);
      // Each payload is complete.
      for (const { payload } of after.outbox.next(1000, new Set()))
        expect(JSON.parse(payload)).toHaveProperty('seq');
      after.close();
      expect(quarantined()).toHaveLength(1);
    },
  );

  it('keeps unsent sea states of a file whose records are damaged, with their numbers', () => {
    const { store } = state;
    const records = Array.from({ length: 3 }, () => store.appendSeaState(seaStateDraft()));
    acknowledge(store.outbox, store.outbox.next(1, new Set()), state.clock.nowMs());
    fill(store, 100);
    store.close();
    const db = new Database(path, { readonly: true });
    const [page] = db
      .prepare<[], { pgoffset: number; pgsize: number }>(
        `SELECT pgoffset, pgsize FROM dbstat WHERE name = 'sea_states' AND pagetype = 'leaf'`,
      )
      .all();
    db.close();
    overwrite(path, page!.pgoffset, page!.pgsize);
    const after = state.reopen();
    expect(after.recovered).not.toBeNull();
    const waiting = after.outbox.next(1000, new Set()).filter(({ topic }) => topic.endsWith('/sea_state'));
    expect(waiting.map(({ payload }) => JSON.parse(payload) as unknown)).toEqual(records.slice(1));
    expect(after.seaStates.find('north', records[2]!.id)).toEqual(records[2]);
    expect(after.appendSeaState(seaStateDraft()).seq).toBeGreaterThan(3);
    after.close();
  });

  it('recovers from a truncated file', () => {
    const { store } = state;
    fill(store);
    store.close();
    truncateSync(path, Math.floor(statSync(path).size / 2));
    expectRecovery(300).store.close();
    expect(quarantined()).toHaveLength(1);
  });

  it('keeps the content of the file when its log is garbage, and continues above the old numbers', () => {
    fill(state.store, 40);
    cutPower(state);
    overwrite(`${path}-wal`, 0, statSync(`${path}-wal`).size);
    const store = state.reopen();
    expect(store.append(draft(), burstFeatures([1])).seq).toBeGreaterThan(40);
    store.close();
    const db = new Database(path);
    expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
    db.close();
  });

  it('uses the counters of the damaged file when the sequence file is missing too', () => {
    const { store } = state;
    fill(store);
    store.close();
    rmSync(join(state.dir, 'swellsight.seq.json'));
    const { size } = statSync(path);
    overwrite(path, Math.floor((size * 0.6) / 4096) * 4096, Math.floor(size * 0.05));
    const after = state.reopen();
    expect(after.recovered).not.toBeNull();
    expect(after.append(draft(), burstFeatures([1])).seq).toBeGreaterThan(300);
    after.close();
  });

  it('keeps the last three damaged files', () => {
    for (let round = 0; round < 6; round += 1) {
      state.clock.advance(60_000);
      state.store.close();
      writeFileSync(path, 'no database '.repeat(round + 10));
      state.reopen().close();
    }
    const contents = quarantined().map((name) => readFileSync(join(state.dir, name)).length / 12);
    expect(contents.toSorted((a, b) => a - b)).toEqual([13, 14, 15]);
  });

  it('reports damage that a read detects, and recovers at the next start', () => {
    const faults: StoreFault[] = [];
    state.store.close();
    const onBroken = (fault: StoreFault): void => void faults.push(fault);
    const store = openStore(state.dir, state.clock, {}, { onBroken });
    // More pages than the cache holds, so that SQLite reads the file again.
    fill(store, 1500);
    const { size } = statSync(path);
    overwrite(path, 4096 * 4, size - 4096 * 4);
    expect(() => {
      for (let from = 0; from < 1500; from += 100)
        store.outbox.next(100, new Set(), { afterRowId: from, upToRowId: from + 100 });
    }).toThrow(expect.objectContaining({ code: 'store_corrupt' }));
    expect(faults).toEqual(['damaged']);
    expect(store.failureCode()).toBe('store_corrupt');
    expect(existsSync(`${path}.suspect`)).toBe(true);
    store.close();
    const after = state.reopen();
    expect(after.recovered).not.toBeNull();
    expect(after.append(draft(), burstFeatures([1])).seq).toBeGreaterThan(1500);
    after.close();
  });

  it('rescues the content of a file that was deleted in use', () => {
    const faults: StoreFault[] = [];
    state.store.close();
    const onBroken = (fault: StoreFault): void => void faults.push(fault);
    const store = openStore(state.dir, state.clock, {}, { onBroken });
    fill(store, 30);
    unlinkSync(path);
    state.clock.advance(6000);
    fill(store, 1);
    expect(faults).toEqual(['gone']);
    expect(store.failureCode()).toBe('store_failed');
    fill(store, 4);
    store.close();
    const after = state.reopen();
    expect(queuedSeqs(after)).toEqual(Array.from({ length: 35 }, (_, index) => index + 1));
    expect(after.events.recent(1)[0]?.context['reason']).toBe('replaced while in use');
    expect(after.append(draft(), burstFeatures([1])).seq).toBe(36);
    after.close();
  });
});

/** Each file that has tables counts as large, so the tests need no long history. */
describe('a database that is too large for a check before the start', () => {
  const faults: StoreFault[] = [];
  const state = useStore({ maxCheckedBytes: 100_000 });
  let path: string;
  beforeEach(() => {
    path = join(state.dir, 'swellsight.db');
    faults.length = 0;
  });

  const mark = (): string => `${path}.unchecked`;
  const open = (): Store =>
    openStore(
      state.dir,
      state.clock,
      { maxCheckedBytes: 100_000 },
      { onBroken: (fault) => void faults.push(fault) },
    );
  const check = (store: Store): Promise<void> => store.checkFile(AbortSignal.timeout(60_000));
  /** Stores acknowledged records, two unsent ones and a label. */
  const fill = (store: Store): void => {
    const { id } = store.append(draft(), burstFeatures([9, 9]));
    store.labels.add({ observationId: id, heightM: 1.5, observer: null, note: null });
    for (let n = 0; n < 400; n += 1) store.append(draft(), burstFeatures([n, 1, 2]));
    acknowledge(store.outbox, store.outbox.next(1000, new Set()), state.clock.nowMs());
    // After a power cut, pages in the log would hide those of the file.
    const again = state.reopen();
    for (let n = 0; n < 2; n += 1) again.append(draft(), burstFeatures([n]));
  };
  /** Overwrites pages of the tables and indexes that `where` selects. */
  const overwritePages = (where: string, limit: number): number => {
    const db = new Database(path, { readonly: true });
    const pages = db
      .prepare<[number], { pgoffset: number; pgsize: number }>(
        `SELECT pgoffset, pgsize FROM dbstat JOIN sqlite_schema s USING (name) WHERE ${where} ORDER BY path LIMIT ?`,
      )
      .all(limit);
    db.close();
    for (const { pgoffset, pgsize } of pages) overwrite(path, pgoffset, pgsize);
    return pages.length;
  };
  /** Damages the oldest records. */
  const damageRecords = (): void => {
    expect(overwritePages(`name = 'observations' AND pagetype = 'leaf'`, 3)).toBe(3);
  };
  const expectSetAside = (reason: RegExp): void => {
    const store = open();
    expect(store.recovered?.reason).toMatch(reason);
    expect(store.labels.list('north')).toHaveLength(1);
    expect(store.outbox.next(10, new Set(), { streams: 'cameras' }).map(({ seq }) => seq)).toEqual([
      402, 403,
    ]);
    expect(store.events.recent(1)[0]?.type).toBe('store_recovered');
    store.close();
    expect(readdirSync(state.dir).filter((name) => /\.(suspect|unchecked)$/.test(name))).toEqual([]);
  };

  it('reads no page of the history to open it', () => {
    fill(state.store);
    state.store.close();
    const pages = overwritePages(
      `s.tbl_name NOT IN ('counters', 'memory', 'labels', 'commands', 'outbox', 'unsynced')`,
      100_000,
    );
    expect(pages).toBeGreaterThan(100);
    const store = open();
    expect(store.recovered).toBeNull();
    expect(store.outbox.stats().depth).toBe(2);
    expect(faults).toEqual([]);
    // The first read finds the damage.
    expect(() => store.observations.newest('north')).toThrow(
      expect.objectContaining({ code: 'store_corrupt' }),
    );
    expect(faults).toEqual(['damaged']);
    store.close();
    const after = open();
    expect(after.recovered).not.toBeNull();
    after.close();
  });

  it('checks the tables that a start needs, after a clean stop too', () => {
    fill(state.store);
    state.store.close();
    overwritePages(`name = 'counters'`, 1);
    const store = open();
    expect(store.recovered).not.toBeNull();
    expect(store.append(draft(), burstFeatures([1])).seq).toBeGreaterThan(403);
    store.close();
  });

  it('checks it in the background after a power cut, and sets it aside at the next start', async () => {
    fill(state.store);
    cutPower(state);
    damageRecords();
    const store = open();
    expect(store.recovered).toBeNull();
    expect(existsSync(mark())).toBe(true);
    // It is in use meanwhile.
    expect(store.append(draft(), burstFeatures([1])).seq).toBe(404);
    acknowledge(store.outbox, store.outbox.next(1000, new Set()).slice(-1), state.clock.nowMs());
    await check(store);
    expect(faults).toEqual(['damaged']);
    store.close();
    expectSetAside(/^observations: /);
  });

  it('is locked when no check needs it: then its log has no index on the disk', async () => {
    const index = `${path}-shm`;
    fill(state.store);
    expect(existsSync(index)).toBe(false);
    cutPower(state);
    const store = open();
    expect(existsSync(index)).toBe(true);
    await check(store);
    expect(existsSync(index)).toBe(false);
    expect(store.append(draft(), burstFeatures([1])).seq).toBe(404);
    store.close();
    // A program of an operator has the file open: the start does not wait for it.
    const other = new Database(path);
    expect(other.prepare('SELECT max(seq) AS seq FROM observations').get()).toEqual({ seq: 404 });
    const shared = open();
    expect(shared.append(draft(), burstFeatures([1])).seq).toBe(405);
    expect(other.prepare('SELECT max(seq) AS seq FROM observations').get()).toEqual({ seq: 405 });
    other.close();
    shared.close();
  });

  it('repeats a check that a stop interrupted, until one has found no damage', async () => {
    fill(state.store);
    cutPower(state);
    const first = open();
    const stopping = new AbortController();
    const interrupted = first.checkFile(stopping.signal);
    stopping.abort();
    await expect(interrupted).rejects.toThrow('abort');
    first.close();
    expect(existsSync(mark())).toBe(true);
    const second = open();
    await check(second);
    expect(existsSync(mark())).toBe(false);
    expect(faults).toEqual([]);
    second.close();
    // A clean stop needs no check.
    damageRecords();
    const third = open();
    await check(third);
    expect(faults).toEqual([]);
    third.close();
  });

  it('does not blame the database for damage in a file that replaced it', async () => {
    fill(state.store);
    cutPower(state);
    const store = open();
    writeFileSync(`${path}.other`, 'no database '.repeat(1000));
    renameSync(`${path}.other`, path);
    await check(store);
    expect(faults).toEqual(['replaced']);
    store.close();
    const after = open();
    expect(after.events.recent(1)[0]?.context['reason']).toBe('replaced while in use');
    expect(after.append(draft(), burstFeatures([1])).seq).toBe(404);
    after.close();
  });
});
