import { describe, expect, it } from 'vitest';
import type { SeaStateDraft } from '../../../src/store/types.ts';
import { contractFault } from '../../fixtures/contract.ts';
import { acknowledge, draft, NO_FEATURES, seaStateDraft } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const NONE = new Set<number>();
const MINUTE_MS = 60_000;

describe('SeaStates', () => {
  const state = useStore({ bootId: 'boot-1' }, { inMemory: true });

  const at = (ms: number, over: Partial<SeaStateDraft> = {}) =>
    state.store.appendSeaState(seaStateDraft({ captured_at: new Date(ms).toISOString(), ...over }));
  const queued = () => state.store.outbox.next(10_000, NONE);

  it('have numbers of their own in each camera, which continue after a restart', () => {
    state.store.append(draft(), NO_FEATURES);
    state.store.append(draft(), NO_FEATURES);
    expect([at(0).seq, at(1).seq, at(2, { camera: 'south' }).seq]).toEqual([1, 2, 1]);
    expect(state.store.append(draft(), NO_FEATURES).seq).toBe(3);
    state.reopen();
    expect(at(3).seq).toBe(3);
    const topic = 'swellsight/v1/test/dev1/camera/north/sea_state';
    expect(contractFault(topic, Buffer.from(JSON.stringify(at(4))))).toBeNull();
  });

  it('wait for the broker with their text, and show how they were published', () => {
    const record = at(0);
    const [entry] = queued();
    expect(entry).toMatchObject({
      stream: 'camera:north/sea_state',
      seq: 1,
      topic: 'camera/north/sea_state',
    });
    expect(JSON.parse(entry!.payload)).toEqual(record);
    acknowledge(state.store.outbox, [entry!], 5000, true);
    expect(state.store.outbox.stats().depth).toBe(0);
    expect(state.store.seaStates.find('north', record.id)).toEqual({
      ...record,
      published_at: '1970-01-01T00:00:05.000Z',
      historical: true,
    });
    expect(state.store.seaStates.find('south', record.id)).toBeNull();
  });

  it('are requeued from the store, and only they', () => {
    for (let n = 0; n < 4; n += 1) {
      state.store.append(draft(), NO_FEATURES);
      at(state.clock.nowMs() + n);
    }
    acknowledge(state.store.outbox, queued(), 5000);
    expect(state.store.requeue('north', 2, 9, 'sea_state')).toEqual({
      queued: 3,
      waiting: 0,
      missing: 0,
      nextSeq: null,
      full: false,
    });
    expect(queued().map(({ topic, seq }) => [topic, seq])).toEqual(
      [2, 3, 4].map((seq) => ['camera/north/sea_state', seq]),
    );
    // The record is deleted while it waits: the outbox has its own copy.
    state.clock.advance(40 * 86_400_000);
    state.reopen({ bootId: 'boot-1', outbox: { maxMessages: 10_000, maxAgeDays: 90 } });
    for (let more = true; more;) ({ more } = state.store.prune());
    expect(queued().map(({ payload }) => (JSON.parse(payload) as { seq: number }).seq)).toEqual([2, 3, 4]);
    expect(state.store.seaStates.newest('north')).toBeNull();
    expect(state.store.stats.newestSeq('north', 'sea_state')).toBe(4);
    expect(state.store.stats.gaps('north', 1, 4, 10, 'sea_state')).toEqual([[1, 1]]);
  });

  it('are paged by the time of the clip, each once, with equal times too', () => {
    const times = Array.from({ length: 1000 }, (_, n) => (n % 250) * MINUTE_MS);
    for (const ms of times) at(ms);
    const found: number[] = [];
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = state.store.seaStates.query({ camera: 'north', limit: 37, ...(cursor ? { cursor } : {}) });
      found.push(...page.sea_states.map(({ captured_at }) => Date.parse(captured_at)));
      cursor = page.cursor;
    }
    expect(found).toEqual(times.toSorted((a, b) => b - a));
    const range = { camera: 'north', fromMs: MINUTE_MS, toMs: 3 * MINUTE_MS, limit: 1000 };
    expect(state.store.seaStates.query(range).sea_states).toHaveLength(8);
    expect(() => state.store.seaStates.query({ camera: 'north', limit: 1, cursor: 'x' })).toThrow(/cursor/);
  });

  it('give the newest period since a time, past later clips without one', () => {
    at(0);
    at(MINUTE_MS, { status: 'rejected', reasons: ['no_peak'] });
    expect(state.store.seaStates.newestMeasured('north', 0)?.seq).toBe(1);
    expect(state.store.seaStates.newestMeasured('north', 1)).toBeNull();
  });

  it('get their times corrected when the clock is set, unless they may have been published', () => {
    state.store.timeCorrection.setSyncSource(() => false);
    const unsynced = { clock: { synced: false, offset_ms: null } };
    const made = () => at(state.clock.nowMs(), { mono_ms: state.clock.monoMs(), ...unsynced });
    // The event of the same number must stay as it is.
    state.store.raise({
      type: 'store_recovered',
      severity: 'error',
      code: 'store_corrupt',
      message: '',
      context: {},
    });
    state.store.outbox.protect(NONE);
    const waiting = made();
    state.clock.wallMs += 3_600_000;
    const step = { bootId: 'boot-1', synced: true, stepped: true };
    expect(state.store.timeCorrection.correctTimestamps(step)).toMatchObject({ corrected: 2 });
    const corrected = { captured_at: new Date(Date.parse(waiting.captured_at) + 3_600_000).toISOString() };
    expect(state.store.seaStates.newest('north')).toMatchObject({
      ...corrected,
      warnings: ['time_corrected'],
    });
    const sent = queued().find(({ stream }) => stream.endsWith('sea_state'))!;
    expect(JSON.parse(sent.payload)).toMatchObject({ ...corrected, seq: 1, id: waiting.id });
    expect(
      state.store.seaStates.query({ camera: 'north', limit: 1, fromMs: Date.parse(corrected.captured_at) })
        .sea_states,
    ).toHaveLength(1);
  });

  it('count as drops when the outbox is full', () => {
    state.reopen({ outbox: { maxMessages: 2, maxAgeDays: 7 } });
    for (let n = 0; n < 5; n += 1) at(n);
    // The event about the drops takes one of the two places.
    expect(state.store.outbox.stats()).toMatchObject({ depth: 2, droppedTotal: 4 });
    expect(state.store.seaStates.query({ camera: 'north', limit: 10 }).sea_states).toHaveLength(5);
  });
});
