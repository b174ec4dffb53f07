const DAY_MS = 86_400_000;

/** How far the local time of a zone is ahead of UTC at a moment, ms. An unknown zone counts as UTC. */
function offsetMs(atMs: number, timeZone: string): number {
  const parts = partsAt(atMs, timeZone);
  if (parts === null) return 0;
  const part = (type: string): number => Number(parts.find((one) => one.type === type)?.value);
  const localMs = Date.UTC(
    ...([part('year'), part('month') - 1, part('day')] as const),
    ...([part('hour'), part('minute'), part('second')] as const),
  );
  return localMs - Math.floor(atMs / 1000) * 1000;
}

function partsAt(atMs: number, timeZone: string): readonly Intl.DateTimeFormatPart[] | null {
  try {
    return new Intl.DateTimeFormat('en-US', {
      ...{ timeZone, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric' },
      ...{ hour: 'numeric', minute: 'numeric', second: 'numeric' },
    }).formatToParts(atMs);
  } catch {
    return null;
  }
}

/** The begin of the local day that contains a moment, ms. */
export function dayStartMs(atMs: number, timeZone: string): number {
  const nowOffsetMs = offsetMs(atMs, timeZone);
  const midnightMs = Math.floor((atMs + nowOffsetMs) / DAY_MS) * DAY_MS;
  // At midnight the offset may have been another one.
  return midnightMs - offsetMs(midnightMs - nowOffsetMs, timeZone);
}

/** The end of the local day that contains a moment, ms. */
export const dayEndMs = (atMs: number, timeZone: string): number =>
  // A day has 23 to 25 hours.
  dayStartMs(dayStartMs(atMs, timeZone) + 1.5 * DAY_MS, timeZone);

/** The begins of the last local days, the present one first. */
export function lastDays(nowMs: number, timeZone: string, count: number): readonly number[] {
  const days = [dayStartMs(nowMs, timeZone)];
  while (days.length < count) days.push(dayStartMs((days.at(-1) ?? nowMs) - DAY_MS / 2, timeZone));
  return days;
}

/** The time in an id of version 7, ms; null in other ids. */
export const idTimeMs = (id: string): number | null =>
  id[14] === '7' ? parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : null;
