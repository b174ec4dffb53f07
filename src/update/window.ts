import { systemTimeZone, zoneOffset } from '../base/time-zone.ts';

export interface UpdateWindow {
  /** Local time, `HH:MM`. */
  readonly from: string;
  readonly to: string;
}

/**
 * True when the local time is in the window, from `from` until before `to`. The window may pass midnight. With equal
 * times it is always open. `timeZone`: an IANA name; the default is the zone of this machine.
 */
export function isInWindow(nowMs: number, { from, to }: UpdateWindow, timeZone = systemTimeZone()): boolean {
  const now = Math.floor((nowMs + zoneOffset(timeZone)(nowMs)) / 60_000) % 1440;
  const start = minuteOfDay(from);
  const end = minuteOfDay(to);
  if (start === end) return true;
  return start < end ? now >= start && now < end : now >= start || now < end;
}

/**
 * When the window that is open at `nowMs` ends, ms since the epoch; null when it is closed, Infinity when it is always
 * open. The other parameters are those of `isInWindow`.
 */
export function windowEndMs(nowMs: number, window: UpdateWindow, timeZone = systemTimeZone()): number | null {
  if (!isInWindow(nowMs, window, timeZone)) return null;
  const end = minuteOfDay(window.to);
  if (minuteOfDay(window.from) === end) return Infinity;
  const offset = zoneOffset(timeZone);
  const localMs = nowMs + offset(nowMs);
  const minutes = (end - (Math.floor(localMs / 60_000) % 1440) + 1440) % 1440;
  const endMs = nowMs - (localMs % 60_000) + minutes * 60_000;
  // Daylight saving time may begin or end in the window.
  return endMs + offset(nowMs) - offset(endMs);
}

/** Length of the window, minutes. */
export function windowMinutes({ from, to }: UpdateWindow): number {
  const minutes = (minuteOfDay(to) - minuteOfDay(from) + 1440) % 1440;
  return minutes === 0 ? 1440 : minutes;
}

function minuteOfDay(text: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number);
  return hours * 60 + minutes;
}
