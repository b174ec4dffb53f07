import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cronTimes } from '../../src/schedule/cron-times.ts';
import { createSchedule } from '../../src/schedule/schedule.ts';
import { FakeClock } from '../fixtures/fake-clock.ts';
import { slotsOf } from '../fixtures/schedule-slots.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const zone = fc.constantFrom(
  'UTC',
  'Europe/Lisbon',
  'Australia/Lord_Howe',
  'America/St_Johns',
  'Asia/Kathmandu',
  'Pacific/Chatham',
  'America/New_York',
  'Africa/Casablanca',
);
const start = fc.integer({ min: Date.parse('2024-01-01'), max: Date.parse('2027-12-31') });
const field = (max: number) =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant('*') },
    fc
      .uniqueArray(fc.integer({ min: 0, max }), { minLength: 1, maxLength: 5 })
      .map((values) => values.join(',')),
    fc.integer({ min: 1, max: 20 }).map((step) => `*/${String(step)}`),
  );
const pattern = fc.tuple(field(59), field(23)).map(([minute, hour]) => `${minute} ${hour} * * *`);

/** The local time of each minute, computed with Intl only. */
function localMinutes(
  timezone: string,
  fromMs: number,
  toMs: number,
): { atMs: number; hour: number; minute: number; key: string }[] {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone: timezone,
    dateStyle: 'short',
    timeStyle: 'short',
    hourCycle: 'h23',
  });
  const minutes = [];
  for (let atMs = Math.ceil(fromMs / MINUTE) * MINUTE; atMs <= toMs; atMs += MINUTE) {
    const key = format.format(atMs);
    const [hour = 0, minute = 0] = key.slice(-5).split(':').map(Number);
    minutes.push({ atMs, hour, minute, key });
  }
  return minutes;
}

const matches = (text: string, value: number): boolean =>
  text === '*' ||
  (text.startsWith('*/') ? value % Number(text.slice(2)) === 0 : text.split(',').map(Number).includes(value));

describe('cronTimes', () => {
  // Random dates rarely hit a day on which a zone changes its offset, so these days are listed.
  const changes = fc
    .constantFrom(
      ['Europe/Lisbon', '2026-03-29T01:00Z'],
      ['Europe/Lisbon', '2026-10-25T01:00Z'],
      ['Australia/Lord_Howe', '2026-04-04T15:00Z'],
      ['Australia/Lord_Howe', '2026-10-03T15:30Z'],
      ['America/New_York', '2026-03-08T07:00Z'],
      ['America/New_York', '2026-11-01T06:00Z'],
      ['Pacific/Chatham', '2026-04-04T14:00Z'],
      ['Africa/Casablanca', '2026-02-15T02:00Z'],
    )
    .map(([name = '', at = '']): [string, number] => [name, Date.parse(at) - 12 * HOUR]);

  it('yields each matching local time once, as a scan of all minutes does', () => {
    fc.assert(
      fc.property(fc.oneof(changes, fc.tuple(zone, start)), pattern, ([timezone, fromMs], cron) => {
        const toMs = fromMs + DAY;
        const [minuteField = '', hourField = ''] = cron.split(' ');
        const everyHour = hourField === '*' || hourField === '*/1';
        const fires = (hour: number, minute: number): boolean =>
          matches(hourField, hour) && matches(minuteField, minute);
        const seen = new Set<string>();
        const expected: number[] = [];
        let before: { hour: number; minute: number } | null = null;
        for (const { atMs, hour, minute, key } of localMinutes(timezone, fromMs - DAY / 2, toMs)) {
          const again = seen.has(key);
          seen.add(key);
          let due = fires(hour, minute) && (everyHour || !again);
          // Minutes that the local clock skips.
          const jump =
            before === null ? 0 : (hour * 60 + minute - before.hour * 60 - before.minute + 1440) % 1440;
          if (before && !everyHour && jump > 1 && jump < 180)
            for (let skipped = 1; skipped < jump; skipped += 1) {
              const total = (before.hour * 60 + before.minute + skipped) % 1440;
              due ||= fires(Math.floor(total / 60), total % 60);
            }
          before = { hour, minute };
          if (due && atMs > fromMs && atMs <= toMs) expected.push(atMs);
        }
        expect([...cronTimes(cron, timezone)(fromMs, toMs)]).toEqual(expected);
      }),
      { numRuns: 70 },
    );
  });

  it('does not depend on where the range starts or is divided', () => {
    fc.assert(
      fc.property(zone, start, pattern, fc.integer({ min: 0, max: DAY }), (timezone, fromMs, cron, cutMs) => {
        const times = cronTimes(cron, timezone);
        const whole = [...times(fromMs, fromMs + DAY)];
        expect([...times(fromMs, fromMs + cutMs), ...times(fromMs + cutMs, fromMs + DAY)]).toEqual(whole);
      }),
      { numRuns: 30 },
    );
  });
});

describe('createSchedule', () => {
  const work = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20 * MINUTE })), {
    minLength: 1,
    maxLength: 8,
  });
  const steps = fc.array(
    fc.record({
      atMonoMs: fc.integer({ min: 1, max: 3 * HOUR }),
      byMs: fc.integer({ min: -400 * DAY, max: 400 * DAY }),
    }),
    { maxLength: 4 },
  );

  it('keeps the grid of an interval and reports every lost slot, for any work time and any step of the wall clock', async () => {
    await fc.assert(
      fc.asyncProperty(
        start,
        fc.integer({ min: 1, max: 900 }),
        work,
        steps,
        async (startMs, everyS, works, clockSteps) => {
          const clock = new FakeClock(startMs, clockSteps);
          const schedule = createSchedule({ schedule: { everyS }, location: null, seedId: 'a' }, { clock });
          const slots = await slotsOf(schedule, clock, 3 * HOUR, (index) => works[index % works.length] ?? 0);
          const periodMs = everyS * 1000;
          let lastRun = -periodMs;
          let lost = 0;
          for (const slot of slots) {
            if (slot.skipped !== null) {
              lost += slot.covers ?? 1;
              continue;
            }
            expect(slot.monoMs % periodMs).toBe(0);
            expect(slot.monoMs - lastRun).toBe((lost + 1) * periodMs);
            lastRun = slot.monoMs;
            lost = 0;
          }
          expect(slots.length).toBeGreaterThan(0);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('yields each time of a cron pattern once, in order, run or skipped, without a clock step', async () => {
    await fc.assert(
      fc.asyncProperty(start, zone, pattern, work, async (startMs, timezone, cron, works) => {
        const clock = new FakeClock(startMs);
        const schedule = createSchedule(
          { schedule: { cron, timezone }, location: null, seedId: 'a' },
          { clock },
        );
        const slots = await slotsOf(schedule, clock, 6 * HOUR, (index) => works[index % works.length] ?? 0);
        const endMs = slots.at(-1)?.dueAtMs ?? startMs;
        const reported = slots.reduce((sum, slot) => sum + (slot.covers ?? 1), 0);
        const times = [...cronTimes(cron, timezone)(startMs, endMs)];
        expect(reported).toBe(times.length);
        expect(times).toEqual(expect.arrayContaining(slots.map((slot) => slot.dueAtMs)));
        const due = slots.map((slot) => slot.dueAtMs);
        expect(due).toEqual([...new Set(due)].sort((a, b) => a - b));
        for (const slot of slots)
          if (slot.skipped === null) expect(slot.wallMs).toBeGreaterThanOrEqual(slot.dueAtMs);
      }),
      { numRuns: 20 },
    );
  });

  it('continues a cron pattern through clock steps, runs no minute twice without a step, and reports a lost slot', async () => {
    await fc.assert(
      fc.asyncProperty(start, steps, async (startMs, clockSteps) => {
        const clock = new FakeClock(startMs, clockSteps);
        const schedule = createSchedule(
          { schedule: { cron: '* * * * *', timezone: 'UTC' }, location: null, seedId: 'a' },
          { clock },
        );
        const slots = await slotsOf(schedule, clock, 4 * HOUR);
        let lastMonoMs = 0;
        for (const slot of slots) {
          expect(slot.monoMs - lastMonoMs).toBeLessThanOrEqual(2 * MINUTE + 20_000);
          lastMonoMs = slot.monoMs;
        }
        const runs = slots.filter((slot) => slot.skipped === null);
        runs.forEach((slot, index) => {
          const former = runs[index - 1];
          if (!former) return;
          const stepped = clockSteps.some(
            (step) => step.atMonoMs > former.monoMs - 1 && step.atMonoMs <= slot.monoMs,
          );
          if (!stepped) expect(slot.dueAtMs - former.dueAtMs).toBe(MINUTE);
        });
        const stepSlots = slots.filter((slot) => slot.skipped === 'clock_step').length;
        expect(stepSlots).toBeLessThanOrEqual(clockSteps.length);
        const [only] = clockSteps;
        if (clockSteps.length === 1 && only && only.byMs > 3 * MINUTE) expect(stepSlots).toBe(1);
      }),
      { numRuns: 30 },
    );
  });
});
