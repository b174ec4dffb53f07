import type { Clock } from '../../base/clock.ts';
import type { OutboxEntry } from '../types.ts';

/** More than ten years: a row that was queued before the clock was set would look decades old. */
const IMPLAUSIBLE_MS = 3650 * 86_400_000;

/** How long a row has waited, seconds; one of an earlier run by the wall clock, as far as that can be believed. */
export function waitedS(
  { createdMonoMs, createdAtMs }: OutboxEntry,
  { ownRun, startedMonoMs }: { readonly ownRun: boolean; readonly startedMonoMs: number },
  clock: Clock,
): number {
  const sinceStartMs = clock.monoMs() - startedMonoMs;
  const ageMs = ownRun ? clock.monoMs() - createdMonoMs : Math.max(clock.nowMs() - createdAtMs, sinceStartMs);
  return Math.round(Math.max(0, ageMs > IMPLAUSIBLE_MS ? sinceStartMs : ageMs)) / 1000;
}
