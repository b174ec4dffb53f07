import { describe, expect, it } from 'vitest';
import type { Event } from '../../../../src/contract/states.ts';
import type { Observation } from '../../../../src/contract/observation.ts';
import type { RequeueResult } from '../../../../src/store/types.ts';
import { acknowledge, draft, NO_FEATURES } from '../../../fixtures/store.ts';
import { useStore } from '../../../fixtures/use-store.ts';

const HOUR_MS = 3_600_000;

describe('Outbox', () => {
  const state = useStore({ outbox: { maxMessages: 20, maxAgeDays: 7 } });

  const append = (count: number, over: Parameters<typeof draft>[0] = {}): void => {
    for (let n = 0; n < count; n += 1) state.store.append(draft(over), NO_FEATURES);
  };
  const event = (type: string): void =>
    state.store.raise({ type, severity: 'info', code: type, message: '', context: {} });
  const waiting = (streams: 'cameras' | 'events' | 'requeued') =>
    state.store.outbox.next(1000, new Set(), { streams });
  const seqs = (streams: 'cameras' | 'requeued'): number[] => waiting(streams).map(({ seq }) => seq);
  const acknowledgeAll = (): void =>
    acknowledge(state.store.outbox, state.store.outbox.next(2000, new Set()), state.clock.nowMs());
  const dropEvents = (): Event[] =>
    waiting('events')
      .filter(({ topic }) => topic === 'event/outbox_dropped')
      .map(({ payload }) => JSON.parse(payload) as Event);

  it('drops the oldest rows above the bound on bytes, and counts them', () => {
    state.reopen({ outbox: { maxMessages: 1000, maxAgeDays: 7, maxMb: 1 } });
    append(20, { warnings: ['w'.repeat(99_000)] });
    const kept = seqs('cameras');
    expect(kept.length).toBeGreaterThan(8);
    expect(kept.length).toBeLessThan(11);
    expect(kept.at(-1)).toBe(20);
    expect(state.store.outbox.stats().droppedTotal).toBe(20 - kept.length);
    // The total survives a restart, and decreases when rows leave.
    state.reopen({ outbox: { maxMessages: 1000, maxAgeDays: 7, maxMb: 1 } });
    acknowledgeAll();
    append(5, { warnings: ['w'.repeat(99_000)] });
    expect(seqs('cameras')).toHaveLength(5);
  });

  it('never drops an event for a record, and never drops the event `outbox_dropped`', () => {
    event('first');
    append(60);
    expect(waiting('events').map(({ topic }) => topic)).toContain('event/first');
    for (let n = 0; n < 60; n += 1) event('flood');
    const topics = waiting('events').map(({ topic }) => topic);
    expect(topics).not.toContain('event/first');
    expect(topics).toContain('event/outbox_dropped');
    expect(state.store.outbox.stats().depth).toBeLessThanOrEqual(20);
  });

  it('reports hours of drops with one event that it updates', () => {
    for (let hour = 0; hour < 8; hour += 1) {
      append(30);
      state.clock.advance(HOUR_MS / 2);
    }
    state.store.prune();
    const reported = dropEvents();
    expect(reported).toHaveLength(1);
    const { droppedTotal } = state.store.outbox.stats();
    const { dropped, dropped_total: total } = reported[0]!.context as Record<string, number>;
    expect(dropped).toBe(total);
    expect(total).toBeGreaterThan(droppedTotal - 60);
    // The stored event is equal to the queued one.
    expect(state.store.events.recent(10).find(({ type }) => type === 'outbox_dropped')).toEqual(reported[0]);
    acknowledgeAll();
    append(60);
    state.clock.advance(HOUR_MS);
    state.store.prune();
    const next = dropEvents();
    expect(next).toHaveLength(1);
    // Queueing the event may have dropped one more record.
    const since = state.store.outbox.stats().droppedTotal - (total ?? 0);
    expect([since, since - 1]).toContain(next[0]!.context['dropped']);
  });

  it('drops no row that is in flight', () => {
    append(20);
    const inFlight = new Set(
      waiting('cameras')
        .slice(0, 3)
        .map(({ rowId }) => rowId),
    );
    state.store.outbox.protect(inFlight);
    append(10);
    expect(seqs('cameras').slice(0, 4)).toEqual([1, 2, 3, expect.any(Number)]);
    expect(state.store.outbox.stats().depth).toBe(20);
    inFlight.clear();
    append(1);
    expect(seqs('cameras')[0]).toBe(2);
  });

  it('deletes many acknowledged rows of several streams, and stores how each was published', () => {
    append(3);
    append(3, { camera: 'south' });
    append(3);
    const rows = waiting('cameras');
    const sent = [0, 1, 3, 4, 5, 8].map((n) => rows[n]!);
    state.store.outbox.acknowledge(
      sent.toReversed().map(({ rowId, stream, seq }, n) => ({
        rowId,
        stream,
        seq,
        publishedAtMs: 1000 + n,
        historical: n > 2,
      })),
    );
    expect(state.store.outbox.stats().depth).toBe(3);
    const noted = state.store.observations
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

  it('ignores a second acknowledgement, and that of a rejected row', () => {
    append(6);
    const rows = waiting('cameras');
    state.store.outbox.reject(rows[2]!.rowId, 'too large');
    const sent = [1, 2, 3, 3, 4].map((n) => rows[n]!);
    const acknowledgeSent = (): void =>
      state.store.outbox.acknowledge(
        sent.map(({ rowId, stream, seq }) => ({ rowId, stream, seq, publishedAtMs: 1000, historical: true })),
      );
    acknowledgeSent();
    acknowledgeSent();
    expect(state.store.outbox.stats().depth).toBe(2);
    expect(seqs('cameras')).toEqual([1, 6]);
    const noted = state.store.observations.query({ limit: 100 }).observations;
    expect(noted.filter(({ published_at: at }) => at !== null).map(({ seq }) => seq)).toEqual([5, 4, 2]);
  });

  it('takes over the payload of a waiting record that retention deletes', () => {
    append(1, { captured_at: new Date(state.clock.nowMs() - 40 * 86_400_000).toISOString() });
    const before = waiting('cameras')[0]!.payload;
    expect((JSON.parse(before) as Observation).seq).toBe(1);
    while (state.store.prune().more);
    expect(state.store.observations.query({ limit: 10 }).observations).toHaveLength(0);
    expect(waiting('cameras')[0]!.payload).toBe(before);
  });

  it('requeues stored records in order, each once, and counts the waiting ones', () => {
    append(8);
    acknowledgeAll();
    append(2);
    expect(state.store.requeue('north', 2, 100)).toEqual({
      queued: 7,
      waiting: 2,
      missing: 0,
      nextSeq: null,
      full: false,
    });
    expect(seqs('requeued')).toEqual([2, 3, 4, 5, 6, 7, 8]);
    expect(seqs('cameras')).toEqual([9, 10]);
    expect(state.store.requeue('north', 0, 3)).toEqual({
      queued: 1,
      waiting: 2,
      missing: 0,
      nextSeq: null,
      full: false,
    });
    expect(state.store.requeue('north', 11, 1e9)).toMatchObject({ queued: 0, missing: 0, nextSeq: null });
    expect(state.store.requeue('north', 5, 4)).toMatchObject({ queued: 0, missing: 0, nextSeq: null });
    expect(state.store.requeue('nowhere', 1, 5)).toMatchObject({ queued: 0, missing: 0 });
    acknowledgeAll();
    expect(state.store.observations.newest('north')?.published_at).not.toBeNull();
    expect(state.store.outbox.stats()).toMatchObject({ depth: 0, droppedTotal: 0 });
  });

  it('counts the records of a range that are deleted', () => {
    append(5, { captured_at: new Date(state.clock.nowMs() - 40 * 86_400_000).toISOString() });
    acknowledgeAll();
    while (state.store.prune().more);
    append(2);
    expect(state.store.requeue('north', 1, 7)).toEqual({
      queued: 0,
      waiting: 2,
      missing: 5,
      nextSeq: null,
      full: false,
    });
  });

  it('drops no row for a requeued record, and drops requeued records for new ones without counting them', () => {
    append(20);
    acknowledgeAll();
    append(15);
    const first = state.store.requeue('north', 1, 20);
    expect(first).toEqual({ queued: 5, waiting: 0, missing: 0, nextSeq: 6, full: true });
    append(5);
    expect(seqs('requeued')).toEqual([]);
    expect(seqs('cameras')).toHaveLength(20);
    expect(state.store.outbox.stats().droppedTotal).toBe(0);
  });

  it('requeues a long range in parts', () => {
    state.reopen({ outbox: { maxMessages: 10_000, maxAgeDays: 7 } });
    append(600);
    acknowledgeAll();
    let queued = 0;
    let calls = 0;
    for (let from: number | null = 1; from !== null; calls += 1) {
      const part: RequeueResult = state.store.requeue('north', from, 600);
      queued += part.queued;
      from = part.nextSeq;
    }
    expect({ queued, calls }).toEqual({ queued: 600, calls: 2 });
    expect(seqs('requeued')).toEqual(Array.from({ length: 600 }, (_, n) => n + 1));
  });
});
