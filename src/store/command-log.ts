import type Database from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import type { CommandLog, HandledCommand } from './types.ts';
import type { Writer } from './writer.ts';

/** Kept at most, whatever their age: a flood of commands must not fill the disk. */
const MAX_KEPT = 20_000;
const MAX_RESULT_BYTES = 8 * 1_048_576;
/** Answers up to this are kept whole until their command is forgotten. */
const SMALL_RESULT_BYTES = 256;
/** Answers shortened in one transaction. */
const BATCH = 200;

export interface CommandLogOptions {
  readonly mostKept?: number;
  readonly mostResultBytes?: number;
}

export interface CommandLogDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly clock: Clock;
}

/**
 * What was handled, bounded by age (retention), number and bytes. Above the number the oldest are forgotten, first
 * those that do no harm when they run again; above the bytes the oldest answers lose their `result`.
 */
export class SqliteCommandLog implements CommandLog {
  readonly #deps: CommandLogDeps;
  readonly #mostKept: number;
  readonly #mostResultBytes: number;
  readonly #statements: ReturnType<typeof prepare>;
  /** At least as many as there are: retention takes some away unseen. */
  #kept: number;
  #resultBytes: number;

  constructor(options: CommandLogOptions, deps: CommandLogDeps) {
    this.#deps = deps;
    this.#mostKept = options.mostKept ?? MAX_KEPT;
    this.#mostResultBytes = options.mostResultBytes ?? MAX_RESULT_BYTES;
    this.#statements = prepare(deps.db);
    this.#kept = this.#count();
    this.#resultBytes = this.#measure();
  }

  find(id: string): HandledCommand | null {
    return this.#statements.find.get(id) ?? null;
  }

  begin(id: string, name: string, harmless = false): void {
    this.#deps.writer.write(() => {
      this.#kept += 1;
      if (this.#kept > this.#mostKept) this.#forget();
      this.#statements.begin.run(id, name, Math.round(this.#deps.clock.nowMs()), harmless ? 1 : 0);
    });
  }

  finish(id: string, result: string): void {
    this.#deps.writer.write(() => {
      this.#statements.finish.run(result, id);
      this.#resultBytes += Buffer.byteLength(result);
      if (this.#resultBytes > this.#mostResultBytes) this.#shorten();
    });
  }

  /** Makes room for one more. */
  #forget(): void {
    this.#kept = this.#count() + 1;
    const over = this.#kept - this.#mostKept;
    if (over > 0) this.#kept -= this.#statements.forget.run(over).changes;
  }

  /** Takes the `result` out of the oldest large answers; their status stays. */
  #shorten(): void {
    this.#resultBytes = this.#measure();
    while (this.#resultBytes > this.#mostResultBytes) {
      const large = this.#statements.large.all(SMALL_RESULT_BYTES, BATCH);
      for (const { position } of large) {
        if (this.#resultBytes <= this.#mostResultBytes) return;
        const [before, after] = this.#cut(position);
        this.#resultBytes -= before - after;
      }
      if (large.length < BATCH) return;
    }
  }

  #cut(position: number): readonly [number, number] {
    const before = this.#statements.sizeOf.get(position)?.size ?? 0;
    this.#statements.cut.run(position);
    return [before, this.#statements.sizeOf.get(position)?.size ?? 0];
  }

  #count(): number {
    return this.#statements.count.get()?.kept ?? 0;
  }

  #measure(): number {
    return this.#statements.measure.get()?.bytes ?? 0;
  }
}

function prepare(db: Database.Database) {
  return {
    find: db.prepare<[string], HandledCommand>('SELECT id, name, result FROM commands WHERE id = ?'),
    begin: db.prepare<[string, string, number, number]>(
      'INSERT INTO commands (id, name, received_at_ms, harmless) VALUES (?, ?, ?, ?)',
    ),
    finish: db.prepare<[string, string]>('UPDATE commands SET result = ? WHERE id = ?'),
    forget: db.prepare<[number]>(
      `DELETE FROM commands WHERE position IN
         (SELECT position FROM commands ORDER BY harmless DESC, position LIMIT ?)`,
    ),
    large: db.prepare<[number, number], { position: number }>(
      `SELECT position FROM commands
       WHERE octet_length(result) > ? AND json_type(result, '$.result') IS NOT NULL
       ORDER BY position LIMIT ?`,
    ),
    cut: db.prepare<[number]>(
      `UPDATE commands SET result = json_remove(result, '$.result') WHERE position = ?`,
    ),
    sizeOf: db.prepare<[number], { size: number }>(
      'SELECT octet_length(result) AS size FROM commands WHERE position = ?',
    ),
    count: db.prepare<[], { kept: number }>('SELECT count(*) AS kept FROM commands'),
    measure: db.prepare<[], { bytes: number }>(
      'SELECT coalesce(sum(octet_length(result)), 0) AS bytes FROM commands',
    ),
  };
}
