import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { acknowledge, burstFeatures, draft, NO_FEATURES, openStore } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

describe('Store', () => {
  const state = useStore();

  it('numbers each camera and the events without gaps, also across a restart', () => {
    const first = ['north', 'south', 'north'].map((camera) =>
      state.store.append(draft({ camera }), NO_FEATURES),
    );
    expect(first.map(({ seq }) => seq)).toEqual([1, 1, 2]);
    state.store.raise({ type: 'test', severity: 'info', code: 'test', message: 'm', context: {} });
    state.reopen();
    expect(state.store.append(draft(), NO_FEATURES).seq).toBe(3);
    expect(
      state.store.events.raise({ type: 't', severity: 'info', code: 't', message: '', context: {} }).seq,
    ).toBe(2);
    expect(state.store.recovered).toBeNull();
  });

  it('stores the record with its message, and the time of publication after the PUBACK', () => {
    const record = state.store.append(draft(), NO_FEATURES);
    const [entry] = state.store.outbox.next(10, new Set());
    expect(entry).toMatchObject({ topic: 'camera/north/observation', stream: 'camera:north', seq: 1 });
    expect(JSON.parse(entry!.payload)).toEqual(record);
    acknowledge(state.store.outbox, [entry!], state.clock.nowMs(), true);
    expect(state.store.outbox.stats()).toEqual({ depth: 0, oldestAgeS: null, droppedTotal: 0 });
    expect(state.store.observations.find(record.id)).toEqual({
      ...record,
      published_at: '2026-06-01T00:00:00.000Z',
      historical: true,
    });
  });

  it('leaves no trace of a record that cannot be stored', () => {
    const record = draft();
    state.store.append(record, NO_FEATURES);
    expect(() => state.store.append(record, NO_FEATURES)).toThrow(/UNIQUE/);
    expect(state.store.outbox.stats().depth).toBe(1);
    expect(state.store.append(draft(), NO_FEATURES).seq).toBe(2);
  });

  it('notifies the listener once for each commit, and not for a failed one', () => {
    let added = 0;
    state.store.outbox.onAdded(() => (added += 1));
    const record = draft();
    state.store.append(record, NO_FEATURES);
    expect(() => state.store.append(record, NO_FEATURES)).toThrow();
    expect(added).toBe(1);
  });

  it('drops the oldest rows at its bound, counts them across restarts, and raises one event', () => {
    state.reopen({ outbox: { maxMessages: 3, maxAgeDays: 7 } });
    for (let n = 0; n < 6; n += 1) state.store.append(draft(), NO_FEATURES);
    const { depth, droppedTotal } = state.store.outbox.stats();
    expect(depth).toBe(3);
    // Six records and one event were queued; three rows are left.
    expect(droppedTotal).toBe(4);
    expect(state.store.events.recent(10).map(({ type }) => type)).toEqual(['outbox_dropped']);
    state.reopen({ outbox: { maxMessages: 3, maxAgeDays: 7 } });
    expect(state.store.outbox.stats().droppedTotal).toBe(4);
  });

  it('moves a rejected message to its own table, with the reason', () => {
    state.store.append(draft(), NO_FEATURES);
    const [entry] = state.store.outbox.next(1, new Set());
    state.store.outbox.reject(entry!.rowId, 'too large');
    state.store.outbox.reject(entry!.rowId, 'too large');
    expect(state.store.outbox.stats().depth).toBe(0);
    state.store.close();
    const db = new Database(join(state.dir, 'swellsight.db'));
    expect(db.prepare('SELECT stream, seq, reason FROM rejected').all()).toEqual([
      { stream: 'camera:north', seq: 1, reason: 'too large' },
    ]);
    db.close();
    state.reopen();
  });

  it('returns parts of the outbox: by kind of stream and by row id', () => {
    for (const camera of ['a', 'b']) state.store.append(draft({ camera }), NO_FEATURES);
    state.store.raise({ type: 'x', severity: 'info', code: 'x', message: '', context: {} });
    const boundary = state.store.outbox.newestRowId;
    state.store.append(draft({ camera: 'a' }), NO_FEATURES);
    const streams = (filter: object, excluding: number[] = []) =>
      state.store.outbox.next(10, new Set(excluding), filter).map(({ stream, seq }) => `${stream}/${seq}`);
    expect(streams({ streams: 'events' })).toEqual(['events/1']);
    expect(streams({ streams: 'cameras', upToRowId: boundary })).toEqual(['camera:a/1', 'camera:b/1']);
    expect(streams({ streams: 'cameras', afterRowId: boundary })).toEqual(['camera:a/2']);
    expect(streams({}, [1, 2])).toEqual(['events/1', 'camera:a/2']);
  });

  it('refuses a second agent in the same directory until it is closed', () => {
    expect(() => openStore(state.dir, state.clock)).toThrow(
      expect.objectContaining({ code: 'store_locked' }),
    );
    state.reopen();
    expect(state.store.isWritable()).toBe(true);
  });

  it('sets aside a file that is not a database, continues above the old numbers, and raises an event', () => {
    for (let n = 0; n < 20; n += 1) state.store.append(draft(), NO_FEATURES);
    state.store.close();
    writeFileSync(join(state.dir, 'swellsight.db'), 'not a database, '.repeat(1000));
    state.reopen();
    expect(state.store.recovered?.quarantined).toMatch(/^swellsight\.db\.broken-20260601-000000$/);
    expect(readFileSync(join(state.dir, state.store.recovered!.quarantined), 'utf8')).toContain(
      'not a database',
    );
    const next = state.store.append(draft(), NO_FEATURES).seq;
    expect(next).toBeGreaterThan(20);
    const [event] = state.store.events.recent(1);
    expect(event).toMatchObject({ type: 'store_recovered', code: 'store_corrupt' });
    // A consumer of all 20 records sees a gap below `next`. The count covers at least that gap.
    expect(state.store.outbox.stats().droppedTotal).toBeGreaterThanOrEqual(next - 1 - 20);
  });

  it('keeps the labels of a damaged file', () => {
    const labelled = state.store.append(draft(), burstFeatures([1, 2]));
    state.store.labels.add({ observationId: labelled.id, heightM: 1.5, observer: 'ann', note: null });
    for (let n = 0; n < 400; n += 1) state.store.append(draft(), NO_FEATURES);
    state.store.close();
    const path = join(state.dir, 'swellsight.db');
    const bytes = readFileSync(path);
    // Damage pages of records only: the first pages hold the schema and the labels.
    bytes.fill(0xa5, Math.floor(bytes.length * 0.5), Math.floor(bytes.length * 0.6));
    writeFileSync(path, bytes);
    state.reopen();
    expect(state.store.recovered?.reason).toBeTruthy();
    expect(state.store.labels.bursts('north', 'trunk')).toHaveLength(1);
    expect(state.store.labels.list('north')[0]).toMatchObject({ heightM: 1.5, observer: 'ann' });
  });

  it('continues above the old numbers when the disk returns an older database', () => {
    state.store.append(draft(), NO_FEATURES);
    state.store.close();
    const old = readFileSync(join(state.dir, 'swellsight.db'));
    state.reopen();
    for (let n = 0; n < 40; n += 1) state.store.append(draft(), NO_FEATURES);
    state.store.close();
    writeFileSync(join(state.dir, 'swellsight.db'), old);
    state.reopen();
    expect(state.store.append(draft(), NO_FEATURES).seq).toBeGreaterThan(41);
    expect(state.store.events.recent(1)[0]?.type).toBe('store_recovered');
  });

  it('continues when the side file is lost or damaged', () => {
    for (const damage of [
      () => writeFileSync(join(state.dir, 'swellsight.seq.json'), '{"format":1,"streams":'),
      () => rmSync(join(state.dir, 'swellsight.seq.json')),
    ]) {
      const before = state.store.append(draft(), NO_FEATURES).seq;
      state.store.close();
      damage();
      state.reopen();
      expect(state.store.append(draft(), NO_FEATURES).seq).toBe(before + 1);
    }
  });

  it('refuses a database of a newer agent and does not change it', () => {
    state.store.close();
    const db = new Database(join(state.dir, 'swellsight.db'));
    const version = Number(db.pragma('user_version', { simple: true }));
    db.pragma('user_version = 999');
    const compatible = db
      .prepare(`DELETE FROM counters WHERE name = 'schema_compatible_from' RETURNING *`)
      .get();
    db.close();
    expect(() => openStore(state.dir, state.clock)).toThrow(
      expect.objectContaining({ code: 'store_failed' }),
    );
    expect(readdirSync(state.dir).some((name) => name.includes('broken'))).toBe(false);
    const back = new Database(join(state.dir, 'swellsight.db'));
    back.pragma(`user_version = ${version}`);
    if (compatible) back.prepare('INSERT INTO counters VALUES (@name, @value)').run(compatible);
    back.close();
    state.reopen();
  });

  it('keeps a ballast of allocated blocks', () => {
    const ballast = statSync(join(state.dir, 'swellsight.ballast'));
    expect(ballast.size).toBe(4 * 1_048_576);
    expect(existsSync(join(state.dir, 'swellsight.ballast.part'))).toBe(false);
    expect(ballast.blocks * 512).toBeGreaterThanOrEqual(ballast.size * 0.9);
  });

  it('never throws from `raise`, for any context', () => {
    const circular: Record<string, unknown> = { n: 1n, text: 'x'.repeat(20_000) };
    state.store.raise({
      type: 'odd',
      severity: 'info',
      code: 'odd',
      message: 'm'.repeat(5000),
      context: circular,
    });
    circular['self'] = circular;
    state.store.raise({ type: 'odd', severity: 'info', code: 'odd', message: 'm', context: circular });
    const events = state.store.events.recent(5);
    expect(events).toHaveLength(2);
    expect(JSON.stringify(events[1]).length).toBeLessThan(2000);
    state.store.close();
    expect(() =>
      state.store.raise({ type: 'late', severity: 'info', code: 'l', message: '', context: {} }),
    ).not.toThrow();
    expect(state.store.isWritable()).toBe(false);
  });

  it('keeps small values and commands across a restart', () => {
    state.store.keyValue.set('a', '1');
    state.store.keyValue.set('a', '2');
    state.store.keyValue.delete('none');
    state.store.commands.begin('c1', 'ping');
    expect(state.store.commands.find('c1')).toEqual({ id: 'c1', name: 'ping', result: null });
    state.store.commands.finish('c1', '{}');
    state.reopen();
    expect(state.store.keyValue.get('a')).toBe('2');
    expect(state.store.commands.find('c1')?.result).toBe('{}');
    expect(state.store.commands.find('c2')).toBeNull();
  });
});
