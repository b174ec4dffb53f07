import { readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type Database from 'better-sqlite3';
import { replaceFile } from '../base/atomic-file.ts';
import { createDirectory } from '../base/create-directory.ts';
import { readFileIdentity, type FileIdentity, type StoreIdentity } from './store-identity.ts';

/**
 * Numbers are reserved in blocks of this size, so that the file `swellsight.seq.json` is written only once per block.
 */
const BLOCK_SIZE = 16;

interface Marks {
  readonly format: 1;
  /** `reserved`: no number above it was ever assigned. `published`: all numbers up to it had left the outbox. */
  readonly streams: Readonly<Record<string, { readonly reserved: number; readonly published: number }>>;
  readonly droppedTotal: number;
  /** Older versions of the agent do not write it. */
  readonly store: FileIdentity | 'unknown';
}

/**
 * Assigns the numbers `seq` of each stream: each number is one higher than the last, and no number is used twice. The
 * counters are in the database and change in the transaction that stores the record. A second file, the side file
 * `swellsight.seq.json`, contains a mark for each stream, and no assigned number is above it. When the database
 * is lost, or is older than it should be because the disk lost writes, numbering continues above the mark. The skipped
 * numbers count as dropped.
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
  readonly identity: StoreIdentity;
  #streams: Record<string, { reserved: number; published: number }> = {};

  constructor(
    path: string,
    { db, identity }: { readonly db: Database.Database; readonly identity: StoreIdentity },
  ) {
    this.#path = path;
    this.identity = identity;
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
   * Compares the database with the side file; call it once, in a transaction, before the first `next`, and `save` after
   * it. `salvaged`: the counters of a damaged database that this one replaces.
   * Returns how many records the database has lost at most: 0 unless it was lost, or the disk lost writes.
   */
  reconcile(salvaged: readonly { readonly name: string; readonly value: number }[] = []): number {
    const marks = readMarks(this.#path);
    this.identity.open(
      marks?.store ?? 'missing',
      statSync(this.#path, { bigint: true, throwIfNoEntry: false }),
    );
    this.#streams = { ...marks?.streams };
    // A database without counters was newly created.
    const isNew = this.#counters.all().length === 0;
    let lost = 0;
    for (const [stream, { reserved, published }] of Object.entries(this.#streams)) {
      const last = this.last(stream);
      if (!isNew && last >= reserved - BLOCK_SIZE) continue;
      this.#raiseTo.run(`seq:${stream}`, reserved);
      const known = Math.max(published, last);
      lost += reserved - known - (this.#queuedAbove.get(stream, known)?.rows ?? 0);
    }
    if (marks) this.#raiseTo.run('dropped_total', marks.droppedTotal);
    else {
      // Without the side file, the damaged database is the only source. The disk may not have written its last changes,
      // so continue one block above its counters.
      for (const { name, value } of salvaged) {
        this.#raiseTo.run(name, value + BLOCK_SIZE);
        lost += BLOCK_SIZE;
      }
      for (const { name, value } of this.#counters.all())
        this.#streams[name.slice('seq:'.length)] = { reserved: value, published: 0 };
    }
    if (lost > 0) this.#addDropped.run(lost);
    return lost;
  }

  /** The next number of the stream; call it in the transaction that stores the record. */
  next(stream: string): number {
    const seq = this.#advance.get(`seq:${stream}`)?.value ?? 1;
    if (seq > (this.#streams[stream]?.reserved ?? 0)) this.#reserve(stream, seq);
    return seq;
  }

  /** The number that was assigned last; 0 before the first one. */
  last(stream: string): number {
    return this.#read.get(`seq:${stream}`)?.value ?? 0;
  }

  /** Counts records that were dropped; call it in the transaction that deletes them. */
  countDropped(records: number): void {
    this.#addDropped.run(records);
  }

  droppedTotal(): number {
    return this.#read.get('dropped_total')?.value ?? 0;
  }

  /** How many drops events have reported so far. Set it in the transaction that stores such an event. */
  get droppedReported(): number {
    return this.#read.get('dropped_reported')?.value ?? 0;
  }

  set droppedReported(total: number) {
    this.#raiseTo.run('dropped_reported', total);
  }

  /** Writes the side file now, also when its directory was deleted. */
  save(): void {
    createDirectory(dirname(this.#path));
    this.#write(this.#streams);
  }

  #reserve(stream: string, seq: number): void {
    const mark = { reserved: seq + BLOCK_SIZE - 1, published: this.#publishedUpTo(stream, seq - 1) };
    const streams = { ...this.#streams, [stream]: mark };
    // Write the mark before the transaction commits: no assigned number may lie above the mark on the disk.
    this.#write(streams);
    this.#streams = streams;
  }

  #write(streams: Marks['streams']): void {
    const droppedTotal = this.droppedTotal();
    replaceFile(this.#path, (file) => {
      const marks: Marks = { format: 1, streams, droppedTotal, store: this.identity.inFile(file) };
      return JSON.stringify(marks);
    });
    this.identity.written();
  }

  #publishedUpTo(stream: string, last: number): number {
    const oldest = this.#oldestQueued.get(stream)?.seq;
    return typeof oldest === 'number' ? oldest - 1 : last;
  }
}

/** Reads the side file. Returns null when the file does not exist or is not valid. */
function readMarks(path: string): Marks | null {
  try {
    const marks = JSON.parse(readFileSync(path, 'utf8')) as Partial<Marks> | null;
    if (marks?.format !== 1 || typeof marks.droppedTotal !== 'number') return null;
    const streams = Object.entries(marks.streams ?? {}).filter(
      ([, mark]) => Number.isSafeInteger(mark.reserved) && Number.isSafeInteger(mark.published),
    );
    return {
      format: 1,
      streams: Object.fromEntries(streams),
      droppedTotal: marks.droppedTotal,
      store: readFileIdentity(marks.store),
    };
  } catch {
    return null;
  }
}
