import { describe, expect, it } from 'vitest';
import { queueAgain } from '../../../src/control/backfill.ts';
import { acknowledge, draft, NO_FEATURES, seaStateDraft } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const signal = new AbortController().signal;

describe('queueAgain', () => {
  const state = useStore({ outbox: { maxMessages: 1500, maxAgeDays: 7 } }, { inMemory: true });

  function stored(count: number, captured_at = new Date(state.clock.nowMs()).toISOString()): void {
    for (let n = 0; n < count; n += 1) state.store.append(draft({ captured_at }), NO_FEATURES);
  }
  function sendAll(): void {
    acknowledge(state.store.outbox, state.store.outbox.next(5000, new Set()), state.clock.nowMs());
  }
  const ask = (fromSeq: number, toSeq: number) =>
    queueAgain({ camera: 'north', stream: 'observation', fromSeq, toSeq }, state, signal);

  it('queues a long range in parts', async () => {
    stored(1100);
    sendAll();
    const before = state.clock.monoMs();
    expect(await ask(1, 5000)).toEqual({
      camera: 'north',
      stream: 'observation',
      queued: 1100,
      waiting: 0,
      gone: 0,
      gone_ranges: [],
      next_seq: null,
    });
    expect(state.clock.monoMs()).toBeGreaterThan(before);
    expect(state.store.outbox.stats().depth).toBe(1100);
  });

  it('reports the records that wait already and the numbers that are gone', async () => {
    stored(3, new Date(state.clock.nowMs() - 40 * 86_400_000).toISOString());
    stored(4);
    sendAll();
    stored(2);
    while (state.store.prune().more);
    expect(await ask(2, 20)).toMatchObject({ queued: 4, waiting: 2, gone: 2, gone_ranges: [[2, 3]] });
    expect(await ask(1, 9)).toMatchObject({ queued: 0, waiting: 6, gone: 3, gone_ranges: [[1, 3]] });
  });

  it('stops when the outbox is full and says where to continue', async () => {
    stored(1000);
    sendAll();
    stored(900);
    const first = await ask(1, 1000);
    expect(first.queued).toBeLessThanOrEqual(600);
    expect(first.next_seq).toBe(first.queued + 1);
    expect(state.store.outbox.stats().droppedTotal).toBe(0);
    expect(await ask(first.next_seq ?? 0, 1000)).toMatchObject({
      queued: 0,
      next_seq: first.next_seq,
      gone: 0,
    });
  });

  it('queues sea states by their own numbers', async () => {
    stored(3);
    for (let n = 0; n < 2; n += 1) state.store.appendSeaState(seaStateDraft());
    sendAll();
    const range = { camera: 'north', stream: 'sea_state', fromSeq: 1, toSeq: 3 } as const;
    expect(await queueAgain(range, state, signal)).toMatchObject({ stream: 'sea_state', queued: 2, gone: 0 });
    await expect(queueAgain({ ...range, fromSeq: 3 }, state, signal)).rejects.toMatchObject({
      code: 'seq_unknown',
      context: { newest_seq: 2 },
    });
  });

  it('refuses a range above the newest record, and accepts one that begins with it', async () => {
    stored(3);
    sendAll();
    const refused = { code: 'seq_unknown', context: { camera: 'north', from_seq: 4, newest_seq: 3 } };
    await expect(ask(4, 9)).rejects.toMatchObject(refused);
    expect(await ask(3, 9)).toMatchObject({ queued: 1, gone: 0, next_seq: null });
  });

  it('stops when the signal aborts', async () => {
    stored(600);
    sendAll();
    const stop = new AbortController();
    state.clock.sleep = () => Promise.reject(new Error('stopped'));
    const stopped = queueAgain(
      { camera: 'north', stream: 'observation', fromSeq: 1, toSeq: 600 },
      state,
      stop.signal,
    );
    await expect(stopped).rejects.toThrow('stopped');
    expect(state.store.outbox.stats().depth).toBe(500);
  });
});
