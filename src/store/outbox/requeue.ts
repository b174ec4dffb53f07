import type Database from 'better-sqlite3';
import type { RequeueResult } from '../types.ts';

/** Maximum number of records that one call adds to the outbox again: a few milliseconds of work. */
const BATCH_RECORDS = 500;

const NOTHING: RequeueResult = { queued: 0, waiting: 0, missing: 0, nextSeq: null, full: false };

/** Finds the stored records in a range of sequence numbers that are not in the outbox, to send them again. */
export class Requeue {
  readonly #stored: Database.Statement<
    [string, string, number, number, number],
    { readonly seq: number; readonly waiting: 0 | 1; readonly payload: string }
  >;
  readonly #countWaiting: Database.Statement<[string, number, number], { waiting: number }>;

  constructor(db: Database.Database, table: 'observations' | 'sea_states') {
    this.#stored = db.prepare(
      `SELECT o.seq, EXISTS (SELECT 1 FROM outbox q WHERE q.stream = ? AND q.seq = o.seq) AS waiting,
              o.payload
       FROM ${table} o WHERE o.camera = ? AND o.seq BETWEEN ? AND ? ORDER BY o.seq LIMIT ?`,
    );
    this.#countWaiting = db.prepare(
      'SELECT count(*) AS waiting FROM outbox WHERE stream = ? AND seq BETWEEN ? AND ?',
    );
  }

  /** Calls `enqueue` for each record, until it returns false because the outbox is full. Call this in a transaction. */
  run(
    range: {
      readonly stream: string;
      readonly camera: string;
      readonly firstSeq: number;
      readonly lastSeq: number;
    },
    enqueue: (seq: number, payload: string) => boolean,
  ): RequeueResult {
    const { stream, camera, firstSeq, lastSeq } = range;
    if (lastSeq < firstSeq) return NOTHING;
    const records = this.#stored.all(stream, camera, firstSeq, lastSeq, BATCH_RECORDS + 1);
    let nextSeq = (records.length > BATCH_RECORDS ? records.pop()?.seq : null) ?? null;
    let queued = 0;
    let stored = 0;
    let full = false;
    for (const { seq, waiting, payload } of records) {
      if (waiting === 0 && !enqueue(seq, payload)) {
        nextSeq = seq;
        full = true;
        break;
      }
      stored += 1;
      if (waiting === 0) queued += 1;
    }
    const throughSeq = nextSeq === null ? lastSeq : nextSeq - 1;
    const inOutbox = this.#countWaiting.get(stream, firstSeq, throughSeq)?.waiting ?? 0;
    const waiting = inOutbox - queued;
    // Retention may have deleted a record that still waits in the outbox, which then has its own copy.
    const waitingNotStored = waiting - (stored - queued);
    const missing = throughSeq - firstSeq + 1 - stored - waitingNotStored;
    return { queued, waiting, missing, nextSeq, full };
  }
}
