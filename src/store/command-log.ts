import type Database from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import type { CommandLog, HandledCommand } from './types.ts';
import type { Writer } from './writer.ts';

/** Maximum number of commands of any age: a flood of commands must not fill the disk. */
const MAX_COMMANDS = 20_000;
const MAX_RESULT_BYTES = 8 * 1_048_576;
/** Result messages up to this size are never shortened. */
const MAX_SMALL_RESULT_BYTES = 256;
/** Number of result messages that one query reads to shorten them. */
const BATCH_ROWS = 200;

export interface CommandLogOptions {
  readonly maxCommands?: number;
  readonly maxResultBytes?: number;
}

export interface CommandLogDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly clock: Clock;
}

/**
 * Handled commands, bounded by age (see `Retention`), count and bytes. Drop policy: above the count, delete the
 * oldest commands, and before them those that are safe to repeat; above the bytes, remove the field `result` from the
 * oldest result messages.
 */
export class SqliteCommandLog implements CommandLog {
  readonly #deps: CommandLogDeps;
  readonly #maxCommands: number;
  readonly #maxResultBytes: number;
  readonly #statements: ReturnType<typeof prepare>;
  /** At least the number of rows: retention deletes rows without changing this value. */
  #commands: number;
  #resultBytes: number;

  constructor(options: CommandLogOptions, deps: CommandLogDeps) {
    this.#deps = deps;
    this.#maxCommands = options.maxCommands ?? MAX_COMMANDS;
    this.#maxResultBytes = options.maxResultBytes ?? MAX_RESULT_BYTES;
    this.#statements = prepare(deps.db);
    this.#commands = this.#count();
    this.#resultBytes = this.#sumResultBytes();
  }

  find(id: string): HandledCommand | null {
    return this.#statements.find.get(id) ?? null;
  }

  begin(id: string, name: string, isRepeatable = false): void {
    this.#deps.writer.write(() => {
      this.#commands += 1;
      if (this.#commands > this.#maxCommands) this.#deleteOldest();
      this.#statements.begin.run(id, name, Math.round(this.#deps.clock.nowMs()), isRepeatable ? 1 : 0);
    });
  }

  finish(id: string, result: string): void {
    this.#deps.writer.write(() => {
      this.#statements.finish.run(result, id);
      this.#resultBytes += Buffer.byteLength(result);
      if (this.#resultBytes > this.#maxResultBytes) this.#shortenResults();
    });
  }

  /** Deletes commands until there is room for one more. */
  #deleteOldest(): void {
    this.#commands = this.#count() + 1;
    const over = this.#commands - this.#maxCommands;
    if (over > 0) this.#commands -= this.#statements.deleteOldest.run(over).changes;
  }

  /** Removes the field `result` from the oldest large result messages; their field `status` stays. */
  #shortenResults(): void {
    this.#resultBytes = this.#sumResultBytes();
    while (this.#resultBytes > this.#maxResultBytes) {
      const large = this.#statements.large.all(MAX_SMALL_RESULT_BYTES, BATCH_ROWS);
      for (const { position } of large) {
        if (this.#resultBytes <= this.#maxResultBytes) return;
        this.#resultBytes -= this.#removeResult(position);
      }
      if (large.length < BATCH_ROWS) return;
    }
  }

  /** Removes the field `result` of one message. Returns by how many bytes the message became shorter. */
  #removeResult(position: number): number {
    const before = this.#statements.size.get(position)?.bytes ?? 0;
    this.#statements.removeResult.run(position);
    return before - (this.#statements.size.get(position)?.bytes ?? 0);
  }

  #count(): number {
    return this.#statements.count.get()?.commands ?? 0;
  }

  #sumResultBytes(): number {
    return this.#statements.sumResultBytes.get()?.bytes ?? 0;
  }
}

function prepare(db: Database.Database) {
  return {
    find: db.prepare<[string], HandledCommand>('SELECT id, name, result FROM commands WHERE id = ?'),
    begin: db.prepare<[string, string, number, number]>(
      'INSERT INTO commands (id, name, received_at_ms, harmless) VALUES (?, ?, ?, ?)',
    ),
    finish: db.prepare<[string, string]>('UPDATE commands SET result = ? WHERE id = ?'),
    deleteOldest: db.prepare<[number]>(
      `DELETE FROM commands WHERE position IN
         (SELECT position FROM commands ORDER BY harmless DESC, position LIMIT ?)`,
    ),
    large: db.prepare<[number, number], { position: number }>(
      `SELECT position FROM commands
       WHERE octet_length(result) > ? AND json_type(result, '$.result') IS NOT NULL
       ORDER BY position LIMIT ?`,
    ),
    removeResult: db.prepare<[number]>(
      `UPDATE commands SET result = json_remove(result, '$.result') WHERE position = ?`,
    ),
    size: db.prepare<[number], { bytes: number }>(
      'SELECT octet_length(result) AS bytes FROM commands WHERE position = ?',
    ),
    count: db.prepare<[], { commands: number }>('SELECT count(*) AS commands FROM commands'),
    sumResultBytes: db.prepare<[], { bytes: number }>(
      'SELECT coalesce(sum(octet_length(result)), 0) AS bytes FROM commands',
    ),
  };
}
