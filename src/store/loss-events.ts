import { basename } from 'node:path';
import { isoTime, type Clock } from '../base/clock.ts';
import { asAgentError, type ErrorCode } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Event, EventDraft } from '../contract/states.ts';
import type { Events } from './events.ts';
import type { OpenedDatabase } from './file/database.ts';
import type { DeletedRow } from './oldest-history.ts';
import type { Sequences } from './sequences.ts';
import type { StoreIdentity } from './store-identity.ts';
import type { KeyValue, RaiseEvent } from './types.ts';
import type { Writer } from './writer.ts';

/**
 * Minimum interval at which an `outbox_dropped` or `history_deleted` event is raised. The heartbeat counts each drop at
 * once.
 */
const DROP_EVENT_INTERVAL_MS = 3_600_000;
const DELETED_KEY = 'store.history_deleted';

export interface DropEventsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly writer: Writer;
  readonly sequences: Sequences;
  readonly events: Events;
}

/** Raises the event `outbox_dropped` about records that were dropped because of the limits of the outbox. */
export class DropEvents {
  readonly #deps: DropEventsDeps;
  /** The last event. `droppedBefore` is the number of drops that the events before it reported. */
  #last: { readonly event: Event; readonly monoMs: number; readonly droppedBefore: number } | null = null;

  constructor(deps: DropEventsDeps) {
    this.#deps = deps;
  }

  /** Raises one event for a series of drops. If the last event was not sent yet, updates it instead. */
  report(): void {
    const { clock, events, log, sequences, writer } = this.#deps;
    const nowMs = clock.monoMs();
    const last = this.#last;
    if (last && nowMs - last.monoMs < DROP_EVENT_INTERVAL_MS) return;
    const total = sequences.droppedTotal();
    if (total <= sequences.droppedReported) return;
    try {
      writer.write(() => {
        const updated =
          last &&
          events.updateContext(last.event, { dropped: total - last.droppedBefore, dropped_total: total });
        const droppedBefore = updated ? last.droppedBefore : sequences.droppedReported;
        // Save the total first: raising the event may drop another row.
        sequences.droppedReported = total;
        const event = updated ?? events.raise(dropEvent(total - droppedBefore, total));
        this.#last = { event, monoMs: nowMs, droppedBefore };
      });
    } catch (thrown) {
      log.error({ code: asAgentError(thrown).code, err: thrown }, 'cannot store the event outbox_dropped');
    }
  }
}

const dropEvent = (dropped: number, droppedTotal: number): EventDraft => ({
  type: 'outbox_dropped',
  severity: 'warning',
  code: 'outbox_dropped',
  message:
    'Unsent records were dropped, because the outbox is full. The broker was unreachable for too long.',
  context: { dropped, dropped_total: droppedTotal },
});

/** History that was deleted because the disk was full. */
interface DeletedHistory {
  readonly rows: number;
  /** Wall clock, of the oldest and of the newest deleted row. */
  readonly fromMs: number;
  readonly toMs: number;
}

export interface HistoryEventsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly writer: Writer;
  readonly keyValue: KeyValue;
  readonly events: Events;
}

/**
 * Raises the event `history_deleted`: the first time at once, then one for all deletions of an hour. What was not reported
 * yet survives a restart.
 */
export class HistoryEvents {
  readonly #deps: HistoryEventsDeps;
  #raisedMonoMs = -Infinity;

  constructor(deps: HistoryEventsDeps) {
    this.#deps = deps;
  }

  /** Call it in the transaction that deletes the rows. */
  add(deleted: readonly DeletedRow[]): void {
    let { rows, fromMs, toMs } = this.#read() ?? { rows: 0, fromMs: Infinity, toMs: -Infinity };
    for (const { ms } of deleted) {
      rows += 1;
      fromMs = Math.min(fromMs, ms);
      toMs = Math.max(toMs, ms);
    }
    this.#deps.keyValue.set(DELETED_KEY, JSON.stringify({ rows, fromMs, toMs } satisfies DeletedHistory));
  }

  /** Raises the event if it is due. */
  report(): void {
    const { clock, events, keyValue, log, writer } = this.#deps;
    const nowMs = clock.monoMs();
    if (nowMs - this.#raisedMonoMs < DROP_EVENT_INTERVAL_MS) return;
    const deleted = this.#read();
    if (!deleted) return;
    try {
      writer.write(() => {
        keyValue.delete(DELETED_KEY);
        events.raise(historyEvent(deleted));
      });
      this.#raisedMonoMs = nowMs;
    } catch (thrown) {
      log.error({ code: asAgentError(thrown).code, err: thrown }, 'cannot store the event history_deleted');
    }
  }

  #read(): DeletedHistory | null {
    const text = this.#deps.keyValue.get(DELETED_KEY);
    return text === null ? null : (JSON.parse(text) as DeletedHistory);
  }
}

const historyEvent = ({ rows, fromMs, toMs }: DeletedHistory): EventDraft => ({
  type: 'history_deleted',
  severity: 'warning',
  code: 'store_full',
  message: 'The disk is full. The oldest records and events were deleted to make room for new ones.',
  context: { rows, from: isoTime(fromMs), to: isoTime(toMs) },
});

/** Counts records that the disk refused. When the disk works again, raises the event `records_unstored` about them. */
export class UnstoredRecords {
  readonly #raise: RaiseEvent;
  #lost: { readonly records: number; readonly code: ErrorCode } | null = null;

  constructor(deps: { raise: RaiseEvent }) {
    this.#raise = deps.raise;
  }

  /** Calls `store`, which stores one record. Throws the error of `store`. */
  count<T>(store: () => T): T {
    let stored: T;
    try {
      stored = store();
    } catch (thrown) {
      const { code } = asAgentError(thrown);
      if (code.startsWith('store_')) this.#lost = { records: (this.#lost?.records ?? 0) + 1, code };
      throw thrown;
    }
    if (this.#lost === null) return stored;
    const { records, code } = this.#lost;
    this.#lost = null;
    this.#raise({
      type: 'records_unstored',
      severity: 'error',
      code,
      message: `The disk refused ${records} records. They have no sequence number and were not published.`,
      context: { records },
    });
    return stored;
  }
}

/** The event `store_recovered` for the state found at `open`; null when the database was intact. */
export function recoveryEvent(
  { broken, displaced }: Pick<OpenedDatabase, 'broken' | 'displaced'>,
  { missing, requeued }: { readonly missing: number; readonly requeued: number },
): EventDraft | null {
  if (!broken && displaced === null && missing === 0) return null;
  const wasReplaced = displaced !== null && !broken;
  const quarantined = broken?.quarantined ?? displaced;
  return {
    type: 'store_recovered',
    severity: 'error',
    code: 'store_corrupt',
    message: wasReplaced
      ? 'The database was replaced or removed while it was in use. Its content was kept; the file in its place was renamed.'
      : 'The database was damaged. It was renamed, and a new one was created with everything that was still readable.',
    context: {
      reason:
        broken?.reason ??
        (wasReplaced ? 'replaced while in use' : 'the database is older than its sequence numbers'),
      quarantined: quarantined ? basename(quarantined) : null,
      records_lost_at_most: missing,
      records_kept: broken && requeued,
      labels_kept: broken?.salvage.labels.length ?? null,
    },
  };
}

/** Reports that the numbering of the records is another one than before. */
export const storeIdEvent = (
  storeId: string,
  { reason, before }: NonNullable<StoreIdentity['change']>,
): EventDraft => ({
  type: 'store_id_changed',
  severity: 'warning',
  code: reason,
  message: 'The state directory was restored, copied or moved: the records have a new store_id from now on.',
  context: { store_id: storeId, before, reason },
});
