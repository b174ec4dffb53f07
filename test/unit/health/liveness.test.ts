import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { Liveness, watchScheduler, watchVision } from '../../../src/health/liveness.ts';
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
      { clock, parts: [{ name: 'vision', maxOverdueMs: 30_000, progressDueMonoMs: () => visionMs }] },
    );
    clock.advance(60_000);
    expect(liveness.report().alive).toBe(true);
    visionMs = clock.monoMs();
    clock.advance(30_000);
    expect(liveness.report().stalled).toEqual([]);
    clock.advance(1);
    expect(liveness.report()).toMatchObject({ alive: false, stalled: ['vision'] });
  });

  it('allows the vision process two frame deadlines and the time of a restart', () => {
    const clock = new ManualClock();
    const vision = { unansweredSinceMonoMs: clock.monoMs() as number | null };
    const liveness = new Liveness({}, { clock, parts: [watchVision({ timeoutS: 10 }, vision)] });
    clock.advance(140_000);
    expect(liveness.report().alive).toBe(true);
    clock.advance(1);
    expect(liveness.report()).toMatchObject({ alive: false, stalled: ['vision'] });
    vision.unansweredSinceMonoMs = null;
    expect(liveness.report().alive).toBe(true);
  });

  it('reports the scheduler when the step of one camera is overdue by more than 30 s', () => {
    const clock = new ManualClock();
    const nowMs = clock.monoMs();
    const cameras: { stepDueMonoMs: number | null }[] = [];
    const liveness = new Liveness({}, { clock, parts: [watchScheduler({ list: () => cameras })] });
    expect(liveness.report().alive).toBe(true);
    cameras.push(
      { stepDueMonoMs: null },
      { stepDueMonoMs: nowMs + 3_600_000 },
      { stepDueMonoMs: nowMs + 5000 },
    );
    clock.advance(35_000);
    expect(liveness.report().alive).toBe(true);
    clock.advance(1);
    expect(liveness.report()).toMatchObject({ alive: false, stalled: ['scheduler'] });
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
