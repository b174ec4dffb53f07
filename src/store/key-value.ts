import type Database from 'better-sqlite3';
import type { KeyValue } from './types.ts';
import type { Writer } from './writer.ts';

/** Small values that survive a restart, in the table `memory`. */
export class SqliteKeyValue implements KeyValue {
  readonly #writer: Writer;
  readonly #get: Database.Statement<[string], { value: string }>;
  readonly #set: Database.Statement<[string, string]>;
  readonly #delete: Database.Statement<[string]>;

  constructor(deps: { db: Database.Database; writer: Writer }) {
    this.#writer = deps.writer;
    this.#get = deps.db.prepare('SELECT value FROM memory WHERE key = ?');
    this.#set = deps.db.prepare(
      'INSERT INTO memory VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
    );
    this.#delete = deps.db.prepare('DELETE FROM memory WHERE key = ?');
  }

  get(key: string): string | null {
    return this.#get.get(key)?.value ?? null;
  }

  set(key: string, value: string): void {
    // An unchanged value needs no write to the disk.
    if (this.get(key) !== value) this.#writer.write(() => this.#set.run(key, value));
  }

  delete(key: string): void {
    this.#writer.write(() => this.#delete.run(key));
  }
}
