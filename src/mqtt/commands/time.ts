import type { Clock } from '../../base/clock.ts';

/** The sender's clock and ours may differ by this much. */
const SKEW_MS = 5 * 60_000;
/** So long after the machine booted a time source may still set its clock. */
const SETTLING_MS = 5 * 60_000;

/** Times that stand in a command, ms; null where there is none. */
export interface CommandTimes {
  readonly issuedAtMs: number | null;
  readonly expiresAtMs: number | null;
}

export type TimeVerdict = 'in_time' | 'expired' | 'clock_unsynced' | 'issued_in_future';

/**
 * Whether a command may still be begun. One without `expires_at` always may. Where our own clock cannot be believed,
 * one with `expires_at` is not begun: it may have expired long ago.
 */
export function judgeTimes(times: CommandTimes, clock: Clock, synced: boolean): TimeVerdict {
  const { issuedAtMs, expiresAtMs } = times;
  if (expiresAtMs === null) return 'in_time';
  const nowMs = clock.nowMs();
  // By its own words, or by a clock that is right or ahead; either way it is not run.
  if (!(expiresAtMs > nowMs) || (issuedAtMs !== null && !(expiresAtMs > issuedAtMs))) return 'expired';
  const fromFuture = issuedAtMs !== null && issuedAtMs > nowMs + SKEW_MS;
  if (!synced && (fromFuture || clock.monoMs() < SETTLING_MS)) return 'clock_unsynced';
  return fromFuture ? 'issued_in_future' : 'in_time';
}
