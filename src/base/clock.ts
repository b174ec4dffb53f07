import { setTimeout as delay } from 'node:timers/promises';

/** The wall clock and the monotonic clock of the agent. Tests inject other implementations. */
export interface Clock {
  /** Wall clock, milliseconds since 1970 UTC. May step forward or back. */
  nowMs(): number;
  /** Monotonic milliseconds since the machine booted (CLOCK_MONOTONIC). Never steps. */
  monoMs(): number;
  /** Waits on the monotonic clock. Rejects with an AbortError when the signal fires. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Largest delay of a timer in Node; a timer with a larger delay fires immediately. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** CLOCK_MONOTONIC, ms. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monoMs: monotonicMs,
  sleep: async (ms, signal) => {
    for (let left = Math.max(0, ms); ; left -= MAX_TIMER_MS) {
      await delay(Math.min(left, MAX_TIMER_MS), undefined, signal ? { signal } : {});
      if (left <= MAX_TIMER_MS) return;
    }
  },
};

/** ISO 8601 UTC with milliseconds, the wire format of every time. */
export const isoTime = (ms: number): string => new Date(ms).toISOString();
