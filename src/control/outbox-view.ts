import { isoTime } from '../base/clock.ts';
import type { OutboxView } from '../contract/outbox.ts';
import type { Store } from '../store/store.ts';

/** Messages of each kind in the view. */
const MAX_SHOWN = 5;

/** The messages that wait for the broker, and those that it rejected. */
export function outboxView(store: Pick<Store, 'outbox' | 'stats'>): OutboxView {
  const { depth, oldestAgeS, droppedTotal } = store.outbox.stats();
  const { count, newest } = store.stats.rejected(MAX_SHOWN);
  return {
    depth,
    oldest_age_s: oldestAgeS,
    dropped_total: droppedTotal,
    next: store.outbox.peek(MAX_SHOWN).map(({ topic, stream, seq, payload, createdAtMs }) => ({
      topic,
      stream,
      seq,
      size_bytes: Buffer.byteLength(payload),
      queued_at: isoTime(createdAtMs),
    })),
    rejected: {
      count,
      newest: newest.map(({ topic, stream, seq, sizeBytes, reason, rejectedAtMs }) => ({
        topic,
        stream,
        seq,
        size_bytes: sizeBytes,
        reason: reason.slice(0, 300),
        at: isoTime(rejectedAtMs),
      })),
    },
  };
}
