import { createRequire } from 'node:module';
import type * as NodeCron from 'node-cron';

// Loaded on demand: an agent on intervals alone saves the memory.
const nodeCron = (): typeof NodeCron => createRequire(import.meta.url)('node-cron') as typeof NodeCron;

/** What is wrong with a cron pattern, as "wanted …"; null when it can be used. */
export function cronFault(pattern: string): string | null {
  if (pattern.trim().split(/\s+/).length !== 5) return 'five fields: minute hour day month weekday';
  try {
    const { valid, errors } = nodeCron().validateDetailed(pattern);
    return valid ? null : `a cron pattern (${errors.map(({ message }) => message).join('; ')})`;
  } catch (error) {
    return `a cron pattern (${error instanceof Error ? error.message : String(error)})`;
  }
}

export interface CronPattern {
  /** True when the hour field names every hour: such a pattern counts time, it does not name one. */
  readonly everyHour: boolean;
  /** The minutes of the hour at which it may fire, ascending. */
  readonly minutes: readonly number[];
  /** Does it fire in the hour that holds this local time? Local times are given as if they were UTC, ms. */
  matchesHour(localMs: number): boolean;
}

/** Parses a pattern that `cronFault` found good. Day of month and weekday must both match. */
export function parseCron(pattern: string): CronPattern {
  const { valid, fields } = nodeCron().validateDetailed(pattern);
  if (!valid || !fields) throw new RangeError(`not a cron pattern: ${pattern}`);
  const [, ...rest] = pattern.trim().split(/\s+/);
  // Only the matcher is used: the task is never started, and leaves node-cron's list of tasks at once.
  const task = nodeCron().createTask(`* ${rest.join(' ')}`, () => undefined, { timezone: 'UTC' });
  void task.destroy();
  return {
    everyHour: new Set(fields.hour).size === 24,
    minutes: ascending(fields),
    matchesHour: (localMs) => task.match(new Date(Math.floor(localMs / 60_000) * 60_000)),
  };
}

const ascending = (fields: NodeCron.ParsedFields): number[] =>
  [...new Set(fields.minute)].sort((a, b) => a - b);
