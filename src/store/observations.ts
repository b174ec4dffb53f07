import type Database from 'better-sqlite3';
import type { Observation } from '../contract/observation.ts';
import { isoTime } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { History, HistoryPosition } from './history.ts';
import type { ObservationPage, ObservationQuery } from './types.ts';
import type { Writer } from './writer.ts';

export const MAX_PAGE_RECORDS = 1000;
/** The largest time that a `Date` can have. */
export const MAX_TIME_MS = 8.64e15;

interface Row {
  readonly row_id: number;
  readonly published_at_ms: number | null;
  readonly historical: number;
  readonly payload: string;
}

/**
 * SQL: records with the time of their last publication. Old versions of the agent stored this time in `observations`.
 */
const RECORDS = `SELECT o.row_id, o.payload,
    coalesce(p.published_at_ms, o.published_at_ms) AS published_at_ms,
    coalesce(p.historical, o.historical) AS historical
  FROM observations o LEFT JOIN publications p ON p.camera = o.camera AND p.seq = o.seq`;

/** All stored records, as they were published or will be published. */
export class Observations {
  readonly #history: History;
  readonly #writer: Writer;
  readonly #insert: Database.Statement<[string, string, number, number, string, string]>;
  readonly #byRowId: Database.Statement<[number], Row>;
  readonly #byId: Database.Statement<[string], Row>;
  readonly #newest: Database.Statement<[string], Row>;
  readonly #after: Database.Statement<[number, number], Row>;
  readonly #rowId: Database.Statement<[string], { row_id: number }>;
  readonly #newestRow: Database.Statement<[], { row_id: number; id: string }>;

  constructor(deps: { db: Database.Database; history: History; writer: Writer }) {
    this.#history = deps.history;
    this.#writer = deps.writer;
    this.#insert = deps.db.prepare(
      'INSERT INTO observations (id, camera, seq, captured_at_ms, status, payload) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#byRowId = deps.db.prepare(`${RECORDS} WHERE o.row_id = ?`);
    this.#byId = deps.db.prepare(`${RECORDS} WHERE o.id = ?`);
    this.#newest = deps.db.prepare(`${RECORDS} WHERE o.camera = ? ORDER BY o.seq DESC LIMIT 1`);
    this.#after = deps.db.prepare(`${RECORDS} WHERE o.row_id > ? ORDER BY o.row_id LIMIT ?`);
    this.#rowId = deps.db.prepare('SELECT row_id FROM observations WHERE id = ?');
    this.#newestRow = deps.db.prepare('SELECT row_id, id FROM observations ORDER BY row_id DESC LIMIT 1');
  }

  /** Stores a record and returns its row id. Call it in the transaction that adds the record to the outbox. */
  insert(record: Observation, payload: string): number {
    const { id, camera, seq, status } = record;
    const capturedAtMs = Date.parse(record.captured_at);
    return Number(this.#insert.run(id, camera, seq, capturedAtMs, status, payload).lastInsertRowid);
  }

  find(id: string): Observation | null {
    const row = this.#writer.read(() => this.#byId.get(id));
    return row ? toObservation(row) : null;
  }

  /** The newest record of the camera, of any status. */
  newest(camera: string): Observation | null {
    const row = this.#writer.read(() => this.#newest.get(camera));
    return row ? toObservation(row) : null;
  }

  /** Records stored after a row, in the order of storage. */
  after(rowId: number, limit: number): readonly { readonly rowId: number; readonly record: Observation }[] {
    const rows = this.#writer.read(() => this.#after.all(rowId, limit));
    return rows.map((row) => ({ rowId: row.row_id, record: toObservation(row) }));
  }

  /** The row id of a record; null when the record does not exist or was deleted. */
  rowIdOf(id: string): number | null {
    return this.#rowId.get(id)?.row_id ?? null;
  }

  /** The newest record of all cameras. */
  newestRow(): { readonly rowId: number; readonly id: string } | null {
    const row = this.#newestRow.get();
    return row ? { rowId: row.row_id, id: row.id } : null;
  }

  /** Returns one page of records, newest capture first. Throws `usage` for an invalid cursor. */
  query(query: ObservationQuery): ObservationPage {
    const limit = Math.min(Math.max(1, Math.trunc(query.limit)), MAX_PAGE_RECORDS);
    const end = { captured_at_ms: query.toMs ?? MAX_TIME_MS, row_id: 0 };
    const after = query.cursor === undefined ? end : readCursor(query.cursor);
    const range = {
      camera: query.camera ?? null,
      status: query.status ?? null,
      fromMs: query.fromMs ?? -MAX_TIME_MS,
      before: after.captured_at_ms < end.captured_at_ms ? after : end,
      limit: limit + 1,
    };
    const positions = this.#writer.read(() => this.#history.newest(range));
    const shown = positions.slice(0, limit);
    const last = shown.at(-1);
    return {
      observations: this.#writer.read(() =>
        shown.flatMap(({ row_id }) => {
          const row = this.#byRowId.get(row_id);
          return row ? [toObservation(row)] : [];
        }),
      ),
      cursor: positions.length > limit && last ? writeCursor(last) : null,
    };
  }
}

function toObservation(row: Row): Observation {
  const stored = JSON.parse(row.payload) as Observation;
  return {
    ...stored,
    // Records of older versions of the agent do not contain it.
    has_height: stored.has_height ?? stored.wave.height_m !== null,
    published_at: row.published_at_ms === null ? null : isoTime(row.published_at_ms),
    historical: row.historical === 1,
  };
}

export const writeCursor = ({ captured_at_ms, row_id }: HistoryPosition): string =>
  Buffer.from(`${captured_at_ms}:${row_id}`).toString('base64url');

/** Throws `usage`. */
export function readCursor(cursor: string): HistoryPosition {
  const match = /^(-?\d{1,16}):(\d{1,16})$/.exec(Buffer.from(cursor, 'base64url').toString('latin1'));
  if (!match)
    throw new AgentError('usage', 'the cursor is not valid: pass the cursor of the previous page unchanged', {
      hint: 'begin again without a cursor',
    });
  return { captured_at_ms: Number(match[1]), row_id: Number(match[2]) };
}
