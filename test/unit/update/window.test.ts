import { describe, expect, it } from 'vitest';
import { isInWindow, windowMinutes } from '../../../src/update/window.ts';

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

describe('windowMinutes', () => {
  it('counts past midnight, and a whole day for equal times', () => {
    expect(windowMinutes({ from: '02:00', to: '05:00' })).toBe(180);
    expect(windowMinutes({ from: '22:30', to: '01:15' })).toBe(165);
    expect(windowMinutes({ from: '03:00', to: '03:00' })).toBe(1440);
  });
});
