import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { BackfillResult } from '../contract/command-results.ts';
import type { Store } from '../store/store.ts';
import type { RecordKind } from '../store/types.ts';

/** Pause between two parts of the range, in which new records can be stored. */
const PAUSE_MS = 5;
const MAX_GAPS = 100;

export interface BackfillRange {
  readonly camera: string;
  readonly stream: RecordKind;
  readonly fromSeq: number;
  /** Inclusive. */
  readonly toSeq: number;
}

/**
 * Queues stored records again, in parts; stops when the outbox is full. Throws `seq_unknown` when the camera has no
 * record of the number `fromSeq` yet. Rejects when the signal aborts.
 */
export async function queueAgain(
  { camera, stream, fromSeq, toSeq }: BackfillRange,
  { store, clock }: { readonly store: Pick<Store, 'requeue' | 'stats'>; readonly clock: Clock },
  signal: AbortSignal,
): Promise<BackfillResult> {
  const newestSeq = store.stats.newestSeq(camera, stream);
  if (fromSeq > newestSeq)
    throw new AgentError('seq_unknown', `the newest record of ${camera} has the number ${newestSeq}`, {
      context: { camera, from_seq: fromSeq, newest_seq: newestSeq },
    });
  let queued = 0;
  let waiting = 0;
  let gone = 0;
  for (let next: number | null = fromSeq; ;) {
    const part = store.requeue(camera, next, toSeq, stream);
    queued += part.queued;
    waiting += part.waiting;
    gone += part.missing;
    next = part.nextSeq;
    if (next === null || part.full) {
      const end = next === null ? toSeq : next - 1;
      const gone_ranges = gone > 0 ? store.stats.gaps(camera, fromSeq, end, MAX_GAPS, stream) : [];
      return {
        camera,
        stream,
        queued,
        waiting,
        gone,
        gone_ranges: gone_ranges.map(([a, b]) => [a, b]),
        next_seq: next,
      };
    }
    await clock.sleep(PAUSE_MS, signal);
  }
}
