import { rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { isCorrupt } from './file/store-errors.ts';

export interface CachedAnswer {
  readonly json: string;
  readonly checksum: number;
  readonly bootId: string;
  readonly monoMs: number;
  readonly wallMs: number;
}

export interface CacheTally {
  readonly entries: number;
  /** Of keys and answers. */
  readonly sizeBytes: number;
}

export interface CacheBounds {
  readonly maxEntries: number;
  readonly maxBytes: number;
  readonly isStale: (row: Pick<CachedAnswer, 'bootId' | 'monoMs' | 'wallMs'>) => boolean;
}

type Row = Pick<CachedAnswer, 'bootId' | 'monoMs' | 'wallMs'> & {
  readonly id: number;
  readonly sizeBytes: number;
};

/** Raised with the schema: a file of another one is begun anew, for nothing in it must be kept. */
const VERSION = 1;
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
  PRAGMA user_version = ${VERSION};`;
const LOOKED_AT = 64;
/** Stale answers that go at a time: the event loop waits, and after an hour without a request all of them are stale. */
const STALE_AT_ONCE = 256;

/** The table of answers, in the order in which they were written. Methods throw as SQLite does. */
export class CacheFile {
  readonly #db: Database.Database;
  readonly #statements: ReturnType<typeof prepare>;
  #tally: CacheTally;

  static pathIn(stateDir: string): string {
    return join(stateDir, 'swellsight.cache.db');
  }

  static delete(path: string): void {
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true });
  }

  /** A broken file, or one of another schema, is deleted and begun anew. */
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
    // It is ours alone, and the event loop waits for nobody.
    this.#db = new Database(path, { timeout: 0 });
    try {
      begin(this.#db);
      this.#statements = prepare(this.#db);
      this.#tally = this.#statements.tally.get() ?? { entries: 0, sizeBytes: 0 };
    } catch (thrown) {
      this.#db.close();
      throw thrown;
    }
  }

  get tally(): CacheTally {
    return this.#tally;
  }

  find(key: string): CachedAnswer | null {
    return this.#statements.find.get(key) ?? null;
  }

  /**
   * Replaces what is there under the same keys; the oldest go while they are more than the bounds allow, and some of
   * those that are stale.
   */
  add(answers: readonly (CachedAnswer & { readonly key: string })[], bounds: CacheBounds): void {
    this.#tally = this.#db.transaction(() => this.#add(answers, bounds)).immediate();
  }

  #add(answers: readonly (CachedAnswer & { readonly key: string })[], bounds: CacheBounds): CacheTally {
    const { insert, removeKey, removeId, setTally } = this.#statements;
    let { entries, sizeBytes } = this.#tally;
    const removed = (row: Pick<Row, 'sizeBytes'> | undefined): void => {
      if (!row) return;
      entries -= 1;
      sizeBytes -= row.sizeBytes;
    };
    for (const { key, json, ...rest } of answers) {
      removed(removeKey.get(key));
      const bytes = Buffer.byteLength(key) + Buffer.byteLength(json);
      insert.run({ ...rest, key, json, sizeBytes: bytes });
      entries += 1;
      sizeBytes += bytes;
    }
    let gone = 0;
    for (const row of this.#oldest()) {
      const over = entries > bounds.maxEntries || sizeBytes > bounds.maxBytes;
      if (!over && (gone >= STALE_AT_ONCE || !bounds.isStale(row))) break;
      removed(removeId.get(row.id));
      gone += 1;
    }
    setTally.run(entries, sizeBytes);
    return { entries, sizeBytes };
  }

  *#oldest(): Generator<Row, void, undefined> {
    for (let afterId = 0; ;) {
      const rows = this.#statements.oldest.all(afterId, LOOKED_AT);
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

function begin(db: Database.Database): void {
  db.pragma('locking_mode = EXCLUSIVE');
  db.pragma('journal_mode = WAL');
  // No request waits for the disk. What a power cut leaves is found broken when it is read.
  db.pragma('synchronous = OFF');
  db.pragma('cache_size = -256');
  db.pragma('wal_autocheckpoint = 256');
  db.pragma('journal_size_limit = 1048576');
  const found = Number(db.pragma('user_version', { simple: true }));
  if (found === VERSION) return;
  if (found !== 0 || db.prepare('SELECT 1 FROM sqlite_schema').get() !== undefined) throw new OtherSchema();
  db.transaction(() => db.exec(SCHEMA)).immediate();
}

function prepare(db: Database.Database) {
  return {
    find: db.prepare<[string], CachedAnswer>(
      `SELECT json, checksum, boot_id AS bootId, mono_ms AS monoMs, wall_ms AS wallMs
       FROM answers WHERE key = ?`,
    ),
    insert: db.prepare<[CachedAnswer & { readonly key: string; readonly sizeBytes: number }]>(
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
    tally: db.prepare<[], CacheTally>('SELECT entries, size_bytes AS sizeBytes FROM tally'),
    setTally: db.prepare<[number, number]>('UPDATE tally SET entries = ?, size_bytes = ?'),
  };
}
