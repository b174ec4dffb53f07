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
    return valid ? null : `a cron pattern (${errors.map(({ message }) => message).join('; ')})`;
  } catch (error) {
    return `a cron pattern (${error instanceof Error ? error.message : String(error)})`;
  }
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
