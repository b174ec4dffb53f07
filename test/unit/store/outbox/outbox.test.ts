import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Event } from '../../../../src/contract/states.ts';
import type { Observation } from '../../../../src/contract/observation.ts';
import type { Store } from '../../../../src/store/store.ts';
import { draft, ManualClock, NOTHING_SEEN, openStore, tempDir } from '../../../fixtures/store.ts';

const HOUR_MS = 3_600_000;

describe('the outbox', () => {
  let dir: ReturnType<typeof tempDir>;
  let clock: ManualClock;
  let store: Store;

  beforeEach(() => {
    dir = tempDir();
    clock = new ManualClock();
    open({ maxMessages: 20, maxAgeDays: 7 });
  });
  afterEach(() => {
    store.close();
    dir.remove();
  });

  function open(outbox: { maxMessages: number; maxAgeDays: number; maxMb?: number }): void {
    store = openStore(dir.path, clock, { outbox });
  }
  function reopen(outbox: { maxMessages: number; maxAgeDays: number; maxMb?: number }): void {
    store.close();
    open(outbox);
  }
  const append = (count: number, over: Parameters<typeof draft>[0] = {}): void => {
    for (let n = 0; n < count; n += 1) store.append(draft(over), NOTHING_SEEN);
  };
  const event = (type: string): void =>
    store.raise({ type, severity: 'info', code: type, message: '', context: {} });
  const waiting = (streams: 'cameras' | 'events' | 'requeued') =>
    store.outbox.next(1000, new Set(), { streams });
  const seqs = (streams: 'cameras' | 'requeued'): number[] => waiting(streams).map(({ seq }) => seq);
  const acceptAll = (): void =>
    store.outbox.accepted(
      store.outbox.next(2000, new Set()).map(({ rowId }) => rowId),
      clock.nowMs(),
    );
  const dropEvents = (): Event[] =>
    waiting('events')
      .filter(({ topic }) => topic === 'event/outbox_dropped')
      .map(({ payload }) => JSON.parse(payload) as Event);

  it('drops by bytes, oldest first, and counts them', () => {
    reopen({ maxMessages: 1000, maxAgeDays: 7, maxMb: 1 });
    append(20, { warnings: ['w'.repeat(99_000)] });
    const kept = seqs('cameras');
    expect(kept.length).toBeGreaterThan(8);
    expect(kept.length).toBeLessThan(11);
    expect(kept.at(-1)).toBe(20);
    expect(store.outbox.stats().droppedTotal).toBe(20 - kept.length);
    // The sum survives a start, and shrinks as rows leave.
    reopen({ maxMessages: 1000, maxAgeDays: 7, maxMb: 1 });
    acceptAll();
    append(5, { warnings: ['w'.repeat(99_000)] });
    expect(seqs('cameras')).toHaveLength(5);
  });

  it('keeps events from being pushed out by records, and the news of drops from being pushed out at all', () => {
    event('first');
    append(60);
    expect(waiting('events').map(({ topic }) => topic)).toContain('event/first');
    for (let n = 0; n < 60; n += 1) event('flood');
    const topics = waiting('events').map(({ topic }) => topic);
    expect(topics).not.toContain('event/first');
    expect(topics).toContain('event/outbox_dropped');
    expect(store.outbox.stats().depth).toBeLessThanOrEqual(20);
  });

  it('tells of hours of drops with one event, brought up to date', () => {
    for (let hour = 0; hour < 8; hour += 1) {
      append(30);
      clock.advance(HOUR_MS / 2);
    }
    store.prune();
    const told = dropEvents();
    expect(told).toHaveLength(1);
    const { droppedTotal } = store.outbox.stats();
    const { dropped, dropped_total: total } = told[0]!.context as Record<string, number>;
    expect(dropped).toBe(total);
    expect(total).toBeGreaterThan(droppedTotal - 60);
    // What is stored as an event is what is sent.
    expect(store.events.recent(10).find(({ type }) => type === 'outbox_dropped')).toEqual(told[0]);
    acceptAll();
    append(60);
    clock.advance(HOUR_MS);
    store.prune();
    const next = dropEvents();
    expect(next).toHaveLength(1);
    // The event itself may have pushed out one more.
    const since = store.outbox.stats().droppedTotal - (total ?? 0);
    expect([since, since - 1]).toContain(next[0]!.context['dropped']);
  });

  it('drops nothing that is with the broker', () => {
    append(20);
    const held = new Set(
      waiting('cameras')
        .slice(0, 3)
        .map(({ rowId }) => rowId),
    );
    store.outbox.hold(held);
    append(10);
    expect(seqs('cameras').slice(0, 4)).toEqual([1, 2, 3, expect.any(Number)]);
    expect(store.outbox.stats().depth).toBe(20);
    held.clear();
    append(1);
    expect(seqs('cameras')[0]).toBe(2);
  });

  it('settles many at once, with gaps and several streams, and notes each as it was sent', () => {
    append(3);
    append(3, { camera: 'south' });
    append(3);
    const rows = waiting('cameras');
    const sent = [0, 1, 3, 4, 5, 8].map((n) => rows[n]!);
    store.outbox.settle(
      sent.toReversed().map(({ rowId, stream, seq }, n) => ({
        rowId,
        stream,
        seq,
        publishedAtMs: 1000 + n,
        historical: n > 2,
      })),
    );
    expect(store.outbox.stats().depth).toBe(3);
    const noted = store.observations
      .query({ limit: 100 })
      .observations.filter(({ published_at: at }) => at !== null);
    expect(noted.map(({ camera, seq }) => `${camera} ${seq}`).toSorted()).toEqual(
      sent.map(({ stream, seq }) => `${stream.slice(7)} ${seq}`).toSorted(),
    );
    expect(noted.find(({ camera, seq }) => camera === 'north' && seq === 1)).toMatchObject({
      published_at: new Date(1005).toISOString(),
      historical: true,
    });
  });

  it('settles no row twice, and none that had another fate', () => {
    append(6);
    const rows = waiting('cameras');
    store.outbox.rejected(rows[2]!.rowId, 'too large');
    const sent = [1, 2, 3, 3, 4].map((n) => rows[n]!);
    const settle = (): void =>
      store.outbox.settle(
        sent.map(({ rowId, stream, seq }) => ({ rowId, stream, seq, publishedAtMs: 1000, historical: true })),
      );
    settle();
    settle();
    expect(store.outbox.stats().depth).toBe(2);
    expect(seqs('cameras')).toEqual([1, 6]);
    const noted = store.observations.query({ limit: 100 }).observations;
    expect(noted.filter(({ published_at: at }) => at !== null).map(({ seq }) => seq)).toEqual([5, 4, 2]);
  });

  it('keeps a record once, and goes on holding it when retention deletes it', () => {
    append(1, { captured_at: new Date(clock.nowMs() - 40 * 86_400_000).toISOString() });
    const before = waiting('cameras')[0]!.payload;
    expect((JSON.parse(before) as Observation).seq).toBe(1);
    while (store.prune().more);
    expect(store.observations.query({ limit: 10 }).observations).toHaveLength(0);
    expect(waiting('cameras')[0]!.payload).toBe(before);
  });

  it('sends stored records again, in order, each once, and tells which are missing', () => {
    append(8);
    acceptAll();
    append(2);
    expect(store.requeue('north', 2, 100)).toEqual({
      queued: 7,
      waiting: 2,
      missing: 0,
      nextSeq: null,
      full: false,
    });
    expect(seqs('requeued')).toEqual([2, 3, 4, 5, 6, 7, 8]);
    expect(seqs('cameras')).toEqual([9, 10]);
    expect(store.requeue('north', 0, 3)).toEqual({
      queued: 1,
      waiting: 2,
      missing: 0,
      nextSeq: null,
      full: false,
    });
    expect(store.requeue('north', 11, 1e9)).toMatchObject({ queued: 0, missing: 0, nextSeq: null });
    expect(store.requeue('north', 5, 4)).toMatchObject({ queued: 0, missing: 0, nextSeq: null });
    expect(store.requeue('nowhere', 1, 5)).toMatchObject({ queued: 0, missing: 0 });
    acceptAll();
    expect(store.observations.newest('north')?.published_at).not.toBeNull();
    expect(store.outbox.stats()).toMatchObject({ depth: 0, droppedTotal: 0 });
  });

  it('tells how many of a range are stored no more', () => {
    append(5, { captured_at: new Date(clock.nowMs() - 40 * 86_400_000).toISOString() });
    acceptAll();
    while (store.prune().more);
    append(2);
    expect(store.requeue('north', 1, 7)).toEqual({
      queued: 0,
      waiting: 2,
      missing: 5,
      nextSeq: null,
      full: false,
    });
  });

  it('asks for room and pushes nothing out for what is sent again; new records push it out uncounted', () => {
    append(20);
    acceptAll();
    append(15);
    const first = store.requeue('north', 1, 20);
    expect(first).toEqual({ queued: 5, waiting: 0, missing: 0, nextSeq: 6, full: true });
    append(5);
    expect(seqs('requeued')).toEqual([]);
    expect(seqs('cameras')).toHaveLength(20);
    expect(store.outbox.stats().droppedTotal).toBe(0);
  });

  it('takes a long range in parts', () => {
    reopen({ maxMessages: 10_000, maxAgeDays: 7 });
    append(600);
    acceptAll();
    let queued = 0;
    let calls = 0;
    for (let from: number | null = 1; from !== null; calls += 1) {
      const part: ReturnType<Store['requeue']> = store.requeue('north', from, 600);
      queued += part.queued;
      from = part.nextSeq;
    }
    expect({ queued, calls }).toEqual({ queued: 600, calls: 2 });
    expect(seqs('requeued')).toEqual(Array.from({ length: 600 }, (_, n) => n + 1));
  });
});
