import { describe, expect, it } from 'vitest';
import { isInWindow, windowEndMs, windowMinutes } from '../../../src/update/window.ts';

/** A local time of one day. */
const at = (hours: number, minutes = 0): number => new Date(2026, 5, 1, hours, minutes).getTime();

describe('isInWindow', () => {
  it.each([
    ['02:00', '05:00', [at(2), at(4, 59)], [at(1, 59), at(5), at(14)]],
    ['22:30', '01:15', [at(22, 30), at(23, 59), at(0), at(1, 14)], [at(22, 29), at(1, 15), at(12)]],
    ['03:00', '03:00', [at(0), at(3), at(23, 59)], []],
  ])('from %s to %s', (from, to, inside, outside) => {
    expect(inside.map((ms) => isInWindow(ms, { from, to }))).toEqual(inside.map(() => true));
    expect(outside.map((ms) => isInWindow(ms, { from, to }))).toEqual(outside.map(() => false));
  });
});

describe('windowEndMs', () => {
  const utc = (text: string): number => Date.parse(`2026-${text}Z`);
  it.each([
    ['UTC', '02:00', '05:00', utc('06-01T03:59:30'), utc('06-01T05:00')],
    ['UTC', '22:30', '01:15', utc('06-01T23:00'), utc('06-02T01:15')],
    ['UTC', '02:00', '05:00', utc('06-01T05:00'), null],
    ['UTC', '03:00', '03:00', utc('06-01T12:00'), Infinity],
    ['Asia/Kolkata', '02:00', '05:00', utc('06-01T21:00'), utc('06-01T23:30')],
    // Summer time begins at 01:00 UTC, and ends at 01:00 UTC.
    ['Europe/Lisbon', '00:30', '04:00', utc('03-29T00:45'), utc('03-29T03:00')],
    ['Europe/Lisbon', '00:30', '04:00', utc('10-25T00:15'), utc('10-25T04:00')],
  ])('in %s from %s to %s', (zone, from, to, nowMs, endMs) => {
    expect(windowEndMs(nowMs, { from, to }, zone)).toBe(endMs);
  });
});

describe('windowMinutes', () => {
  it('counts past midnight, and a whole day for equal times', () => {
    expect(windowMinutes({ from: '02:00', to: '05:00' })).toBe(180);
    expect(windowMinutes({ from: '22:30', to: '01:15' })).toBe(165);
    expect(windowMinutes({ from: '03:00', to: '03:00' })).toBe(1440);
  });
});
