import { realpathSync } from 'node:fs';

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

/**
 * The IANA zone that a value of the environment variable `TZ` names; null for one that Node.js cannot use, which it treats
 * as UTC. Accepts a leading colon and paths into the zone database. Source: POSIX, "TZ"; tzset(3).
 */
export function zoneOfVariable(value: string): string | null {
  let name = value.replace(/^:/, '');
  if (name.startsWith('/')) {
    try {
      name = realpathSync(name);
    } catch {
      // The path may still end with the name of a zone.
    }
    name = name.replace(/^.*\/zoneinfo\/((posix|right)\/)?/, '');
  }
  return isTimeZone(name) ? name : null;
}

/** The zone of the machine: `TZ`, else the setting of the system; UTC when neither can be used. */
export function systemTimeZone(): string {
  const variable = process.env['TZ'] ?? '';
  const zone = variable === '' ? null : zoneOfVariable(variable);
  const known = zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  // With a TZ that it cannot use, Node gives no zone, although the types say that it does.
  return (known as string | undefined) !== undefined && known !== 'Etc/Unknown' && isTimeZone(known)
    ? known
    : 'UTC';
}

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

/** An instant as local time in a zone, such as `2026-11-30 07:05 Europe/Lisbon`. */
export function formatLocalTime(atMs: number, timezone: string): string {
  // Sweden writes dates in the order of ISO 8601.
  const time = new Date(atMs).toLocaleString('sv-SE', {
    timeZone: timezone,
    dateStyle: 'short',
    // Without seconds where there are none: slots of less than a minute would look equal.
    timeStyle: atMs % 60_000 === 0 ? 'short' : 'medium',
  });
  return `${time} ${timezone}`;
}
