import { createRequire } from 'node:module';
import type * as NodeCron from 'node-cron';

const MINUTE_MS = 60_000;

// Loaded on demand: an agent that uses intervals only saves the memory.
const nodeCron = (): typeof NodeCron => createRequire(import.meta.url)('node-cron') as typeof NodeCron;

/** For an invalid cron pattern: what a valid pattern looks like, as text after the word "wanted". Null for a valid one. */
export function checkCronPattern(pattern: string): string | null {
  if (pattern.trim().split(/\s+/).length !== 5) return 'five fields: minute hour day month weekday';
  try {
    const { valid, errors } = nodeCron().validateDetailed(pattern);
    return valid
      ? describeLongStep(pattern)
      : `a cron pattern (${errors.map(({ message }) => message).join('; ')})`;
  } catch (error) {
    return `a cron pattern (${error instanceof Error ? error.message : String(error)})`;
  }
}

/** Longest interval of a schedule, s. */
export const MAX_EVERY_S = 86_400;

/** The fields of a pattern: how many values each has, and how long one of them lasts, s; null where that varies. */
const FIELDS = [
  { name: 'minute', first: 0, last: 59, unitS: 60 },
  { name: 'hour', first: 0, last: 23, unitS: 3600 },
  { name: 'day', first: 1, last: 31, unitS: 86_400 },
  { name: 'month', first: 1, last: 12, unitS: null },
  { name: 'weekday', first: 0, last: 6, unitS: null },
] as const;

/** A step above the size of its range matches only the first value of the range: not what it says. */
function describeLongStep(pattern: string): string | null {
  for (const [index, text] of pattern.trim().split(/\s+/).entries()) {
    const field = FIELDS[index];
    for (const part of text.split(',')) {
      // Ranges of names, such as MON-FRI, are not checked.
      const [, from, to, step] = /^(?:\*|(\d+)-(\d+))\/(\d+)$/.exec(part) ?? [];
      if (field === undefined || step === undefined) continue;
      const first = Number(from ?? field.first);
      const count = Number(to ?? field.last) - first + 1;
      if (Number(step) <= count) continue;
      const isFull = count === field.last - field.first + 1;
      const intervalS = isFull && field.unitS !== null ? Number(step) * field.unitS : Infinity;
      const remedy =
        intervalS <= MAX_EVERY_S
          ? `everyS: ${String(intervalS)} instead of cron, for a run every ${step} ${field.name}s`
          : `${String(first)}, or a step of at most ${String(count)}`;
      return `${remedy} (${part} in the field ${field.name} matches only ${String(first)})`;
    }
  }
  return null;
}

export interface CronPattern {
  /** True when the hour field matches all 24 hours. */
  readonly everyHour: boolean;
  /** Matching minutes of an hour, ascending. */
  readonly minutes: readonly number[];
  /** True when the pattern matches the hour of this local time, ms (a local time expressed as if it were UTC). */
  matchesHour(localMs: number): boolean;
}

/** Parses a valid pattern. Day of month and weekday must both match. Throws a RangeError for an invalid one. */
export function parseCronPattern(pattern: string): CronPattern {
  const { valid, fields } = nodeCron().validateDetailed(pattern);
  if (!valid || !fields) throw new RangeError(`not a cron pattern: ${pattern}`);
  const [, ...rest] = pattern.trim().split(/\s+/);
  // Only `match` is used. The task never starts; `destroy` removes it from node-cron's list of tasks.
  const task = nodeCron().createTask(`* ${rest.join(' ')}`, () => undefined, { timezone: 'UTC' });
  void task.destroy();
  return {
    everyHour: new Set(fields.hour).size === 24,
    minutes: [...new Set(fields.minute)].sort((a, b) => a - b),
    matchesHour: (localMs) => task.match(new Date(Math.floor(localMs / MINUTE_MS) * MINUTE_MS)),
  };
}

/** Shortest time between two runs of a pattern, s; null for an invalid pattern. Does not look across days. */
export function shortestCronIntervalS(pattern: string): number | null {
  if (checkCronPattern(pattern) !== null) return null;
  const { minutes, everyHour } = parseCronPattern(pattern);
  const [first = 0] = minutes;
  // Without every hour, the hours that match may still follow each other.
  const later = [...minutes.slice(1), ...(everyHour || minutes.length === 1 ? [first + 60] : [])];
  return 60 * Math.min(...later.map((minute, index) => minute - (minutes[index] ?? 0)));
}
