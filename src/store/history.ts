import type Database from 'better-sqlite3';

/** Series that one statement merges. SQLite allows 500. */
const MAX_MERGED = 100;

/** The records of one camera with one status. */
interface Series {
  readonly camera: string;
  readonly status: string;
}

/** The place of a record in the history. */
export interface HistoryPosition {
  readonly captured_at_ms: number;
  readonly row_id: number;
}

export interface HistoryRange {
  /** Null: all cameras. */
  readonly camera: string | null;
  /** Null: any status. */
  readonly status: string | null;
  /** Inclusive. */
  readonly fromMs: number;
  /** Exclusive. */
  readonly before: HistoryPosition;
  readonly limit: number;
}

/**
 * The table `history`: the order of the records by time within each series. Triggers keep it equal to `observations`. A
 * query merges its series, which are all in order, so it reads no more rows than it returns.
 */
export class History {
  readonly #db: Database.Database;
  readonly #nextStatus: Database.Statement<[string, string], Series>;
  readonly #nextCamera: Database.Statement<[string], Series>;
  /** By the number of merged series. */
  readonly #merges = new Map<number, Database.Statement<[Record<string, unknown>], HistoryPosition>>();

  constructor(db: Database.Database) {
    this.#db = db;
    // Two statements, because SQLite would read every row of a series to find one after `(camera, status) > (?, ?)`.
    this.#nextStatus = db.prepare(
      'SELECT camera, status FROM history WHERE camera = ? AND status > ? ORDER BY status LIMIT 1',
    );
    this.#nextCamera = db.prepare(
      'SELECT camera, status FROM history WHERE camera > ? ORDER BY camera, status LIMIT 1',
    );
  }

  /** The newest positions of the range, newest first. */
  newest({ camera, status, fromMs, before, limit }: HistoryRange): readonly HistoryPosition[] {
    const series = this.#seriesOf(camera).filter((one) => status === null || one.status === status);
    const found: HistoryPosition[] = [];
    for (let start = 0; start < series.length; start += MAX_MERGED) {
      const merged = series.slice(start, start + MAX_MERGED);
      const names: Record<string, string> = {};
      for (const [index, one] of merged.entries()) {
        names[`camera${index}`] = one.camera;
        names[`status${index}`] = one.status;
      }
      const bounds = { fromMs, beforeMs: before.captured_at_ms, beforeRow: before.row_id, limit };
      found.push(...this.#merge(merged.length).all({ ...names, ...bounds }));
    }
    return series.length <= MAX_MERGED ? found : found.toSorted(newestFirst).slice(0, limit);
  }

  /** The series that have records, of one camera or of all. One or two seeks for each. */
  #seriesOf(camera: string | null): readonly Series[] {
    const found: Series[] = [];
    let next = camera === null ? this.#nextCamera.get('') : this.#nextStatus.get(camera, '');
    while (next) {
      found.push(next);
      const { camera: last, status } = next;
      next = this.#nextStatus.get(last, status) ?? (camera === null ? this.#nextCamera.get(last) : undefined);
    }
    return found;
  }

  #merge(count: number): Database.Statement<[Record<string, unknown>], HistoryPosition> {
    const known = this.#merges.get(count);
    if (known) return known;
    const statement = this.#db.prepare<[Record<string, unknown>], HistoryPosition>(mergeSql(count));
    this.#merges.set(count, statement);
    return statement;
  }
}

const newestFirst = (a: HistoryPosition, b: HistoryPosition): number =>
  b.captured_at_ms - a.captured_at_ms || b.row_id - a.row_id;

/** SQL: the newest rows of `count` series. SQLite reads them in parallel, in their order, and stops at the limit. */
function mergeSql(count: number): string {
  const one = (index: number): string =>
    `SELECT captured_at_ms, row_id FROM history WHERE camera = @camera${index} AND status = @status${index}
       AND captured_at_ms >= @fromMs AND (captured_at_ms, row_id) < (@beforeMs, @beforeRow)`;
  const all = Array.from({ length: count }, (_, index) => one(index)).join('\n UNION ALL ');
  return `${all}\n ORDER BY captured_at_ms DESC, row_id DESC LIMIT @limit`;
}
