import { describe, expect, it } from 'vitest';
import type { ScheduleSettings } from '../../../src/config/schema.ts';
import { createSchedule } from '../../../src/schedule/schedule.ts';
import { FakeClock, type ClockStep } from '../../fixtures/fake-clock.ts';
import { slotsOf, type SeenSlot } from '../../fixtures/slots.ts';

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
const ran = (slots: readonly SeenSlot[]): string[] =>
  slots.filter((slot) => slot.skipped === null).map((slot) => iso(slot.dueAtMs));
const lost = (slots: readonly SeenSlot[]): [string | null, string, number][] =>
  slots
    .filter((slot) => slot.skipped !== null)
    .map((slot) => [slot.skipped, iso(slot.dueAtMs), slot.covers ?? 1]);

describe('intervals', () => {
  it('begin at once and keep their distance', async () => {
    expect(ran(await run({ everyS: 10 }, 30_000))).toEqual(['12:00:30', '12:00:40', '12:00:50', '12:01:00']);
  });

  it('tell each slot that came due during work as overlap, and keep the grid', async () => {
    const slots = await run({ everyS: 10 }, 50_000, { workMs: (index) => (index === 0 ? 25_000 : 0) });
    expect(ran(slots)).toEqual(['12:00:30', '12:01:00', '12:01:10', '12:01:20']);
    expect(lost(slots)).toEqual([
      ['overlap', '12:00:40', 1],
      ['overlap', '12:00:50', 1],
    ]);
  });

  it('do not care about steps of the wall clock', async () => {
    const slots = await run({ everyS: 10 }, 60_000, {
      steps: [
        { atMonoMs: 15_000, byMs: 400 * DAY },
        { atMonoMs: 35_000, byMs: -900 * DAY },
      ],
    });
    expect(slots.map((slot) => slot.monoMs)).toEqual([0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
    expect(lost(slots)).toEqual([]);
  });

  it('tell a day of stall in twenty records that add up', async () => {
    const slots = await run({ everyS: 1 }, DAY + 5000, { workMs: (index) => (index === 0 ? DAY : 0) });
    const skipped = lost(slots);
    expect(skipped).toHaveLength(20);
    expect(skipped.reduce((sum, [, , covers]) => sum + covers, 0)).toBe(86_399);
  });

  it('tell slots as late when the process itself was stopped', async () => {
    const clock = new FakeClock(START);
    const schedule = createSchedule({ schedule: { everyS: 10 }, location: null, seedId: 'a' }, { clock });
    const sleep = clock.sleep.bind(clock);
    let stalled = false;
    clock.sleep = async (ms, signal) => {
      await sleep(ms, signal);
      if (clock.monoMs() >= 20_000 && !stalled) {
        stalled = true;
        clock.pass(27_000);
      }
    };
    const slots = await slotsOf(schedule, clock, 60_000);
    expect(lost(slots)).toEqual([
      ['late', '12:00:50', 1],
      ['late', '12:01:00', 1],
      ['late', '12:01:10', 1],
    ]);
    expect(ran(slots)).toEqual(['12:00:30', '12:00:40', '12:01:20', '12:01:30']);
  });

  it('run only while the sun window is open, and say when it opens', async () => {
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
    expect(lost(slots)).toEqual([]);
  });

  it('have no next run in the polar night', () => {
    const clock = new FakeClock(Date.parse('2026-12-21T12:00:00Z'));
    const options = { location: { lat: 78.2, lon: 15.6 }, seedId: 'a' };
    const sun = { from: 'dawn', to: 'dusk' } as const;
    expect(createSchedule({ ...options, schedule: { everyS: 1, sun } }, { clock }).nextRunAtMs()).toBeNull();
    expect(
      createSchedule({ ...options, schedule: { cron: '* * * * *', sun } }, { clock }).nextRunAtMs(),
    ).toBeNull();
  });
});

describe('jitter', () => {
  it('is stable for a device and camera, differs between them, and stays in its range', async () => {
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

  it('shifts cron slots too', async () => {
    const [first] = await run({ cron: '*/5 * * * *', timezone: 'UTC', jitterS: 120 }, 10 * MINUTE);
    const delay = (first?.dueAtMs ?? 0) - Date.parse('2026-05-01T12:00:00Z');
    expect(delay % (5 * MINUTE)).toBeGreaterThan(0);
    expect(delay % (5 * MINUTE)).toBeLessThanOrEqual(120_000);
  });
});

describe('cron', () => {
  const everyMinute = { cron: '* * * * *', timezone: 'UTC' };

  it('fires at the minutes, close to their beginning', async () => {
    const slots = await run(everyMinute, 3 * MINUTE);
    expect(ran(slots)).toEqual(['12:01:00', '12:02:00', '12:03:00']);
    for (const slot of slots) expect(slot.wallMs - slot.dueAtMs).toBeLessThan(50);
  });

  it('tells overlaps', async () => {
    const slots = await run(everyMinute, 6 * MINUTE, { workMs: (index) => (index === 0 ? 150_000 : 0) });
    expect(ran(slots)).toEqual(['12:01:00', '12:04:00', '12:05:00', '12:06:00']);
    expect(lost(slots)).toEqual([
      ['overlap', '12:02:00', 1],
      ['overlap', '12:03:00', 1],
    ]);
  });

  it.each([
    ['30 days', 30 * DAY],
    ['400 days', 400 * DAY],
    ['56 years, a board without a battery', 56 * 365 * DAY],
  ])('a step forward by %s is one record, told at once', async (_name, byMs) => {
    const started = performance.now();
    const slots = await run(everyMinute, 5 * MINUTE, { steps: [{ atMonoMs: 100_000, byMs }] });
    expect(performance.now() - started).toBeLessThan(12_000);
    const skipped = slots.filter((slot) => slot.skipped !== null);
    expect(skipped.map((slot) => slot.skipped)).toEqual(['clock_step']);
    // The minute that the clock landed in is served as well.
    expect(ran(slots)).toHaveLength(6);
  });

  it('a rare pattern that a long step may have passed is not lost in silence', async () => {
    const slots = await run({ cron: '0 0 1 1 *', timezone: 'UTC' }, 5 * MINUTE, {
      steps: [{ atMonoMs: 100_000, byMs: 400 * DAY }],
    });
    expect(slots.map((slot) => slot.skipped)).toEqual(['clock_step']);
  });

  it('a step forward over no slot tells nothing', async () => {
    const slots = await run({ cron: '0 6 * * *', timezone: 'UTC' }, 5 * MINUTE, {
      steps: [{ atMonoMs: 100_000, byMs: 3 * HOUR }],
    });
    expect(slots).toEqual([]);
  });

  it('goes on after a step back, at the new time', async () => {
    const slots = await run(everyMinute, 5 * MINUTE, { steps: [{ atMonoMs: 100_000, byMs: -2 * HOUR }] });
    expect(ran(slots)).toEqual(['12:01:00', '12:02:00', '10:03:00', '10:04:00', '10:05:00']);
    expect(lost(slots)).toEqual([]);
  });

  it('serves no minute twice after a small step back', async () => {
    const slots = await run(everyMinute, 4 * MINUTE, { steps: [{ atMonoMs: 35_000, byMs: -20_000 }] });
    expect(ran(slots)).toEqual(['12:01:00', '12:02:00', '12:03:00', '12:04:00']);
  });

  it('survives a step back during work', async () => {
    const slots = await run(everyMinute, 5 * MINUTE, {
      steps: [{ atMonoMs: 35_000, byMs: -DAY }],
      workMs: (index) => (index === 0 ? 10_000 : 0),
    });
    expect(ran(slots)).toEqual(['12:01:00', '12:02:00', '12:03:00', '12:04:00', '12:05:00']);
  });

  it('runs 30 01 once in the autumn night in Lisbon, and each hour of it for an every-hour pattern', async () => {
    const startMs = Date.parse('2026-10-24T22:30:00Z');
    const once = await run({ cron: '30 1 * * *', timezone: 'Europe/Lisbon' }, 6 * HOUR, { startMs });
    expect(ran(once)).toEqual(['00:30:00']);
    const hourly = await run({ cron: '0 * * * *', timezone: 'Europe/Lisbon' }, 6 * HOUR, { startMs });
    expect(ran(hourly)).toEqual(['23:00:00', '00:00:00', '01:00:00', '02:00:00', '03:00:00', '04:00:00']);
  });

  it('says when it runs next, also before it was started', async () => {
    const clock = new FakeClock(START);
    const schedule = createSchedule({ schedule: everyMinute, location: null, seedId: 'a' }, { clock });
    expect(iso(schedule.nextRunAtMs() ?? 0)).toBe('12:01:00');
    await slotsOf(schedule, clock, 90_000);
    expect((schedule.nextRunAtMs() ?? 0) - clock.nowMs()).toBeLessThanOrEqual(MINUTE);
  });
});

describe('description', () => {
  it('reads as a sentence', () => {
    const clock = new FakeClock(START);
    const text = (schedule: ScheduleSettings): string =>
      createSchedule({ schedule, location: { lat: 0, lon: 0 }, seedId: 'a' }, { clock }).description;
    expect(text({ everyS: 60, sun: { from: 'dawn', to: 'dusk' } })).toBe('every 60 s, dawn to dusk');
    expect(text({ cron: '*/10 * * * *', timezone: 'Europe/Lisbon' })).toBe(
      'cron */10 * * * *, Europe/Lisbon',
    );
  });
});
