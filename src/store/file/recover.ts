import { basename } from 'node:path';
import type { Observation } from '../../contract/observation.ts';
import type { OpenedDatabase } from './database.ts';
import type { Observations } from '../observations.ts';
import type { SqliteOutbox } from '../outbox/outbox.ts';
import { salvageUnsent, type UnsentRow } from './salvage.ts';
import type { EventDraft } from '../types.ts';
import type { Writer } from '../writer.ts';

/** Messages stored in one transaction. */
const BATCH = 200;

/**
 * What a broken database had not sent yet goes on in the new one, under the same numbers, as far as it can be read.
 * Returns how many messages. Throws `store_*`.
 */
export function requeueUnsent(
  brokenPath: string,
  deps: { writer: Writer; observations: Observations; outbox: SqliteOutbox },
): number {
  const { writer, observations, outbox } = deps;
  const known = new Set<string>();
  let batch: UnsentRow[] = [];
  const store = (): void => {
    writer.write(() => {
      for (const row of batch) {
        if (row.stream !== 'events') observations.insert(JSON.parse(row.payload) as Observation, row.payload);
        outbox.enqueue(row);
      }
    });
    batch = [];
  };
  salvageUnsent(brokenPath, (row) => {
    const key = `${row.stream}/${row.seq}`;
    if (known.has(key)) return;
    known.add(key);
    batch.push(row);
    if (batch.length === BATCH) store();
  });
  if (batch.length > 0) store();
  return known.size;
}

/** Tells what was found at the opening; null when all was well. */
export function recoveryEvent(
  opened: Pick<OpenedDatabase, 'broken' | 'displaced'>,
  found: { readonly missing: number; readonly kept: number },
): EventDraft | null {
  const { broken, displaced } = opened;
  if (!broken && displaced === null && found.missing === 0) return null;
  const replaced = displaced !== null && !broken;
  const set = broken?.quarantined ?? displaced;
  return {
    type: 'store_recovered',
    severity: 'error',
    code: 'store_corrupt',
    message: replaced
      ? 'The database was replaced or taken away while it was in use. It goes on; what lay in its place was set aside.'
      : 'The database was damaged. It was set aside and a new one begun, with what could still be read of it.',
    context: {
      reason:
        broken?.reason ?? (replaced ? 'replaced while in use' : 'the database is older than its numbering'),
      quarantined: set ? basename(set) : null,
      records_lost_at_most: found.missing,
      records_kept: broken && found.kept,
      labels_kept: broken?.salvage.labels.length ?? null,
    },
  };
}
