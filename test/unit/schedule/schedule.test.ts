import { describe, expect, it } from 'vitest';
import type { ScheduleSettings } from '../../../src/config/schema.ts';
import { createSchedule } from '../../../src/schedule/schedule.ts';
import { FakeClock, type ClockStep } from '../../fixtures/fake-clock.ts';
import { slotsOf, type SeenSlot } from '../../fixtures/schedule-slots.ts';

const START = Date.parse('2026-05-01T12:00:30Z');
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

async function run(
  schedule: ScheduleSettings,
  spanMs: number,
  more: { steps?: ClockStep[]; workMs?: (index: number) => number; startMs?: number; seedId?: string } = {},
): Promise<SeenSlot[]> {
  const clock = new FakeClock(more.startMs ?? START, more.steps);
  const made = createSchedule(
    { schedule, location: { lat: 38.7, lon: -9.4 }, seedId: more.seedId ?? 'dev/cam' },
    { clock },
  );
  return slotsOf(made, clock, spanMs, more.workMs);
}
const iso = (ms: number): string => new Date(ms).toISOString().slice(11, 19);
const ranAt = (slots: readonly SeenSlot[]): string[] =>
  slots.filter((slot) => slot.skipped === null).map((slot) => iso(slot.dueAtMs));
const skippedIn = (slots: readonly SeenSlot[]): [string | null, string, number][] =>
  slots
    .filter((slot) => slot.skipped !== null)
    .map((slot) => [slot.skipped, iso(slot.dueAtMs), slot.covers ?? 1]);

describe('createSchedule with an interval', () => {
  it('starts at once and keeps the interval', async () => {
    expect(ranAt(await run({ everyS: 10 }, 30_000))).toEqual([
      '12:00:30',
      '12:00:40',
      '12:00:50',
      '12:01:00',
    ]);
  });

  it('reports each slot that comes due during work as overlap, and keeps the grid', async () => {
    const slots = await run({ everyS: 10 }, 50_000, { workMs: (index) => (index === 0 ? 25_000 : 0) });
    expect(ranAt(slots)).toEqual(['12:00:30', '12:01:00', '12:01:10', '12:01:20']);
    expect(skippedIn(slots)).toEqual([
      ['overlap', '12:00:40', 1],
      ['overlap', '12:00:50', 1],
    ]);
  });

  it('ignores steps of the wall clock', async () => {
    const slots = await run({ everyS: 10 }, 60_000, {
      steps: [
        { atMonoMs: 15_000, byMs: 400 * DAY },
        { atMonoMs: 35_000, byMs: -900 * DAY },
      ],
    });
    expect(slots.map((slot) => slot.monoMs)).toEqual([0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
    expect(skippedIn(slots)).toEqual([]);
  });

  it('reports a stall of one day in twenty slots whose counts add up', async () => {
    const slots = await run({ everyS: 1 }, DAY + 5000, { workMs: (index) => (index === 0 ? DAY : 0) });
    const skipped = skippedIn(slots);
    expect(skipped).toHaveLength(20);
    expect(skipped.reduce((sum, [, , covers]) => sum + covers, 0)).toBe(86_399);
  });

  it('reports slots as late after the process was stopped', async () => {
    const clock = new FakeClock(START);
    const schedule = createSchedule({ schedule: { everyS: 10 }, location: null, seedId: 'a' }, { clock });
    const sleep = clock.sleep.bind(clock);
    let hasStalled = false;
    clock.sleep = async (ms, signal) => {
      await sleep(ms, signal);
      if (clock.monoMs() >= 20_000 && !hasStalled) {
        hasStalled = true;
        clock.pass(27_000);
      }
    };
    const slots = await slotsOf(schedule, clock, 60_000);
    expect(skippedIn(slots)).toEqual([
      ['late', '12:00:50', 1],
      ['late', '12:01:00', 1],
      ['late', '12:01:10', 1],
    ]);
    expect(ranAt(slots)).toEqual(['12:00:30', '12:00:40', '12:01:20', '12:01:30']);
  });

  it('runs only while the sun window is open, and reports when it opens', async () => {
    const clock = new FakeClock(Date.parse('2026-05-01T23:00:00Z'));
    const schedule = createSchedule(
      {
        schedule: { everyS: 60, sun: { from: 'sunrise', to: 'sunset' } },
        location: { lat: 38.7, lon: -9.4 },
        seedId: 'a',
      },
      { clock },
    );
    const opensMs = schedule.nextRunAtMs() ?? 0;
    expect(iso(opensMs)).toMatch(/^05:(3\d|40)/);
    const slots = await slotsOf(schedule, clock, 8 * HOUR);
    expect(slots[0]?.dueAtMs).toBe(opensMs);
    expect(skippedIn(slots)).toEqual([]);
  });

  it('has no next run in the polar night', () => {
    const clock = new FakeClock(Date.parse('2026-12-21T12:00:00Z'));
    const options = { location: { lat: 78.2, lon: 15.6 }, seedId: 'a' };
    const sun = { from: 'dawn', to: 'dusk' } as const;
    expect(createSchedule({ ...options, schedule: { everyS: 1, sun } }, { clock }).nextRunAtMs()).toBeNull();
    expect(
      createSchedule({ ...options, schedule: { cron: '* * * * *', sun } }, { clock }).nextRunAtMs(),
    ).toBeNull();
  });
});

describe('createSchedule with jitter', () => {
  it('delays by a constant time for each device and camera, within the range', async () => {
    const delays = await Promise.all(
      ['a', 'b', 'c', 'd', 'a'].map(async (seedId) => {
        const [first] = await run({ everyS: 60, jitterS: 30 }, MINUTE, { seedId });
        return (first?.dueAtMs ?? 0) - START;
      }),
    );
    expect(delays[0]).toBe(delays[4]);
    expect(new Set(delays).size).toBe(4);
    for (const delay of delays) {
      expect(delay).toBeGreaterThanOrEqual(0);
      expect(delay).toBeLessThanOrEqual(30_000);
    }
  });

  it('delays cron slots too', async () => {
    const [first] = await run({ cron: '*/5 * * * *', timezone: 'UTC', jitterS: 120 }, 10 * MINUTE);
    const delay = (first?.dueAtMs ?? 0) - Date.parse('2026-05-01T12:00:00Z');
    expect(delay % (5 * MINUTE)).toBeGreaterThan(0);
    expect(delay % (5 * MINUTE)).toBeLessThanOrEqual(120_000);
  });
});

describe('createSchedule with cron', () => {
  const everyMinute = { cron: '* * * * *', timezone: 'UTC' };

  it('runs at the start of each minute', async () => {
    const slots = await run(everyMinute, 3 * MINUTE);
    expect(ranAt(slots)).toEqual(['12:01:00', '12:02:00', '12:03:00']);
    for (const slot of slots) expect(slot.wallMs - slot.dueAtMs).toBeLessThan(50);
  });

  it('reports each slot that comes due during work as overlap', async () => {
    const slots = await run(everyMinute, 6 * MINUTE, { workMs: (index) => (index === 0 ? 150_000 : 0) });
    expect(ranAt(slots)).toEqual(['12:01:00', '12:04:00', '12:05:00', '12:06:00']);
    expect(skippedIn(slots)).toEqual([
      ['overlap', '12:02:00', 1],
      ['overlap', '12:03:00', 1],
    ]);
  });

  it.each([
    ['30 days', 30 * DAY],
    ['400 days', 400 * DAY],
    ['56 years (a board without a clock battery)', 56 * 365 * DAY],
  ])('reports a step forward by %s as one slot, without delay', async (_name, byMs) => {
    const started = performance.now();
    const slots = await run(everyMinute, 5 * MINUTE, { steps: [{ atMonoMs: 100_000, byMs }] });
    expect(performance.now() - started).toBeLessThan(12_000);
    const skipped = slots.filter((slot) => slot.skipped !== null);
    expect(skipped.map((slot) => slot.skipped)).toEqual(['clock_step']);
    // The minute after the step runs as well.
    expect(ranAt(slots)).toHaveLength(6);
  });

  it('reports a lost slot when a long step may have passed over a rare pattern', async () => {
    const slots = await run({ cron: '0 0 1 1 *', timezone: 'UTC' }, 5 * MINUTE, {
      steps: [{ atMonoMs: 100_000, byMs: 400 * DAY }],
    });
    expect(slots.map((slot) => slot.skipped)).toEqual(['clock_step']);
  });

  it('reports nothing for a step forward over no slot', async () => {
    const slots = await run({ cron: '0 6 * * *', timezone: 'UTC' }, 5 * MINUTE, {
      steps: [{ atMonoMs: 100_000, byMs: 3 * HOUR }],
    });
    expect(slots).toEqual([]);
  });

  it('continues at the new time after a step back', async () => {
    const slots = await run(everyMinute, 5 * MINUTE, { steps: [{ atMonoMs: 100_000, byMs: -2 * HOUR }] });
    expect(ranAt(slots)).toEqual(['12:01:00', '12:02:00', '10:03:00', '10:04:00', '10:05:00']);
    expect(skippedIn(slots)).toEqual([]);
  });

  it('runs no minute twice after a small step back', async () => {
    const slots = await run(everyMinute, 4 * MINUTE, { steps: [{ atMonoMs: 35_000, byMs: -20_000 }] });
    expect(ranAt(slots)).toEqual(['12:01:00', '12:02:00', '12:03:00', '12:04:00']);
  });

  it('continues after a step back during work', async () => {
    const slots = await run(everyMinute, 5 * MINUTE, {
      steps: [{ atMonoMs: 35_000, byMs: -DAY }],
      workMs: (index) => (index === 0 ? 10_000 : 0),
    });
    expect(ranAt(slots)).toEqual(['12:01:00', '12:02:00', '12:03:00', '12:04:00', '12:05:00']);
  });

  it('runs 01:30 once in the autumn night in Lisbon, and each hour of it for an every-hour pattern', async () => {
    const startMs = Date.parse('2026-10-24T22:30:00Z');
    const once = await run({ cron: '30 1 * * *', timezone: 'Europe/Lisbon' }, 6 * HOUR, { startMs });
    expect(ranAt(once)).toEqual(['00:30:00']);
    const hourly = await run({ cron: '0 * * * *', timezone: 'Europe/Lisbon' }, 6 * HOUR, { startMs });
    expect(ranAt(hourly)).toEqual(['23:00:00', '00:00:00', '01:00:00', '02:00:00', '03:00:00', '04:00:00']);
  });

  it('reports the next run, also before the first slot', async () => {
    const clock = new FakeClock(START);
    const schedule = createSchedule({ schedule: everyMinute, location: null, seedId: 'a' }, { clock });
    expect(iso(schedule.nextRunAtMs() ?? 0)).toBe('12:01:00');
    await slotsOf(schedule, clock, 90_000);
    expect((schedule.nextRunAtMs() ?? 0) - clock.nowMs()).toBeLessThanOrEqual(MINUTE);
  });
});

describe('Schedule.description', () => {
  it('is readable text', () => {
    const clock = new FakeClock(START);
    const text = (schedule: ScheduleSettings): string =>
      createSchedule({ schedule, location: { lat: 0, lon: 0 }, seedId: 'a' }, { clock }).description;
    expect(text({ everyS: 60, sun: { from: 'dawn', to: 'dusk' } })).toBe('every 60 s, dawn to dusk');
    expect(text({ cron: '*/10 * * * *', timezone: 'Europe/Lisbon' })).toBe(
      'cron */10 * * * *, Europe/Lisbon',
    );
  });
});
