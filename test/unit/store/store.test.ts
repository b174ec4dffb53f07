import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../../src/store/store.ts';
import { draft, ManualClock, NOTHING_SEEN, openStore, seen, tempDir } from '../../fixtures/store.ts';

describe('Store', () => {
  let dir: ReturnType<typeof tempDir>;
  let clock: ManualClock;
  let store: Store;

  beforeEach(() => {
    dir = tempDir();
    clock = new ManualClock();
    store = openStore(dir.path, clock);
  });
  afterEach(() => {
    store.close();
    dir.remove();
  });

  const reopen = (options = {}): Store => {
    store.close();
    store = openStore(dir.path, clock, options);
    return store;
  };

  it('numbers each camera and the events by ones, also across a restart', () => {
    const first = ['north', 'south', 'north'].map((camera) => store.append(draft({ camera }), NOTHING_SEEN));
    expect(first.map(({ seq }) => seq)).toEqual([1, 1, 2]);
    store.raise({ type: 'test', severity: 'info', code: 'test', message: 'm', context: {} });
    reopen();
    expect(store.append(draft(), NOTHING_SEEN).seq).toBe(3);
    expect(store.events.raise({ type: 't', severity: 'info', code: 't', message: '', context: {} }).seq).toBe(
      2,
    );
    expect(store.recovered).toBeNull();
  });

  it('stores the record and its message together, and tells when the message was taken', () => {
    const record = store.append(draft(), NOTHING_SEEN);
    const [entry] = store.outbox.next(10, new Set());
    expect(entry).toMatchObject({ topic: 'camera/north/observation', stream: 'camera:north', seq: 1 });
    expect(JSON.parse(entry!.payload)).toEqual(record);
    store.outbox.accepted([entry!.rowId], clock.nowMs(), true);
    expect(store.outbox.stats()).toEqual({ depth: 0, oldestAgeS: null, droppedTotal: 0 });
    expect(store.observations.find(record.id)).toEqual({
      ...record,
      published_at: '2026-06-01T00:00:00.000Z',
      historical: true,
    });
  });

  it('leaves nothing behind when the record cannot be stored', () => {
    const record = draft();
    store.append(record, NOTHING_SEEN);
    expect(() => store.append(record, NOTHING_SEEN)).toThrow(/UNIQUE/);
    expect(store.outbox.stats().depth).toBe(1);
    expect(store.append(draft(), NOTHING_SEEN).seq).toBe(2);
  });

  it('tells a listener once per commit, and not of a commit that failed', () => {
    let added = 0;
    store.outbox.onAdded(() => (added += 1));
    const record = draft();
    store.append(record, NOTHING_SEEN);
    expect(() => store.append(record, NOTHING_SEEN)).toThrow();
    expect(added).toBe(1);
  });

  it('drops the oldest at its bound, counts it for ever, and tells of it once', () => {
    reopen({ outbox: { maxMessages: 3, maxAgeDays: 7 } });
    for (let n = 0; n < 6; n += 1) store.append(draft(), NOTHING_SEEN);
    const { depth, droppedTotal } = store.outbox.stats();
    expect(depth).toBe(3);
    // Six records and one event came, three are left.
    expect(droppedTotal).toBe(4);
    expect(store.events.recent(10).map(({ type }) => type)).toEqual(['outbox_dropped']);
    reopen({ outbox: { maxMessages: 3, maxAgeDays: 7 } });
    expect(store.outbox.stats().droppedTotal).toBe(4);
  });

  it('keeps a refused message aside with the reason', () => {
    store.append(draft(), NOTHING_SEEN);
    const [entry] = store.outbox.next(1, new Set());
    store.outbox.rejected(entry!.rowId, 'too large');
    store.outbox.rejected(entry!.rowId, 'too large');
    expect(store.outbox.stats().depth).toBe(0);
    store.close();
    const db = new Database(join(dir.path, 'swellsight.db'));
    expect(db.prepare('SELECT stream, seq, reason FROM rejected').all()).toEqual([
      { stream: 'camera:north', seq: 1, reason: 'too large' },
    ]);
    db.close();
    store = openStore(dir.path, clock);
  });

  it('gives parts of the queue: by kind of stream and by place', () => {
    for (const camera of ['a', 'b']) store.append(draft({ camera }), NOTHING_SEEN);
    store.raise({ type: 'x', severity: 'info', code: 'x', message: '', context: {} });
    const boundary = store.outbox.newestRowId;
    store.append(draft({ camera: 'a' }), NOTHING_SEEN);
    const streams = (filter: object, excluding: number[] = []) =>
      store.outbox.next(10, new Set(excluding), filter).map(({ stream, seq }) => `${stream}/${seq}`);
    expect(streams({ streams: 'events' })).toEqual(['events/1']);
    expect(streams({ streams: 'cameras', upToRowId: boundary })).toEqual(['camera:a/1', 'camera:b/1']);
    expect(streams({ streams: 'cameras', afterRowId: boundary })).toEqual(['camera:a/2']);
    expect(streams({}, [1, 2])).toEqual(['events/1', 'camera:a/2']);
  });

  it('lets no second agent use the folder, and lets go when closed', () => {
    expect(() => openStore(dir.path, clock)).toThrow(expect.objectContaining({ code: 'store_locked' }));
    store.close();
    store = openStore(dir.path, clock);
    expect(store.writable()).toBe(true);
  });

  it('sets a file that is no database aside, goes on above the old numbers, and says so', () => {
    for (let n = 0; n < 20; n += 1) store.append(draft(), NOTHING_SEEN);
    store.close();
    writeFileSync(join(dir.path, 'swellsight.db'), 'not a database, '.repeat(1000));
    store = openStore(dir.path, clock);
    expect(store.recovered?.quarantined).toMatch(/^swellsight\.db\.broken-20260601-000000$/);
    expect(readFileSync(join(dir.path, store.recovered!.quarantined), 'utf8')).toContain('not a database');
    const next = store.append(draft(), NOTHING_SEEN).seq;
    expect(next).toBeGreaterThan(20);
    const [event] = store.events.recent(1);
    expect(event).toMatchObject({ type: 'store_recovered', code: 'store_corrupt' });
    // Whoever saw all 20 sees a gap up to `next`; it is never larger than what was counted.
    expect(store.outbox.stats().droppedTotal).toBeGreaterThanOrEqual(next - 1 - 20);
  });

  it('keeps the labels of a damaged file', () => {
    const labelled = store.append(draft(), seen([1, 2]));
    store.labels.add({ observationId: labelled.id, heightM: 1.5, observer: 'ann', note: null });
    for (let n = 0; n < 400; n += 1) store.append(draft(), NOTHING_SEEN);
    store.close();
    const path = join(dir.path, 'swellsight.db');
    const bytes = readFileSync(path);
    // The records' pages, behind the first ones with the schema and the labels.
    bytes.fill(0xa5, Math.floor(bytes.length * 0.5), Math.floor(bytes.length * 0.6));
    writeFileSync(path, bytes);
    store = openStore(dir.path, clock);
    expect(store.recovered?.reason).toBeTruthy();
    expect(store.labels.bursts('north', 'trunk')).toHaveLength(1);
    expect(store.labels.list('north')[0]).toMatchObject({ heightM: 1.5, observer: 'ann' });
  });

  it('goes on above the numbers when the disk gives back an older database', () => {
    store.append(draft(), NOTHING_SEEN);
    store.close();
    const old = readFileSync(join(dir.path, 'swellsight.db'));
    store = openStore(dir.path, clock);
    for (let n = 0; n < 40; n += 1) store.append(draft(), NOTHING_SEEN);
    store.close();
    writeFileSync(join(dir.path, 'swellsight.db'), old);
    store = openStore(dir.path, clock);
    expect(store.append(draft(), NOTHING_SEEN).seq).toBeGreaterThan(41);
    expect(store.events.recent(1)[0]?.type).toBe('store_recovered');
  });

  it('works on when the side file is lost or broken', () => {
    for (const spoil of [
      () => writeFileSync(join(dir.path, 'swellsight.seq.json'), '{"format":1,"streams":'),
      () => rmSync(join(dir.path, 'swellsight.seq.json')),
    ]) {
      const before = store.append(draft(), NOTHING_SEEN).seq;
      store.close();
      spoil();
      store = openStore(dir.path, clock);
      expect(store.append(draft(), NOTHING_SEEN).seq).toBe(before + 1);
    }
  });

  it('refuses a database of a newer agent and leaves it as it is', () => {
    store.close();
    const db = new Database(join(dir.path, 'swellsight.db'));
    const version = Number(db.pragma('user_version', { simple: true }));
    db.pragma('user_version = 999');
    db.close();
    expect(() => openStore(dir.path, clock)).toThrow(expect.objectContaining({ code: 'store_failed' }));
    expect(readdirSync(dir.path).some((name) => name.includes('broken'))).toBe(false);
    const back = new Database(join(dir.path, 'swellsight.db'));
    back.pragma(`user_version = ${version}`);
    back.close();
    store = openStore(dir.path, clock);
  });

  it('holds a ballast of real blocks', () => {
    const ballast = statSync(join(dir.path, 'swellsight.ballast'));
    expect(ballast.size).toBe(4 * 1_048_576);
    expect(existsSync(join(dir.path, 'swellsight.ballast.part'))).toBe(false);
    expect(ballast.blocks * 512).toBeGreaterThanOrEqual(ballast.size * 0.9);
  });

  it('never lets an event throw, however odd its context', () => {
    const circular: Record<string, unknown> = { n: 1n, text: 'x'.repeat(20_000) };
    store.raise({ type: 'odd', severity: 'info', code: 'odd', message: 'm'.repeat(5000), context: circular });
    circular['self'] = circular;
    store.raise({ type: 'odd', severity: 'info', code: 'odd', message: 'm', context: circular });
    const events = store.events.recent(5);
    expect(events).toHaveLength(2);
    expect(JSON.stringify(events[1]).length).toBeLessThan(2000);
    store.close();
    expect(() =>
      store.raise({ type: 'late', severity: 'info', code: 'l', message: '', context: {} }),
    ).not.toThrow();
    expect(store.writable()).toBe(false);
  });

  it('remembers small values and the commands it was given', () => {
    store.memory.set('a', '1');
    store.memory.set('a', '2');
    store.memory.delete('none');
    store.commands.begin('c1', 'ping');
    expect(store.commands.find('c1')).toEqual({ id: 'c1', name: 'ping', result: null });
    store.commands.finish('c1', '{}');
    reopen();
    expect(store.memory.get('a')).toBe('2');
    expect(store.commands.find('c1')?.result).toBe('{}');
    expect(store.commands.find('c2')).toBeNull();
  });
});
