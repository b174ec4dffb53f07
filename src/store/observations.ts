import type Database from 'better-sqlite3';
import type { Observation } from '../contract/observation.ts';
import { isoTime } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { ObservationPage, ObservationQuery } from './types.ts';
import type { Writer } from './writer.ts';

const MAX_PAGE_RECORDS = 1000;
/** The largest time that a `Date` can have. */
const MAX_TIME_MS = 8.64e15;

interface Row {
  readonly row_id: number;
  readonly captured_at_ms: number;
  readonly published_at_ms: number | null;
  readonly historical: number;
  readonly payload: string;
}

/**
 * SQL: records with the time of their last publication. Old versions of the agent stored this time in `observations`.
 */
const RECORDS = `SELECT o.row_id, o.captured_at_ms, o.payload,
    coalesce(p.published_at_ms, o.published_at_ms) AS published_at_ms,
    coalesce(p.historical, o.historical) AS historical
  FROM observations o LEFT JOIN publications p ON p.camera = o.camera AND p.seq = o.seq`;

/** All stored records, as they were published or will be published. */
export class Observations {
  readonly #db: Database.Database;
  readonly #writer: Writer;
  readonly #insert: Database.Statement<[string, string, number, number, string, string]>;
  readonly #byId: Database.Statement<[string], Row>;
  readonly #newest: Database.Statement<[string], Row>;
  readonly #after: Database.Statement<[number, number], Row>;
  readonly #rowId: Database.Statement<[string], { row_id: number }>;
  readonly #newestRow: Database.Statement<[], { row_id: number; id: string }>;
  readonly #pages = new Map<string, Database.Statement<[Record<string, unknown>], Row>>();

  constructor(deps: { db: Database.Database; writer: Writer }) {
    this.#db = deps.db;
    this.#writer = deps.writer;
    this.#insert = deps.db.prepare(
      'INSERT INTO observations (id, camera, seq, captured_at_ms, status, payload) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#byId = deps.db.prepare(`${RECORDS} WHERE o.id = ?`);
    this.#newest = deps.db.prepare(`${RECORDS} WHERE o.camera = ? ORDER BY o.seq DESC LIMIT 1`);
    this.#after = deps.db.prepare(`${RECORDS} WHERE o.row_id > ? ORDER BY o.row_id LIMIT ?`);
    this.#rowId = deps.db.prepare('SELECT row_id FROM observations WHERE id = ?');
    this.#newestRow = deps.db.prepare('SELECT row_id, id FROM observations ORDER BY row_id DESC LIMIT 1');
  }

  /** Stores a record. Call it in the transaction that adds the record to the outbox. */
  insert(record: Observation, payload: string): void {
    const capturedAtMs = Date.parse(record.captured_at);
    this.#insert.run(record.id, record.camera, record.seq, capturedAtMs, record.status, payload);
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
    const after = query.cursor === undefined ? null : readCursor(query.cursor);
    const statement = this.#page(query, after !== null);
    const bounds = {
      camera: query.camera ?? null,
      status: query.status ?? null,
      fromMs: query.fromMs ?? -MAX_TIME_MS,
      toMs: query.toMs ?? MAX_TIME_MS,
      afterMs: after?.capturedAtMs ?? null,
      afterRow: after?.rowId ?? null,
      limit: limit + 1,
    };
    const rows = this.#writer.read(() => statement.all(bounds));
    const shown = rows.slice(0, limit);
    const last = shown.at(-1);
    return {
      observations: shown.map(toObservation),
      cursor: rows.length > limit && last ? writeCursor(last) : null,
    };
  }

  #page(query: ObservationQuery, continued: boolean): Database.Statement<[Record<string, unknown>], Row> {
    const conditions = ['o.captured_at_ms >= @fromMs', 'o.captured_at_ms < @toMs'];
    if (query.camera !== undefined) conditions.push('o.camera = @camera');
    if (query.status !== undefined) conditions.push('o.status = @status');
    if (continued) conditions.push('(o.captured_at_ms, o.row_id) < (@afterMs, @afterRow)');
    const sql = `${RECORDS}
      WHERE ${conditions.join(' AND ')} ORDER BY o.captured_at_ms DESC, o.row_id DESC LIMIT @limit`;
    const known = this.#pages.get(sql);
    if (known) return known;
    const statement = this.#db.prepare<[Record<string, unknown>], Row>(sql);
    this.#pages.set(sql, statement);
    return statement;
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

const writeCursor = (row: Row): string =>
  Buffer.from(`${row.captured_at_ms}:${row.row_id}`).toString('base64url');

function readCursor(cursor: string): { capturedAtMs: number; rowId: number } {
  const match = /^(-?\d{1,16}):(\d{1,16})$/.exec(Buffer.from(cursor, 'base64url').toString('latin1'));
  if (!match)
    throw new AgentError('usage', 'the cursor is not valid: pass the cursor of the previous page unchanged');
  return { capturedAtMs: Number(match[1]), rowId: Number(match[2]) };
}
