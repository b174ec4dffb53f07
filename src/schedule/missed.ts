import type { Slot } from './types.ts';

/** So many lost slots of one stall are told one by one; the last of them stands for all the others. */
export const TOLD_ONE_BY_ONE = 20;

/** Lost slots as records, oldest first; `dueAtMs` ascending. A million of them cost twenty records. */
export function* missedSlots(
  dueAtMs: Iterable<number>,
  reason: 'overlap' | 'late',
  limit = TOLD_ONE_BY_ONE,
): Generator<Slot> {
  let told = 0;
  let covers = 0;
  let last: number | null = null;
  for (const due of dueAtMs) {
    if (told < limit - 1) {
      told += 1;
      yield { dueAtMs: due, skipped: reason };
    } else {
      covers += 1;
      last = due;
    }
  }
  if (last !== null) yield { dueAtMs: last, skipped: reason, ...(covers > 1 ? { covers } : {}) };
}
