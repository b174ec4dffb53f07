import type { LabelledBurst } from './types.ts';

const HOUR_MS = 3_600_000;
/** Times before this come from a clock that was never set, or from a list of files. */
const MIN_TIME_MS = Date.UTC(2000, 0, 1);

/**
 * The session of each label, by the id of its observation. Two labels of one camera belong to one session if their images
 * were taken less than `sessionHours` apart, also through labels between them. A label with a group of its own choice (a
 * clip of a file, the simulation) belongs to this group, whatever its time is.
 */
export function assignSessions(
  bursts: readonly LabelledBurst[],
  sessionHours: number,
): ReadonlyMap<string, string> {
  const sessionOf = new Map<string, string>();
  let session = '';
  let lastMs = -Infinity;
  for (const { label, timeMs } of bursts
    .filter(({ label }) => label.group === label.observationId)
    .map((burst) => ({ label: burst.label, timeMs: timeOf(burst) }))
    .sort((a, b) => a.timeMs - b.timeMs || (a.label.observationId < b.label.observationId ? -1 : 1))) {
    if (timeMs - lastMs >= sessionHours * HOUR_MS) session = label.observationId;
    sessionOf.set(label.observationId, session);
    lastMs = timeMs;
  }
  return new Map(bursts.map(({ label }) => [label.observationId, sessionOf.get(label.group) ?? label.group]));
}

/**
 * When the image was taken. If the clock was wrong then (before 2000, or later than the reading), the time of the reading:
 * people read an image soon after it was taken.
 */
function timeOf({ label, capturedAtMs }: LabelledBurst): number {
  const isPlausible =
    capturedAtMs !== null && capturedAtMs >= MIN_TIME_MS && capturedAtMs <= label.createdAtMs;
  return isPlausible ? capturedAtMs : label.createdAtMs;
}
