import Database from 'better-sqlite3';
import type { Label } from '../../calibration/types.ts';
import type { Observation } from '../../contract/observation.ts';
import type { SeaStateRecord } from '../../contract/sea-state.ts';
import type { BurstRow } from '../bursts.ts';
import { LABEL_COLUMNS } from '../labels.ts';
import type { Observations } from '../observations.ts';
import type { SeaStates } from '../sea-states.ts';
import type { SqliteOutbox } from '../outbox/outbox.ts';
import { PAYLOAD, recordsOf, type OutboxMessage } from '../outbox/table.ts';
import type { Writer } from '../writer.ts';

/** Number of messages that one transaction stores. */
const BATCH_MESSAGES = 200;
/** About 15 MB. */
const MAX_SCANNED_RECORDS = 10_000;

/** Rows that were read from a damaged file. Labels are included because people made them and cannot repeat them. */
export interface Salvage {
  readonly labels: readonly Label[];
  readonly bursts: readonly BurstRow[];
  /** The sequence counters in the damaged file. */
  readonly counters: readonly { readonly name: string; readonly value: number }[];
}

/** Reads labels, their bursts, and counters from a damaged file, each table up to the damage. Never throws. */
export function salvage(db: Database.Database | null): Salvage {
  if (!db) return { labels: [], bursts: [], counters: [] };
  return {
    labels: readUntilDamage(db, `SELECT ${LABEL_COLUMNS} FROM labels l`),
    bursts: readUntilDamage(
      db,
      `SELECT b.* FROM bursts b JOIN labels l ON l.camera = b.camera AND l.observation_id = b.observation_id`,
    ),
    counters: readUntilDamage(db, `SELECT name, value FROM counters WHERE name LIKE 'seq:%'`),
  };
}

/**
 * Copies the readable messages from the outbox of a damaged file to the new database, with the same sequence numbers.
 * Returns the number of messages. Throws `store_*`.
 */
export function requeueUnsent(
  brokenPath: string,
  deps: {
    readonly writer: Writer;
    readonly observations: Observations;
    readonly seaStates: SeaStates;
    readonly outbox: SqliteOutbox;
  },
): number {
  const { writer, observations, seaStates, outbox } = deps;
  const seen = new Set<string>();
  let batch: OutboxMessage[] = [];
  const storeBatch = (): void => {
    writer.write(() => {
      for (const message of batch) {
        const { stream, payload } = message;
        const kind = recordsOf(stream)?.kind;
        if (kind === 'observation') observations.insert(JSON.parse(payload) as Observation, payload);
        if (kind === 'sea_state') seaStates.insert(JSON.parse(payload) as SeaStateRecord, payload);
        outbox.enqueue(message);
      }
    });
    batch = [];
  };
  readUnsent(brokenPath, (message) => {
    const key = `${message.stream}/${message.seq}`;
    if (seen.has(key)) return;
    seen.add(key);
    batch.push(message);
    if (batch.length === BATCH_MESSAGES) storeBatch();
  });
  if (batch.length > 0) storeBatch();
  return seen.size;
}

/** Reads the outbox of a damaged file, oldest row first, before and after the damage. Damage does not make it throw. */
function readUnsent(path: string, take: (message: OutboxMessage) => void): void {
  let db: Database.Database;
  try {
    db = new Database(path, { readonly: true, fileMustExist: true });
  } catch {
    return;
  }
  using _db = { [Symbol.dispose]: () => db.close() };
  const ids = new Set<number>();
  for (const order of ['ASC', 'DESC'])
    for (const { row_id } of readUntilDamage<{ row_id: number }>(
      db,
      `SELECT row_id FROM outbox NOT INDEXED ORDER BY row_id ${order}`,
    ))
      ids.add(row_id);
  let scanned: ReadonlyMap<string, string> | null = null;
  for (const rowId of [...ids].sort((x, y) => x - y)) {
    const read = (payload: string): OutboxMessage | undefined =>
      readUntilDamage<OutboxMessage>(
        db,
        `SELECT row_id, stream, seq, topic, ${payload} AS payload FROM outbox NOT INDEXED WHERE row_id = ${String(rowId)}`,
      )[0];
    let message = read(PAYLOAD);
    if (message === undefined) {
      // The index of the records may be damaged, and the record itself readable.
      message = read('payload');
      scanned ??= scanRecords(db);
      if (message) message = { ...message, payload: scanned.get(`${message.stream}/${message.seq}`) ?? '' };
    }
    if (message && isIntact(message)) take(message);
  }
}

/** The payloads of the newest and the oldest records by stream and number, up to the damage, without an index. */
function scanRecords(db: Database.Database): ReadonlyMap<string, string> {
  const rows = ['DESC', 'ASC'].flatMap((order) =>
    readUntilDamage<{ key: string; payload: string }>(
      db,
      `SELECT 'camera:' || camera || '/' || seq AS key, payload FROM observations NOT INDEXED
       ORDER BY row_id ${order} LIMIT ${MAX_SCANNED_RECORDS}`,
    ),
  );
  return new Map(rows.map(({ key, payload }) => [key, payload]));
}

/** Whether the payload matches the other columns of its row: damage may have changed any of them. */
function isIntact({ stream, seq, topic, payload }: OutboxMessage): boolean {
  try {
    const message = JSON.parse(payload) as { seq?: unknown };
    const records = recordsOf(stream);
    const topicStart = records ? `camera/${records.camera}/${records.kind}` : 'event/';
    return message.seq === seq && Number.isSafeInteger(seq) && topic.startsWith(topicStart);
  } catch {
    return false;
  }
}

function readUntilDamage<T>(db: Database.Database, sql: string): T[] {
  const rows: T[] = [];
  try {
    for (const row of db.prepare<[], T>(sql).iterate()) rows.push(row);
  } catch {
    // The caller reports the damage. Return the rows that were read before the damage.
  }
  return rows;
}
