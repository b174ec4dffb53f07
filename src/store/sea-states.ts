import type Database from 'better-sqlite3';
import { isoTime } from '../base/clock.ts';
import type { SeaStateRecord } from '../contract/sea-state.ts';
import { MAX_PAGE_RECORDS, MAX_TIME_MS, readCursor, writeCursor } from './observations.ts';
import type { SeaStatePage, SeaStateQuery } from './types.ts';
import type { Writer } from './writer.ts';

interface Row {
  readonly row_id: number;
  readonly captured_at_ms: number;
  readonly published_at_ms: number | null;
  readonly historical: number;
  readonly payload: string;
}

const RECORDS = 'SELECT row_id, captured_at_ms, published_at_ms, historical, payload FROM sea_states';

/** The stored records of clips, as they were published or will be published. */
export class SeaStates {
  readonly #writer: Writer;
  readonly #sql: ReturnType<typeof prepare>;

  constructor({ db, writer }: { readonly db: Database.Database; readonly writer: Writer }) {
    this.#writer = writer;
    this.#sql = prepare(db);
  }

  /** Call it in the transaction that adds the record to the outbox. */
  insert(record: SeaStateRecord, payload: string): void {
    const { id, camera, seq, captured_at: capturedAt, status } = record;
    this.#sql.insert.run(id, camera, seq, Date.parse(capturedAt), status, payload);
  }

  /** The record of this id, if it is of this camera. */
  find(camera: string, id: string): SeaStateRecord | null {
    const row = this.#writer.read(() => this.#sql.find.get(id, camera));
    return row ? toRecord(row) : null;
  }

  /** The newest record of the camera, of any status. */
  newest(camera: string): SeaStateRecord | null {
    const row = this.#writer.read(() => this.#sql.newest.get(camera));
    return row ? toRecord(row) : null;
  }

  /** The newest record with a period whose clip began at this time or later. */
  newestMeasured(camera: string, fromMs: number): SeaStateRecord | null {
    const row = this.#writer.read(() => this.#sql.newestMeasured.get(camera, fromMs));
    return row ? toRecord(row) : null;
  }

  /** Returns one page of records, newest clip first. Throws `usage` for an invalid cursor. */
  query({ camera, fromMs = -MAX_TIME_MS, toMs = MAX_TIME_MS, limit, cursor }: SeaStateQuery): SeaStatePage {
    const pageRows = Math.min(Math.max(1, Math.trunc(limit)), MAX_PAGE_RECORDS);
    const after = cursor === undefined ? null : readCursor(cursor);
    const before = after && after.captured_at_ms < toMs ? after : { captured_at_ms: toMs, row_id: 0 };
    const rows = this.#writer.read(() =>
      this.#sql.page.all(camera, fromMs, before.captured_at_ms, before.row_id, pageRows + 1),
    );
    const shown = rows.slice(0, pageRows);
    const last = shown.at(-1);
    return {
      sea_states: shown.map(toRecord),
      cursor: rows.length > pageRows && last ? writeCursor(last) : null,
    };
  }
}

function toRecord(row: Row): SeaStateRecord {
  return {
    ...(JSON.parse(row.payload) as SeaStateRecord),
    published_at: row.published_at_ms === null ? null : isoTime(row.published_at_ms),
    historical: row.historical === 1,
  };
}

function prepare(db: Database.Database) {
  return {
    insert: db.prepare<[string, string, number, number, string, string]>(
      'INSERT INTO sea_states (id, camera, seq, captured_at_ms, status, payload) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    find: db.prepare<[string, string], Row>(`${RECORDS} WHERE id = ? AND camera = ?`),
    newest: db.prepare<[string], Row>(`${RECORDS} WHERE camera = ? ORDER BY seq DESC LIMIT 1`),
    newestMeasured: db.prepare<[string, number], Row>(
      `${RECORDS} WHERE camera = ? AND captured_at_ms >= ? AND status = 'measured'
       ORDER BY captured_at_ms DESC, row_id DESC LIMIT 1`,
    ),
    page: db.prepare<[string, number, number, number, number], Row>(
      `${RECORDS} WHERE camera = ? AND captured_at_ms >= ? AND (captured_at_ms, row_id) < (?, ?)
       ORDER BY captured_at_ms DESC, row_id DESC LIMIT ?`,
    ),
  };
}
