import type { Unit } from './units.ts';

const METRES_PER_FOOT = 0.3048;

/** `1.2 m` or `4 ft`. Feet are rounded to halves, as surfers say them. */
export function formatHeight(metres: number, unit: Unit): string {
  return `${heightNumber(metres, unit)}\u00a0${unit}`;
}

/** `0.9 to 1.4 m`. */
export function formatHeightRange(lowM: number, highM: number, unit: Unit): string {
  return `${heightNumber(lowM, unit)} to ${heightNumber(highM, unit)}\u00a0${unit}`;
}

export function heightNumber(metres: number, unit: Unit): string {
  if (unit === 'm') return metres.toFixed(1);
  const feet = Math.round((metres / METRES_PER_FOOT) * 2) / 2;
  return Number.isInteger(feet) ? String(feet) : feet.toFixed(1);
}

export const toUnit = (metres: number, unit: Unit): number =>
  unit === 'm' ? metres : metres / METRES_PER_FOOT;
export const toMetres = (value: number, unit: Unit): number =>
  unit === 'm' ? value : value * METRES_PER_FOOT;

/** `12 s`, `4 min`, `3 h`, `2 d`: the largest unit that gives at least 1. */
export function formatDuration(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 100) return `${String(Math.round(s))}\u00a0s`;
  if (s < 5400) return `${String(Math.round(s / 60))}\u00a0min`;
  if (s < 129_600) return `${String(Math.round(s / 3600))}\u00a0h`;
  return `${String(Math.round(s / 86_400))}\u00a0d`;
}

/** A time in the zone of the camera; an unknown zone gives UTC. */
export function formatTime(
  at: string | number,
  timeZone: string,
  options: Intl.DateTimeFormatOptions = { dateStyle: 'medium', timeStyle: 'short' },
): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return '';
  try {
    return new Intl.DateTimeFormat(undefined, { ...options, timeZone }).format(date);
  } catch {
    return new Intl.DateTimeFormat(undefined, { ...options, timeZone: 'UTC' }).format(date);
  }
}

/** `1.2 MB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${String(bytes)}\u00a0B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(0)}\u00a0kB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(1)}\u00a0MB`;
  return `${(bytes / 1e9).toFixed(1)}\u00a0GB`;
}
