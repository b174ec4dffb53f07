import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type Database from 'better-sqlite3';
import { replaceFile } from '../base/atomic-file.ts';
import { makeFolder } from '../base/make-folder.ts';
import { isFull } from './file/store-errors.ts';

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
  readonly #queuedAbove: Database.Statement<[string, number], { rows: number }>;
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
    this.#queuedAbove = db.prepare('SELECT count(*) AS rows FROM outbox WHERE stream = ? AND seq > ?');
    this.#addDropped = db.prepare(
      `INSERT INTO counters VALUES ('dropped_total', ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value`,
    );
    this.#read = db.prepare('SELECT value FROM counters WHERE name = ?');
    this.#counters = db.prepare(`SELECT name, value FROM counters WHERE name LIKE 'seq:%'`);
  }

  /**
   * Compares the database with the side file; call once, in a transaction, before the first `next`.
   * `salvaged`: the numbers of a broken database that this one follows.
   * Returns how many records are missing from the database at most: 0 unless it was lost or rolled back.
   */
  reconcile(salvaged: readonly { readonly name: string; readonly value: number }[] = []): number {
    const marks = readMarks(this.#path);
    this.#streams = { ...marks?.streams };
    // A database that never gave out a number was begun a moment ago.
    const begun = this.#counters.all().length === 0;
    let lost = 0;
    for (const [stream, { reserved, published }] of Object.entries(this.#streams)) {
      const last = this.#read.get(`seq:${stream}`)?.value ?? 0;
      if (!begun && last >= reserved - BLOCK) continue;
      this.#raiseTo.run(`seq:${stream}`, reserved);
      const known = Math.max(published, last);
      lost += reserved - known - (this.#queuedAbove.get(stream, known)?.rows ?? 0);
    }
    // Without the side file the broken one is the only witness; its last page may be an old one.
    if (!marks)
      for (const { name, value } of salvaged) {
        this.#raiseTo.run(name, value + BLOCK);
        lost += BLOCK;
      }
    // Nothing to compare with: begin the file from what the database knows.
    if (!marks)
      for (const { name, value } of this.#counters.all())
        this.#streams[name.slice('seq:'.length)] = { reserved: value, published: 0 };
    if (marks) this.#raiseTo.run('dropped_total', marks.droppedTotal);
    if (lost > 0) this.#addDropped.run(lost);
    // A full disk has no room for a new file, but for other text in one that is there.
    if (!marks) this.#writeWherePossible();
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

  /** Writes the side file again: its folder may be another one than before. */
  save(): void {
    makeFolder(dirname(this.#path));
    this.#write(this.#streams);
  }

  #reserve(stream: string, seq: number): void {
    const mark = { reserved: seq + BLOCK - 1, published: this.#publishedUpTo(stream, seq - 1) };
    const streams = { ...this.#streams, [stream]: mark };
    // On the disk before the transaction commits: a number is never out without its mark.
    this.#write(streams);
    this.#streams = streams;
  }

  #writeWherePossible(): void {
    try {
      this.#write(this.#streams);
    } catch (error) {
      if (!isFull(error)) throw error;
    }
  }

  #write(streams: Marks['streams']): void {
    const marks: Marks = { format: 1, streams, droppedTotal: this.droppedTotal() };
    replaceFile(this.#path, JSON.stringify(marks));
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
