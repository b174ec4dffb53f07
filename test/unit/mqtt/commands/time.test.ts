import { describe, expect, it } from 'vitest';
import { judgeTimes } from '../../../../src/mqtt/commands/time.ts';
import { ManualClock } from '../../../fixtures/store.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

describe('judgeTimes', () => {
  /** Up for an hour. */
  const clock = new ManualClock();
  clock.mono = HOUR_MS;
  const nowMs = clock.nowMs();
  const booted = new ManualClock(nowMs);
  booted.mono = MINUTE_MS;

  it.each([
    ['no times at all', null, null, true, 'in_time'],
    ['no expiry, issued next year', 9000 * HOUR_MS, null, true, 'in_time'],
    ['still good', -MINUTE_MS, MINUTE_MS, true, 'in_time'],
    ['good for years', null, 90_000 * HOUR_MS, true, 'in_time'],
    ['over', -2 * MINUTE_MS, -MINUTE_MS, true, 'expired'],
    ['over at this very moment', null, 0, true, 'expired'],
    ['over before it was issued', 4 * MINUTE_MS, 3 * MINUTE_MS, true, 'expired'],
    ['a clock some minutes ahead', 4 * MINUTE_MS, 9 * MINUTE_MS, true, 'in_time'],
    ['a clock an hour ahead', HOUR_MS, 2 * HOUR_MS, true, 'issued_in_future'],
    ['over by a clock that nothing has set', null, -MINUTE_MS, false, 'expired'],
    ['our clock, or theirs, is wrong', HOUR_MS, 2 * HOUR_MS, false, 'clock_unsynced'],
    ['no time source since an hour: the clock is what it is', -1000, MINUTE_MS, false, 'in_time'],
  ] as const)('%s', (_what, issuedMs, expiresMs, synced, verdict) => {
    const times = {
      issuedAtMs: issuedMs === null ? null : nowMs + issuedMs,
      expiresAtMs: expiresMs === null ? null : nowMs + expiresMs,
    };
    expect(judgeTimes(times, clock, synced)).toBe(verdict);
  });

  it('waits for the clock to be set after the boot, but not for commands without expiry', () => {
    const times = { issuedAtMs: nowMs - 1000, expiresAtMs: nowMs + MINUTE_MS };
    expect(judgeTimes(times, booted, false)).toBe('clock_unsynced');
    expect(judgeTimes(times, booted, true)).toBe('in_time');
    expect(judgeTimes({ ...times, expiresAtMs: null }, booted, false)).toBe('in_time');
  });

  it('takes a time that is none for expired', () => {
    expect(judgeTimes({ issuedAtMs: null, expiresAtMs: NaN }, clock, true)).toBe('expired');
    expect(judgeTimes({ issuedAtMs: NaN, expiresAtMs: nowMs + 1000 }, clock, true)).toBe('expired');
  });
});
