import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { Liveness } from '../../../src/health/liveness.ts';
import { ManualClock } from '../../fixtures/store.ts';

let stop: AbortController;
beforeEach(() => {
  stop = new AbortController();
});
afterEach(() => stop.abort());

describe('Liveness', () => {
  it('is alive before the start and while the loop runs, and measures the delay of the loop', async () => {
    const liveness = new Liveness({ maxSilenceMs: 10_000 }, { clock: systemClock, parts: [] });
    expect(liveness.report()).toEqual({
      alive: true,
      stalled: [],
      loopDelayP99Ms: null,
      loopDelayMaxMs: null,
    });
    liveness.start(stop.signal);
    await delay(150);
    const busyUntilMs = performance.now() + 400;
    while (performance.now() < busyUntilMs);
    await vi.waitUntil(() => (liveness.report().loopDelayMaxMs ?? 0) > 150, { timeout: 60_000 });
    expect(liveness.report().alive).toBe(true);
  });

  it('reports a part without progress, unless no progress is expected', () => {
    const clock = new ManualClock();
    let visionMs: number | null = null;
    const liveness = new Liveness(
      { maxSilenceMs: 10_000 },
      { clock, parts: [{ name: 'vision', maxSilenceMs: 30_000, lastProgressMonoMs: () => visionMs }] },
    );
    clock.advance(60_000);
    expect(liveness.report().alive).toBe(true);
    visionMs = clock.monoMs();
    clock.advance(30_000);
    expect(liveness.report().stalled).toEqual([]);
    clock.advance(1);
    expect(liveness.report()).toMatchObject({ alive: false, stalled: ['vision'] });
  });

  it('reports a blocked main loop', () => {
    // With a clock whose sleeps never end, the loop never runs again.
    const stuck = Object.assign(new ManualClock(), { sleep: () => new Promise<void>(() => undefined) });
    const liveness = new Liveness({ maxSilenceMs: 10_000 }, { clock: stuck, parts: [] });
    liveness.start(stop.signal);
    stuck.advance(10_001);
    expect(liveness.report()).toMatchObject({ alive: false, stalled: ['main_loop'] });
  });
});
