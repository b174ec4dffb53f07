import { describe, expect, it } from 'vitest';
import type { Camera as CameraSettings } from '../../../src/config/schema.ts';
import { StepDeadline } from '../../../src/observation/step-deadline.ts';
import { createSchedule } from '../../../src/schedule/schedule.ts';
import type { FrameResult } from '../../../src/vision/protocol.ts';
import { cameraSettings } from '../../fixtures/capture.ts';
import { ManualClock } from '../../fixtures/manual-clock.ts';

const HOUR_MS = 3_600_000;

/** A camera's deadline with its schedule, and a function that serves slots with `work`. */
function deadlineOf(schedule: CameraSettings['schedule'], location: CameraSettings['location'] = null) {
  const clock = new ManualClock(Date.parse('2026-05-01T12:00:30Z'));
  const settings = cameraSettings({
    kind: 'directory',
    schedule,
    location,
    timeoutS: 5,
    burst: { frames: 2, intervalS: 2 },
  });
  const slots = createSchedule({ schedule, location, seedId: 'a' }, { clock });
  const step = new StepDeadline({ clock, schedule: slots });
  const overdueMs = (): number => (step.dueMonoMs === null ? -Infinity : clock.monoMs() - step.dueMonoMs);
  const stop = new AbortController();
  const serve = (work: () => Promise<void>): void => {
    void (async () => {
      for await (const { skipped } of slots.slots(stop.signal)) {
        if (skipped === null) await work();
        step.endObservation();
      }
    })();
  };
  return { clock, settings, step, overdueMs, serve };
}

const idle = (): Promise<void> => Promise.resolve();

describe('StepDeadline', () => {
  it('expects nothing before the start', () => {
    expect(deadlineOf({ everyS: 60 }).step.dueMonoMs).toBeNull();
  });

  it('is never overdue while slots are served, however far apart they are', async () => {
    for (const schedule of [{ everyS: 10 }, { everyS: 86_400 }, { cron: '0 3 1 1 *', timezone: 'UTC' }]) {
      const { clock, overdueMs, serve } = deadlineOf(schedule);
      serve(idle);
      for (let hours = 0; hours < 48; hours += 1) {
        await clock.pass(HOUR_MS / 2);
        expect(overdueMs()).toBeLessThanOrEqual(0);
      }
    }
  });

  it('is not overdue while the sun window is closed', async () => {
    const sun = { from: 'dawn', to: 'dusk' } as const;
    const { clock, overdueMs, serve } = deadlineOf({ everyS: 600, sun }, { lat: 38.7, lon: -9.4 });
    let served = 0;
    serve(() => {
      served += 1;
      return Promise.resolve();
    });
    await clock.pass(9 * HOUR_MS);
    const atDusk = served;
    for (let minutes = 0; minutes < 120; minutes += 1) {
      await clock.pass(60_000);
      expect(overdueMs()).toBeLessThanOrEqual(0);
    }
    expect(served).toBe(atDusk);
  });

  it('is not overdue after a step of the clock in either direction', async () => {
    for (const schedule of [{ everyS: 60 }, { cron: '* * * * *', timezone: 'UTC' }])
      for (const stepMs of [-400 * 24 * HOUR_MS, 400 * 24 * HOUR_MS]) {
        const { clock, overdueMs, serve } = deadlineOf(schedule);
        serve(idle);
        await clock.pass(90_000);
        clock.step(stepMs);
        for (let seconds = 0; seconds < 300; seconds += 1) {
          await clock.pass(1000);
          expect(overdueMs()).toBeLessThanOrEqual(0);
        }
      }
  });

  it('is overdue when the schedule does not wake up', async () => {
    const { clock, overdueMs, serve } = deadlineOf({ everyS: 60 });
    serve(idle);
    await clock.pass(1000);
    // The next sleep of the schedule never ends.
    clock.sleep = () => new Promise<void>(() => undefined);
    await clock.pass(120_000);
    expect(overdueMs()).toBe(1000);
    await clock.pass(30_000);
    expect(overdueMs()).toBe(31_000);
  });

  it('is overdue when a capture gives no frame within its retries, timeout and interval', async () => {
    const { clock, settings, step, overdueMs, serve } = deadlineOf({ everyS: 20 });
    serve(() => {
      step.watch(settings, { analyze: () => Promise.reject(new Error('no frame arrives')) });
      return new Promise<void>(() => undefined);
    });
    await clock.pass(17_000);
    expect(overdueMs()).toBeLessThanOrEqual(0);
    await clock.pass(1000);
    expect(overdueMs()).toBe(1000);
  });

  it('is not overdue during a long burst, nor while frames wait for the vision process', async () => {
    const { clock, settings, step, overdueMs, serve } = deadlineOf({ everyS: 20 });
    let answer: () => void = () => undefined;
    serve(async () => {
      const analyzer = step.watch(settings, {
        analyze: () => new Promise((resolve) => (answer = () => resolve({} as FrameResult))),
      });
      for (let frames = 0; frames < 3; frames += 1) {
        await clock.sleep(10_000);
        await analyzer.analyze(new Uint8Array(), { roi: null, privacyMasks: [] });
      }
      await new Promise<void>(() => undefined);
    });
    for (let frames = 0; frames < 3; frames += 1) {
      await clock.pass(11_000);
      expect(step.dueMonoMs).toBeNull();
      await clock.pass(HOUR_MS);
      expect(step.dueMonoMs).toBeNull();
      answer();
      await clock.pass(0);
      expect(overdueMs()).toBeLessThanOrEqual(0);
    }
    await clock.pass(18_000);
    expect(overdueMs()).toBe(1000);
  });

  it('expects nothing after the end', () => {
    const { step, clock } = deadlineOf({ everyS: 20 });
    step.expectWithin(0);
    expect(step.dueMonoMs).toBe(clock.monoMs());
    step.end();
    step.endObservation();
    expect(step.dueMonoMs).toBeNull();
  });
});
