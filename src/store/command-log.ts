import type Database from 'better-sqlite3';
import type { Clock } from '../clock.ts';
import type { CommandLog, HandledCommand } from './types.ts';
import type { Writer } from './writer.ts';

/** Commands kept at most: a flood of them must not fill the disk. */
const MOST_KEPT = 10_000;

export class SqliteCommandLog implements CommandLog {
  readonly #deps: { writer: Writer; clock: Clock };
  readonly #find: Database.Statement<[string], HandledCommand>;
  readonly #begin: Database.Statement<[string, string, number]>;
  readonly #bound: Database.Statement<[number]>;
  readonly #finish: Database.Statement<[string, string]>;

  constructor(deps: { db: Database.Database; writer: Writer; clock: Clock }) {
    this.#deps = deps;
    this.#find = deps.db.prepare('SELECT id, name, result FROM commands WHERE id = ?');
    this.#begin = deps.db.prepare('INSERT INTO commands (id, name, received_at_ms) VALUES (?, ?, ?)');
    this.#bound = deps.db.prepare(
      `DELETE FROM commands WHERE id IN
         (SELECT id FROM commands ORDER BY received_at_ms DESC LIMIT -1 OFFSET ?)`,
    );
    this.#finish = deps.db.prepare('UPDATE commands SET result = ? WHERE id = ?');
  }

  find(id: string): HandledCommand | null {
    return this.#find.get(id) ?? null;
  }

  begin(id: string, name: string): void {
    this.#deps.writer.write(() => {
      this.#begin.run(id, name, Math.round(this.#deps.clock.nowMs()));
      this.#bound.run(MOST_KEPT);
    });
  }

  finish(id: string, result: string): void {
    this.#deps.writer.write(() => this.#finish.run(result, id));
  }
}
