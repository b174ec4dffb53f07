import { dirname, join } from 'node:path';
import type { Log } from '../base/log.ts';
import type { OpenedDatabase } from './file/database.ts';
import type { FileWatch } from './file/file-watch.ts';
import { requeueUnsent } from './file/salvage.ts';
import type { SqliteLabels } from './labels.ts';
import { recoveryEvent, storeIdEvent } from './loss-events.ts';
import type { Observations } from './observations.ts';
import type { SqliteOutbox } from './outbox/outbox.ts';
import type { SeaStates } from './sea-states.ts';
import type { Sequences } from './sequences.ts';
import type { RaiseEvent } from './types.ts';
import type { Writer } from './writer.ts';

export interface RecoveryDeps {
  /** Path of the database. */
  readonly path: string;
  readonly log: Log;
  readonly writer: Writer;
  readonly sequences: Sequences;
  readonly observations: Observations;
  readonly seaStates: SeaStates;
  readonly outbox: SqliteOutbox;
  readonly labels: SqliteLabels;
  readonly raise: RaiseEvent;
  readonly file: FileWatch;
}

/**
 * Continues the numbering, and takes over what was readable in a database that was set aside. Reports what was lost. Call it
 * once after the database was opened. Throws `store_*`.
 */
export function recover(opened: OpenedDatabase, deps: RecoveryDeps): void {
  const { broken } = opened;
  const { log, path, sequences, writer, raise } = deps;
  const requeued = broken ? requeueUnsent(join(dirname(path), broken.quarantined), deps) : 0;
  const missing = writer.write(() => sequences.reconcile(broken?.salvage.counters));
  renewToken(deps);
  const { change, id } = sequences.identity;
  if (change) raise(storeIdEvent(id, change));
  if (broken) deps.labels.restore(broken.salvage.labels, broken.salvage.bursts);
  const event = recoveryEvent(opened, { missing, requeued });
  if (!event) return;
  log.error(event.context, 'replaced a damaged or lost database');
  raise(event);
}

/** Without the writer, which would delete records to make room on a full disk. */
export function renewToken({ file, log, sequences }: Pick<RecoveryDeps, 'file' | 'log' | 'sequences'>): void {
  // The files of the directory may be those of another store.
  if (file.code !== null) return;
  try {
    sequences.identity.renewToken();
    sequences.save();
  } catch (thrown) {
    log.warn({ err: thrown }, 'cannot renew the token of the store');
  }
}
