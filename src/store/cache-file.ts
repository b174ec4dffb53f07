import { rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { createPrivateFile } from './file/private-files.ts';
import { isCorrupt } from './file/store-errors.ts';
import type { AnalysisCacheStats } from './types.ts';

export interface CachedResult {
  readonly json: string;
  readonly checksum: number;
  readonly bootId: string;
  readonly monoMs: number;
  readonly wallMs: number;
}

export type CacheTotals = Pick<AnalysisCacheStats, 'entries' | 'sizeBytes'>;

export interface CacheBounds {
  readonly maxEntries: number;
  readonly maxBytes: number;
  readonly isStale: (row: Pick<CachedResult, 'bootId' | 'monoMs' | 'wallMs'>) => boolean;
}

type Row = Pick<CachedResult, 'bootId' | 'monoMs' | 'wallMs'> & {
  readonly id: number;
  readonly sizeBytes: number;
};

/**
 * Increase it with each change of the schema. The agent deletes a file of another version, because it is only a cache.
 */
const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    size_bytes INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    mono_ms REAL NOT NULL,
    wall_ms REAL NOT NULL,
    checksum INTEGER NOT NULL,
    json TEXT NOT NULL
  );
  CREATE TABLE tally (entries INTEGER NOT NULL, size_bytes INTEGER NOT NULL);
  INSERT INTO tally VALUES (0, 0);
  PRAGMA user_version = ${SCHEMA_VERSION};`;
/** Rows that one query reads while `add` looks for rows to delete. */
const BATCH_ROWS = 64;
/** Maximum number of stale rows that one `add` deletes: after an hour without requests, all rows can be stale. */
const MAX_STALE_DELETED = 256;

/**
 * The SQLite file of `SqliteAnalysisCache`. Drop policy: the rows that were written first. Methods throw the errors of
 * SQLite.
 */
export class CacheFile {
  readonly #db: Database.Database;
  readonly #statements: ReturnType<typeof prepare>;
  #totals: CacheTotals;

  static pathIn(stateDir: string): string {
    return join(stateDir, 'swellsight.cache.db');
  }

  static delete(path: string): void {
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true });
  }

  /** Opens the file. Replaces a damaged file, or a file with another schema, by an empty file. */
  static open(path: string): CacheFile {
    try {
      return new CacheFile(path);
    } catch (thrown) {
      if (!isCorrupt(thrown) && !(thrown instanceof OtherSchema)) throw thrown;
      CacheFile.delete(path);
      return new CacheFile(path);
    }
  }

  private constructor(path: string) {
    createPrivateFile(path);
    // No other process uses this file, so there is no lock to wait for.
    this.#db = new Database(path, { timeout: 0 });
    try {
      configure(this.#db);
      this.#statements = prepare(this.#db);
      this.#totals = this.#statements.totals.get() ?? { entries: 0, sizeBytes: 0 };
    } catch (thrown) {
      this.#db.close();
      throw thrown;
    }
  }

  get totals(): CacheTotals {
    return this.#totals;
  }

  find(key: string): CachedResult | null {
    return this.#statements.find.get(key) ?? null;
  }

  /**
   * Adds results and replaces those under the same keys. Then deletes the oldest rows while the bounds are exceeded,
   * and some stale rows.
   */
  add(results: readonly (CachedResult & { readonly key: string })[], bounds: CacheBounds): void {
    this.#totals = this.#db.transaction(() => this.#add(results, bounds)).immediate();
  }

  #add(results: readonly (CachedResult & { readonly key: string })[], bounds: CacheBounds): CacheTotals {
    const { insert, removeKey, removeId, setTotals } = this.#statements;
    let { entries, sizeBytes } = this.#totals;
    const subtract = (row: Pick<Row, 'sizeBytes'> | undefined): void => {
      if (!row) return;
      entries -= 1;
      sizeBytes -= row.sizeBytes;
    };
    for (const { key, json, ...rest } of results) {
      subtract(removeKey.get(key));
      const bytes = Buffer.byteLength(key) + Buffer.byteLength(json);
      insert.run({ ...rest, key, json, sizeBytes: bytes });
      entries += 1;
      sizeBytes += bytes;
    }
    let deleted = 0;
    for (const row of this.#oldest()) {
      const isOver = entries > bounds.maxEntries || sizeBytes > bounds.maxBytes;
      if (!isOver && (deleted >= MAX_STALE_DELETED || !bounds.isStale(row))) break;
      subtract(removeId.get(row.id));
      deleted += 1;
    }
    setTotals.run(entries, sizeBytes);
    return { entries, sizeBytes };
  }

  *#oldest(): Generator<Row, void, undefined> {
    for (let afterId = 0; ;) {
      const rows = this.#statements.oldest.all(afterId, BATCH_ROWS);
      yield* rows;
      const last = rows.at(-1);
      if (!last) return;
      afterId = last.id;
    }
  }

  close(): void {
    this.#db.close();
  }
}

class OtherSchema extends Error {}

function configure(db: Database.Database): void {
  db.pragma('locking_mode = EXCLUSIVE');
  db.pragma('journal_mode = WAL');
  // No write waits for the disk. A power cut may damage the file; the agent detects this when it reads the file.
  db.pragma('synchronous = OFF');
  db.pragma('cache_size = -256');
  db.pragma('wal_autocheckpoint = 256');
  db.pragma('journal_size_limit = 1048576');
  const found = Number(db.pragma('user_version', { simple: true }));
  if (found === SCHEMA_VERSION) return;
  if (found !== 0 || db.prepare('SELECT 1 FROM sqlite_schema').get() !== undefined) throw new OtherSchema();
  db.transaction(() => db.exec(SCHEMA)).immediate();
}

function prepare(db: Database.Database) {
  return {
    find: db.prepare<[string], CachedResult>(
      `SELECT json, checksum, boot_id AS bootId, mono_ms AS monoMs, wall_ms AS wallMs
       FROM answers WHERE key = ?`,
    ),
    insert: db.prepare<[CachedResult & { readonly key: string; readonly sizeBytes: number }]>(
      `INSERT INTO answers (key, size_bytes, boot_id, mono_ms, wall_ms, checksum, json)
       VALUES (@key, @sizeBytes, @bootId, @monoMs, @wallMs, @checksum, @json)`,
    ),
    removeKey: db.prepare<[string], Pick<Row, 'sizeBytes'>>(
      'DELETE FROM answers WHERE key = ? RETURNING size_bytes AS sizeBytes',
    ),
    removeId: db.prepare<[number], Pick<Row, 'sizeBytes'>>(
      'DELETE FROM answers WHERE id = ? RETURNING size_bytes AS sizeBytes',
    ),
    oldest: db.prepare<[number, number], Row>(
      `SELECT id, size_bytes AS sizeBytes, boot_id AS bootId, mono_ms AS monoMs, wall_ms AS wallMs
       FROM answers WHERE id > ? ORDER BY id LIMIT ?`,
    ),
    totals: db.prepare<[], CacheTotals>('SELECT entries, size_bytes AS sizeBytes FROM tally'),
    setTotals: db.prepare<[number, number]>('UPDATE tally SET entries = ?, size_bytes = ?'),
  };
}
