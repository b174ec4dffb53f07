import { parseCronPattern } from '../base/cron-pattern.ts';
import { zoneOffset } from '../base/time-zone.ts';

const MINUTE_MS = 60_000;
/** Time zones change their offset only at full quarters of an hour. */
const BLOCK_MS = 15 * MINUTE_MS;
/** Most that clocks go back at the end of daylight saving. A larger change means that a zone crossed the date line. */
const MAX_REPEAT_MS = 3 * 3_600_000;

/** The instants of a cron pattern after `afterMs` and up to `untilMs`, ascending, ms since 1970. */
export type CronTimes = (afterMs: number, untilMs: number) => Generator<number, undefined>;

/**
 * The times of a valid pattern in a time zone. Throws a RangeError for an invalid pattern or zone.
 *
 * Daylight saving as in Vixie cron: a pattern that names hours fires once for each local time that it names. A local
 * time that does not exist in spring fires at the end of the gap; one that occurs twice in autumn fires the first time. A
 * pattern for every hour fires in each hour that really passes.
 */
export function cronTimes(pattern: string, timezone: string): CronTimes {
  const cron = parseCronPattern(pattern);
  const offsetAt = zoneOffset(timezone);

  const firesIn = (fromLocalMs: number, toLocalMs: number): boolean => {
    for (let localMs = fromLocalMs; localMs < toLocalMs; localMs += MINUTE_MS)
      if (cron.minutes.includes(minuteOf(localMs)) && cron.matchesHour(localMs)) return true;
    return false;
  };
  const isRepeated = (atMs: number, offset: number): boolean => {
    const back = offsetAt(atMs - MAX_REPEAT_MS) - offset;
    return back > 0 && back <= MAX_REPEAT_MS && offsetAt(atMs - back) === offset + back;
  };

  return function* between(afterMs, untilMs) {
    const firstBlockMs = Math.floor(afterMs / BLOCK_MS) * BLOCK_MS;
    let offsetBefore = offsetAt(firstBlockMs - 1);
    for (let blockMs = firstBlockMs; blockMs <= untilMs; blockMs += BLOCK_MS) {
      const offset = offsetAt(blockMs);
      const localMs = blockMs + offset;
      const firesInGap = !cron.everyHour && offset > offsetBefore && firesIn(blockMs + offsetBefore, localMs);
      const minutes =
        cron.matchesHour(localMs) && (cron.everyHour || !isRepeated(blockMs, offset))
          ? cron.minutes
              .map((minute) => minute - minuteOf(localMs))
              .filter((minute) => minute >= 0 && minute < BLOCK_MS / MINUTE_MS)
          : [];
      if (firesInGap && minutes[0] !== 0) minutes.unshift(0);
      for (const minute of minutes) {
        const atMs = blockMs + minute * MINUTE_MS;
        if (atMs > afterMs && atMs <= untilMs) yield atMs;
      }
      offsetBefore = offset;
    }
    return undefined;
  };
}

const minuteOf = (localMs: number): number => Math.floor(localMs / MINUTE_MS) % 60;
