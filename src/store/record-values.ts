import type Database from 'better-sqlite3';
import type { Observation, Reason, Wave } from '../contract/observation.ts';
import type { HistoryPosition } from './history.ts';
import { readCursor, writeCursor, MAX_TIME_MS } from './observations.ts';
import type { Writer } from './writer.ts';

/** The values of a record that charts and lists show. */
export interface RecordValues {
  readonly id: string;
  readonly capturedAtMs: number;
  readonly status: Observation['status'];
  readonly heightM: number | null;
  readonly lowM: number | null;
  readonly highM: number | null;
  readonly basis: Wave['height_basis'];
  readonly periodS: number | null;
  readonly periodLowS: number | null;
  readonly periodHighS: number | null;
  readonly quality: number | null;
  /** The main reason; null without one. */
  readonly reason: Reason | null;
  readonly isSimulated: boolean;
  /** What the model saw is still stored, so that a label is possible. */
  readonly isLabellable: boolean;
}

/** A part of the records of one camera with one status. */
export interface SampledRecords {
  /** All records of the part. */
  readonly count: number;
  /** All of them, or `limit` that are evenly spread in time. */
  readonly values: readonly RecordValues[];
}

export interface ValuesPage {
  /** Newest first. */
  readonly values: readonly RecordValues[];
  readonly cursor: string | null;
}

interface Row {
  readonly id: string;
  readonly captured_at_ms: number;
  readonly status: Observation['status'];
  readonly labellable: number;
  /** A JSON array in the order of `PATHS`. */
  readonly found: string;
}

const PATHS = [
  '$.wave.height_m',
  '$.wave.height_low_m',
  '$.wave.height_high_m',
  '$.wave.height_basis',
  '$.wave.period_s',
  '$.wave.period_low_s',
  '$.wave.period_high_s',
  '$.quality.score',
  '$.reasons[0]',
  '$.simulated',
] as const;

/** SQL: the values alone. SQLite parses the JSON of a record faster than JavaScript, and does not copy it. */
const VALUES = `o.id, o.captured_at_ms, o.status,
    json_extract(o.payload, ${PATHS.map((path) => `'${path}'`).join(', ')}) AS found,
    EXISTS (SELECT 1 FROM recent_bursts r WHERE r.row_id = o.row_id) AS labellable`;

/** Reads single values of many stored records. Each call takes at most some milliseconds. */
export class RecordValueReader {
  readonly #writer: Writer;
  readonly #sql: ReturnType<typeof prepare>;

  constructor({ db, writer }: { readonly db: Database.Database; readonly writer: Writer }) {
    this.#writer = writer;
    this.#sql = prepare(db);
  }

  /** Records of a camera with a status, captured from `fromMs` until before `toMs`; at most `limit`, evenly spread. */
  sample(
    camera: string,
    status: Observation['status'],
    { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
    limit: number,
  ): SampledRecords {
    return this.#writer.read(() => {
      const range = { camera, status, fromMs, toMs };
      const rowIds = this.#sql.rowIds.all({ ...range, limit: limit + 1 });
      if (rowIds.length <= limit) return { count: rowIds.length, values: this.#read(rowIds) };
      const { count } = this.#sql.count.get(range) ?? { count: rowIds.length };
      return { count, values: this.#read(this.#spread(range, limit)) };
    });
  }

  /** The first record after the start of each of `limit` equal parts of the range. */
  #spread(range: Range, limit: number): number[] {
    const { fromMs, toMs } = range;
    const found = new Set<number>();
    for (let part = 0; part < limit; part += 1) {
      const partMs = fromMs + ((toMs - fromMs) * part) / limit;
      const [rowId] = this.#sql.rowIds.all({ ...range, fromMs: Math.ceil(partMs), limit: 1 });
      if (rowId !== undefined) found.add(rowId);
    }
    return [...found];
  }

  #read(rowIds: readonly number[]): RecordValues[] {
    return rowIds.flatMap((rowId) => {
      const row = this.#sql.byRowId.get(rowId);
      return row ? [toValues(row)] : [];
    });
  }

  /** One page of the records with these ids, newest first. Throws `usage` for an invalid cursor. */
  ofIds(
    ids: readonly string[],
    query: {
      readonly fromMs?: number;
      readonly toMs?: number;
      readonly limit: number;
      readonly cursor?: string;
    },
  ): ValuesPage {
    const { fromMs = -MAX_TIME_MS, toMs = MAX_TIME_MS, limit, cursor } = query;
    const after = cursor === undefined ? null : readCursor(cursor);
    const before = after && after.captured_at_ms < toMs ? after : { captured_at_ms: toMs, row_id: 0 };
    return this.#writer.read(() => {
      const positions = this.#sql.positions.all({
        ids: JSON.stringify(ids),
        ...{ fromMs, beforeMs: before.captured_at_ms, beforeRow: before.row_id, limit: limit + 1 },
      });
      const shown = positions.slice(0, limit);
      const last = shown.at(-1);
      return {
        values: this.#read(shown.map(({ row_id }) => row_id)),
        cursor: positions.length > limit && last ? writeCursor(last) : null,
      };
    });
  }

  /** Mean level of the water of at most twenty clips of a camera in this time; null when none knows it. */
  tideM(camera: string, { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number }): number | null {
    return this.#writer.read(() => this.#sql.tide.get(camera, fromMs, toMs)?.tide ?? null);
  }
}

interface Range {
  readonly camera: string;
  readonly status: string;
  readonly fromMs: number;
  readonly toMs: number;
}

function toValues(row: Row): RecordValues {
  const [heightM, lowM, highM, basis, periodS, periodLowS, periodHighS, quality, reason, simulated] =
    JSON.parse(row.found) as [
      ...[number | null, number | null, number | null, Wave['height_basis']],
      ...[number | null, number | null, number | null, number | null],
      ...[Reason | null, boolean | null],
    ];
  return {
    ...{ id: row.id, capturedAtMs: row.captured_at_ms, status: row.status },
    ...{ heightM, lowM, highM, basis, periodS, periodLowS, periodHighS, quality, reason },
    isSimulated: simulated === true,
    isLabellable: row.labellable === 1,
  };
}

function prepare(db: Database.Database) {
  const inRange = `FROM history WHERE camera = @camera AND status = @status
       AND captured_at_ms >= @fromMs AND captured_at_ms < @toMs`;
  return {
    rowIds: db
      .prepare<[Range & { readonly limit: number }], number>(
        `SELECT row_id ${inRange} ORDER BY captured_at_ms, row_id LIMIT @limit`,
      )
      .pluck(),
    count: db.prepare<[Range], { count: number }>(`SELECT count(*) AS count ${inRange}`),
    byRowId: db.prepare<[number], Row>(`SELECT ${VALUES} FROM observations o WHERE o.row_id = ?`),
    positions: db.prepare<[Record<string, string | number>], HistoryPosition>(
      `SELECT o.captured_at_ms, o.row_id FROM json_each(@ids) i CROSS JOIN observations o
       WHERE o.id = i.value AND o.captured_at_ms >= @fromMs
         AND (o.captured_at_ms, o.row_id) < (@beforeMs, @beforeRow)
       ORDER BY o.captured_at_ms DESC, o.row_id DESC LIMIT @limit`,
    ),
    tide: db.prepare<[string, number, number], { tide: number | null }>(
      `SELECT avg(payload ->> '$.breaker.tide_m') AS tide FROM (SELECT payload FROM sea_states
         WHERE camera = ? AND captured_at_ms >= ? AND captured_at_ms < ? ORDER BY captured_at_ms LIMIT 20)`,
    ),
  };
}
