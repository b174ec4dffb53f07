import { createHash } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { ScheduleSettings } from '../config/schema.ts';
import type { CaptureSlowdown } from '../health/types.ts';
import { cronTimes, type CronTimes } from './cron-times.ts';
import { CronSchedule } from './cron.ts';
import { IntervalSchedule } from './interval.ts';
import { sunWindow, type Location, type SunWindow } from './sun.ts';
import { ThinnedSchedule } from './thinned.ts';
import type { Schedule } from './types.ts';
import { systemTimeZone } from '../base/time-zone.ts';

export interface ScheduleOptions {
  /** Already validated: cron or everyS, a known zone, sun only with a location. */
  readonly schedule: ScheduleSettings;
  readonly location: Location | null;
  /** Device and camera. The same seed always gets the same delay in 0..jitterS. */
  readonly seedId: string;
}

const DEFAULT_EVERY_S = 60;

export interface ScheduleDeps {
  readonly clock: Clock;
  /** Slots of an interval are left out by this. Slots of a cron pattern never are: an operator chose their times. */
  readonly slowdown?: () => CaptureSlowdown;
}

/** The schedule of one camera. Throws a RangeError for an invalid cron pattern or time zone. */
export function createSchedule(options: ScheduleOptions, deps: ScheduleDeps): Schedule {
  const { schedule, location, seedId } = options;
  const offsetMs = jitterMs(seedId, schedule.jitterS);
  const window = schedule.sun && location ? sunWindow(schedule.sun, location) : null;
  const description = describeSchedule(schedule);
  if (schedule.cron === undefined) {
    const periodMs = (schedule.everyS ?? DEFAULT_EVERY_S) * 1000;
    const interval = new IntervalSchedule({ periodMs, offsetMs, window, description }, deps);
    return deps.slowdown ? new ThinnedSchedule({ schedule: interval, slowdown: deps.slowdown }) : interval;
  }
  const times = cronTimes(schedule.cron, schedule.timezone ?? systemTimeZone());
  return new CronSchedule({ times: restrictTimes(times, offsetMs, window), description }, deps);
}

/** Wall clocks of the next slots after now, ms since 1970, ascending: at most `count`, fewer when none is due for days. */
export function nextSlotsMs(
  options: ScheduleOptions,
  { clock, count }: { readonly clock: Clock; readonly count: number },
): readonly number[] {
  const { cron, everyS = DEFAULT_EVERY_S, jitterS } = options.schedule;
  const offsetMs = jitterMs(options.seedId, jitterS);
  const found: number[] = [];
  let atMs = clock.nowMs();
  while (found.length < count) {
    const moment: Clock = {
      nowMs: () => atMs,
      monoMs: () => 0,
      sleep: (ms, signal) => clock.sleep(ms, signal),
    };
    const nextMs = createSchedule(options, { clock: moment }).nextRunAtMs();
    if (nextMs === null) break;
    found.push(nextMs);
    atMs = cron === undefined ? nextMs - offsetMs + everyS * 1000 : nextMs;
  }
  return found;
}

function restrictTimes(times: CronTimes, offsetMs: number, window: SunWindow | null): CronTimes {
  return function* between(afterMs, untilMs) {
    for (const atMs of times(afterMs - offsetMs, untilMs - offsetMs))
      if (window === null || window(atMs + offsetMs)) yield atMs + offsetMs;
    return undefined;
  };
}

const jitterMs = (seedId: string, jitterS = 0): number => Math.round(hashToUnit(seedId) * jitterS * 1000);

/** A number in [0, 1) that depends on the text only. */
function hashToUnit(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE(0) / 2 ** 32;
}

/** The schedule as text, such as `every 60 s, dawn to dusk`. */
export function describeSchedule({ cron, everyS, timezone, sun, jitterS }: ScheduleSettings): string {
  const parts = [cron === undefined ? `every ${String(everyS ?? DEFAULT_EVERY_S)} s` : `cron ${cron}`];
  if (cron !== undefined && timezone !== undefined) parts.push(timezone);
  if (sun) parts.push(`${sun.from} to ${sun.to}`);
  if (jitterS !== undefined && jitterS > 0) parts.push(`up to ${String(jitterS)} s later`);
  return parts.join(', ');
}
