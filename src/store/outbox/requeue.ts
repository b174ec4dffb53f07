import type { prepareOutbox } from './statements.ts';
import type { Requeued } from '../types.ts';

/** Records that one call takes: a few milliseconds. */
const AT_ONCE = 500;

const NOTHING: Requeued = { queued: 0, waiting: 0, missing: 0, nextSeq: null, full: false };

/**
 * Queues the stored records of a range of numbers that do not wait yet, by `queue`, which says false for want of room.
 * Call it in a transaction.
 */
export function requeueRange(
  statements: Pick<ReturnType<typeof prepareOutbox>, 'stored' | 'waiting'>,
  { camera, first, last }: { readonly camera: string; readonly first: number; readonly last: number },
  queue: (seq: number, payload: string) => boolean,
): Requeued {
  if (last < first) return NOTHING;
  const records = statements.stored.all(camera, first, last, AT_ONCE + 1);
  let nextSeq = (records.length > AT_ONCE ? records.pop()?.seq : null) ?? null;
  let queued = 0;
  let stored = 0;
  let full = false;
  for (const { seq, waiting, payload } of records) {
    if (waiting === 0 && !queue(seq, payload)) {
      nextSeq = seq;
      full = true;
      break;
    }
    stored += 1;
    if (waiting === 0) queued += 1;
  }
  const through = nextSeq === null ? last : nextSeq - 1;
  const waiting = (statements.waiting.get(`camera:${camera}`, first, through)?.waiting ?? 0) - queued;
  // What waits may be stored no longer: the queue has its own copy then.
  const waitingOnly = waiting - (stored - queued);
  return { queued, waiting, missing: through - first + 1 - stored - waitingOnly, nextSeq, full };
}
