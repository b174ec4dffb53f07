const offsetFormat = (timezone: string): Intl.DateTimeFormat =>
  new Intl.DateTimeFormat('en-US', {
    timeZone: timezone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });

/** True for a name of the IANA time zone database that this Node.js supports. */
export function isTimeZone(name: string): boolean {
  // Intl accepts offsets such as +01:00. They have no daylight saving, so they are rarely what the user wants.
  if (/^[+-]/.test(name)) return false;
  try {
    offsetFormat(name);
    return true;
  } catch {
    return false;
  }
}

export const systemTimeZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Local time minus UTC at an instant, ms; whole minutes for every zone since 1972. */
export type ZoneOffset = (atMs: number) => number;

/** The offset function of a zone. Throws a RangeError for an unknown zone. */
export function zoneOffset(timezone: string): ZoneOffset {
  const format = offsetFormat(timezone);
  return (atMs) => {
    const part: Record<string, number> = {};
    for (const { type, value } of format.formatToParts(atMs)) part[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(atMs / 1000) * 1000;
  };
}
