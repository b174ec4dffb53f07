import type { Clock } from '../base/clock.ts';
import type { Slot } from './types.ts';

/** After a long pause, at most this many skipped slots are yielded. The last one covers all the remaining ones. */
const MAX_SKIPPED_SLOTS = 20;

/** Converts the planned times of missed observations, in ascending order, into skipped slots, oldest first. */
export function* skippedSlots(dueAtMs: Iterable<number>, reason: 'overlap' | 'late'): Generator<Slot> {
  let yielded = 0;
  let covers = 0;
  let last: number | null = null;
  for (const due of dueAtMs) {
    if (yielded < MAX_SKIPPED_SLOTS - 1) {
      yielded += 1;
      yield { dueAtMs: due, skipped: reason };
    } else {
      covers += 1;
      last = due;
    }
  }
  if (last !== null) yield { dueAtMs: last, skipped: reason, ...(covers > 1 ? { covers } : {}) };
}

/** Sleeps on the monotonic clock. Returns false when the signal has aborted. */
export async function sleepUnlessAborted(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    signal.throwIfAborted();
    await clock.sleep(ms, signal);
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}
