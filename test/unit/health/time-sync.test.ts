import { afterEach, describe, expect, it } from 'vitest';
import { TimeSync, type StoredTimes } from '../../../src/health/time-sync.ts';
import type { ClockState } from '../../../src/health/types.ts';
import type { EventDraft } from '../../../src/contract/states.ts';
import { ManualClock } from '../../fixtures/manual-clock.ts';
import { silentLog } from '../../fixtures/store.ts';

type Outcome = ReturnType<StoredTimes['correctTimestamps']>;
const NOTHING: Outcome = { corrected: 0, uncertain: 0, more: false };

describe('TimeSync', () => {
  const stops: AbortController[] = [];
  afterEach(() => {
    for (const stop of stops.splice(0)) stop.abort();
  });

  /** Batches that the stored times return, one after another, then none. */
  async function start(kernel: { state: ClockState }, batches: (Outcome | Error)[] = []) {
    const clock = new ManualClock();
    const stop = new AbortController();
    stops.push(stop);
    const requests: Parameters<StoredTimes['correctTimestamps']>[0][] = [];
    const events: EventDraft[] = [];
    const source = { isSynced: (): boolean => false };
    let corrections = 0;
    const times: StoredTimes = {
      setSyncSource: (isSynced) => (source.isSynced = isSynced),
      noteSleep: () => undefined,
      correctTimestamps: (moment) => {
        requests.push(moment);
        const batch = batches.shift() ?? NOTHING;
        if (batch instanceof Error) throw batch;
        return batch;
      },
    };
    const sync = new TimeSync(
      { bootId: 'boot' },
      {
        clock,
        log: silentLog,
        store: { timeCorrection: times },
        raise: (event) => events.push(event),
        kernel: () => kernel.state,
        onCorrected: () => (corrections += 1),
      },
    );
    await sync.start(stop.signal);
    /** Lets time pass until the condition holds; the clock's state is read from real files in between. */
    const passUntil = async (isDone: () => boolean): Promise<void> => {
      for (let n = 0; n < 200 && !isDone(); n += 1) {
        await clock.pass(5_000);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    return { sync, clock, requests, events, source, passUntil, corrections: () => corrections };
  }

  it('has a valid state after the start, which records carry', async () => {
    const { sync, source } = await start({ state: { synced: true, offsetMs: 1.5 } });
    expect(sync.state()).toEqual({ synced: true, offsetMs: 1.5 });
    expect(sync.wire()).toEqual({ synced: true, offset_ms: 1.5 });
    expect(source.isSynced()).toBe(true);
  });

  it('corrects stored records in batches when the clock is set, and reports once', async () => {
    const kernel = { state: { synced: false, offsetMs: null } as ClockState };
    const { requests, events, passUntil, corrections } = await start(kernel, [
      NOTHING,
      { corrected: 500, uncertain: 0, more: true },
      { corrected: 20, uncertain: 3, more: false },
    ]);
    expect(corrections()).toBe(0);
    kernel.state = { synced: true, offsetMs: 0 };
    await passUntil(() => corrections() > 0);
    expect(requests.at(-1)).toEqual({ bootId: 'boot', synced: true, stepped: false });
    expect(events).toMatchObject([
      { type: 'times_mended', code: 'time_corrected', context: { corrected: 520, uncertain: 3 } },
    ]);
    expect(corrections()).toBe(1);
  });

  it('raises an event for a step and asks for a correction that knows of it', async () => {
    const { clock, requests, events, passUntil } = await start({ state: { synced: true, offsetMs: 0 } });
    await passUntil(() => requests.length > 0);
    clock.step(3_600_000);
    await passUntil(() => requests.some(({ stepped }) => stepped));
    expect(requests.some(({ stepped }) => stepped)).toBe(true);
    expect(events).toMatchObject([{ type: 'clock_step', context: { steps: 1 } }]);
  });

  it('tries again a minute after a failed write', async () => {
    const { clock, requests, corrections } = await start({ state: { synced: true, offsetMs: 0 } }, [
      new Error('disk full'),
      { corrected: 1, uncertain: 0, more: false },
    ]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([requests.length, corrections()]).toEqual([1, 0]);
    await clock.pass(60_000);
    expect(requests.length).toBeGreaterThan(1);
    expect(corrections()).toBe(1);
  });
});
