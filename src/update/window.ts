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

/** Length of the window, minutes. */
export function windowMinutes({ from, to }: UpdateWindow): number {
  const minutes = (minuteOfDay(to) - minuteOfDay(from) + 1440) % 1440;
  return minutes === 0 ? 1440 : minutes;
}

function minuteOfDay(text: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number);
  return hours * 60 + minutes;
}
