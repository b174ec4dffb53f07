import { readFileSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { replaceFile } from './durable-file.ts';

/** Numbers are reserved in blocks of this many, so that the side file is written once a block. */
const BLOCK = 16;

interface Marks {
  readonly format: 1;
  /** No number above it was ever given out; `published`: all numbers up to it had left the outbox. */
  readonly streams: Readonly<Record<string, { readonly reserved: number; readonly published: number }>>;
  readonly droppedTotal: number;
}

/**
 * Gives out `seq` per stream, by ones, never twice. The numbers live in the database, in the transaction of their
 * record. A side file holds a high-water mark ahead of them: when the database is lost, or was rolled back by a disk
 * that lied about its writes, numbering goes on above the mark, and the numbers jumped over are counted as dropped.
 */
export class Sequences {
  readonly #path: string;
  readonly #advance: Database.Statement<[string], { value: number }>;
  readonly #raiseTo: Database.Statement<[string, number]>;
  readonly #oldestQueued: Database.Statement<[string], { seq: number | null }>;
  readonly #addDropped: Database.Statement<[number]>;
  readonly #read: Database.Statement<[string], { value: number }>;
  readonly #counters: Database.Statement<[], { name: string; value: number }>;
  #streams: Record<string, { reserved: number; published: number }> = {};

  constructor(path: string, db: Database.Database) {
    this.#path = path;
    this.#advance = db.prepare(
      'INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value',
    );
    this.#raiseTo = db.prepare(
      'INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)',
    );
    this.#oldestQueued = db.prepare('SELECT min(seq) AS seq FROM outbox WHERE stream = ?');
    this.#addDropped = db.prepare(
      `INSERT INTO counters VALUES ('dropped_total', ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value`,
    );
    this.#read = db.prepare('SELECT value FROM counters WHERE name = ?');
    this.#counters = db.prepare(`SELECT name, value FROM counters WHERE name LIKE 'seq:%'`);
  }

  /**
   * Compares the database with the side file; call once, in a transaction, before the first `next`.
   * Returns how many records are missing from the database at most: 0 unless it was lost or rolled back.
   */
  reconcile(): number {
    const marks = readMarks(this.#path);
    this.#streams = { ...marks?.streams };
    let lost = 0;
    for (const [stream, { reserved, published }] of Object.entries(this.#streams)) {
      const last = this.#read.get(`seq:${stream}`)?.value ?? 0;
      if (last >= reserved - BLOCK) continue;
      this.#raiseTo.run(`seq:${stream}`, reserved);
      lost += reserved - Math.max(published, last);
    }
    // Nothing to compare with: begin the file from what the database knows.
    if (!marks)
      for (const { name, value } of this.#counters.all())
        this.#streams[name.slice('seq:'.length)] = { reserved: value, published: 0 };
    if (marks) this.#raiseTo.run('dropped_total', marks.droppedTotal);
    if (lost > 0) this.#addDropped.run(lost);
    return lost;
  }

  /** The next number of the stream; call it in the transaction that stores the record. */
  next(stream: string): number {
    const seq = this.#advance.get(`seq:${stream}`)?.value ?? 1;
    if (seq > (this.#streams[stream]?.reserved ?? 0)) this.#reserve(stream, seq);
    return seq;
  }

  /** The number given out last; 0 before the first. */
  last(stream: string): number {
    return this.#read.get(`seq:${stream}`)?.value ?? 0;
  }

  /** Counts records that left the outbox unsent; call it in the transaction that removes them. */
  countDropped(records: number): void {
    this.#addDropped.run(records);
  }

  droppedTotal(): number {
    return this.#read.get('dropped_total')?.value ?? 0;
  }

  /** Drops that an event has told of; set it in the transaction that stores the event. */
  get droppedReported(): number {
    return this.#read.get('dropped_reported')?.value ?? 0;
  }

  set droppedReported(total: number) {
    this.#raiseTo.run('dropped_reported', total);
  }

  #reserve(stream: string, seq: number): void {
    const mark = { reserved: seq + BLOCK - 1, published: this.#publishedUpTo(stream, seq - 1) };
    const streams = { ...this.#streams, [stream]: mark };
    const marks: Marks = { format: 1, streams, droppedTotal: this.droppedTotal() };
    // On the disk before the transaction commits: a number is never out without its mark.
    replaceFile(this.#path, JSON.stringify(marks));
    this.#streams = streams;
  }

  #publishedUpTo(stream: string, last: number): number {
    const oldest = this.#oldestQueued.get(stream)?.seq;
    return typeof oldest === 'number' ? oldest - 1 : last;
  }
}

/** Null when there is no file, or none that can be read. */
function readMarks(path: string): Marks | null {
  try {
    const marks = JSON.parse(readFileSync(path, 'utf8')) as Partial<Marks> | null;
    if (marks?.format !== 1 || typeof marks.droppedTotal !== 'number') return null;
    const streams = Object.entries(marks.streams ?? {}).filter(
      ([, mark]) => Number.isSafeInteger(mark.reserved) && Number.isSafeInteger(mark.published),
    );
    return { format: 1, streams: Object.fromEntries(streams), droppedTotal: marks.droppedTotal };
  } catch {
    return null;
  }
}
