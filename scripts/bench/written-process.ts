// Runs the store and the stored images through a number of minutes with one observation each, on a clock of its own, and
// prints which part wrote how many bytes to the disk as one line of JSON. In its own process, because the kernel counts
// the bytes of a process.
import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { isoTime, systemClock, type Clock } from '../../src/base/clock.ts';
import { timeOrderedUuid } from '../../src/base/uuid.ts';
import { shrinkView } from '../../src/calibration/view/edge-field.ts';
import type { Camera } from '../../src/config/schema.ts';
import { openBundle } from '../../src/model/bundle/bundle.ts';
import { LabelledImages } from '../../src/observation/labelled-images.ts';
import { Store } from '../../src/store/store.ts';
import type { BurstFeatures } from '../../src/store/types.ts';
import { InProcessVision } from '../../src/vision/in-process.ts';
import { makeDrainRecord } from './drain-records.ts';
import { writtenBytes } from './process-figures.ts';
import { drawSeaImages } from './sea-images.ts';

/** Bytes written to the disk, by what they were written to. */
export interface Written {
  /** Page size of the database. */
  readonly pageBytes: number;
  readonly observations: number;
  readonly parts: {
    /** The write-ahead log of the database. */
    readonly log: number;
    /** The database file, at checkpoints. */
    readonly database: number;
    readonly images: number;
    /** Files with numbers, such as that of the sequences. */
    readonly other: number;
  };
  /** Growth of the pages in use, for each record of the measured time. */
  readonly storedBytes: number;
}

const MINUTE_MS = 60_000;
const CAMERA = { id: 'north', privacyMasks: [], roi: null } as unknown as Camera;
const FRAMES = 6;

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: '' },
    /** Directory in memory in which the minutes before the measured ones are stored. */
    scratch: { type: 'string', default: '' },
    before: { type: 'string', default: '0' },
    minutes: { type: 'string', default: '100' },
  },
});

/** A clock that only the loop below advances. */
const clock: Clock & { elapsedMs: number } = {
  elapsedMs: 0,
  nowMs: () => Date.UTC(2026, 5, 1) + clock.elapsedMs,
  monoMs: () => clock.elapsedMs,
  sleep: () => Promise.reject(new Error('nothing sleeps in this measurement')),
};
const log = pino({ level: 'silent' });
const openStore = (stateDir: string): Store =>
  Store.open(
    // Records expire like bursts, after two weeks, so that the measured day deletes as much as it stores.
    { stateDir, retentionDays: 14, maxMb: 4096, outbox: { maxMessages: 10_000, maxAgeDays: 30 } },
    { clock, log },
  );

const root = join(import.meta.dirname, '..', '..');
const bundle = await openBundle(join(root, 'models/swellsight-factory/1.0.0'));
const vision = await InProcessVision.open({ bundle }, { clock: systemClock });
const options = { roi: null, privacyMasks: [], priority: 'schedule', source: 'bench' } as const;
interface Seen {
  readonly features: BurstFeatures;
  readonly frame: Uint8Array;
}
const seen: Seen[] = [];
for (const frame of drawSeaImages(FRAMES, 1280, 720, 60)) {
  const { heads, view } = await vision.analyze(frame, options);
  const features = {
    embedding: heads?.embedding ?? null,
    embeddingDigest: bundle.embeddingDigest,
    view: shrinkView(view),
  };
  seen.push({ features, frame });
}

function seenAt(minute: number): Seen {
  const found = seen[minute % FRAMES];
  if (!found) throw new Error('no frame');
  return found;
}

/** Stores the record of one minute. */
function append(store: Store, minute: number): string {
  clock.elapsedMs = minute * MINUTE_MS;
  const id = timeOrderedUuid(clock.nowMs());
  const draft = { ...makeDrainRecord(minute), id, captured_at: isoTime(clock.nowMs()) };
  store.append(draft, seenAt(minute).features);
  return id;
}

function acknowledge(store: Store): void {
  const entries = store.outbox.next(20, new Set());
  store.outbox.acknowledge(
    entries.map(({ rowId, stream, seq }) => ({
      ...{ rowId, stream, seq, historical: false },
      publishedAtMs: clock.nowMs(),
    })),
  );
}

function prune(store: Store): void {
  while (store.prune().more);
}

/**
 * Copies a file in blocks of 4 KB, as the store would have written it. After larger writes, the kernel counts a change of
 * one block as a change of all blocks of such a write.
 */
function copyInBlocks(from: string, to: string): void {
  const content = readFileSync(from);
  const file = openSync(to, 'wx', 0o600);
  for (let start = 0; start < content.length; start += 4096)
    writeSync(file, content, start, Math.min(4096, content.length - start), start);
  fsyncSync(file);
  closeSync(file);
}

const before = Number(values.before);
const minutes = Number(values.minutes);
if (before > 0) {
  const store = openStore(values.scratch);
  for (let minute = 0; minute < before; minute += 1) {
    append(store, minute);
    acknowledge(store);
    prune(store);
  }
  store.close();
  for (const name of readdirSync(values.scratch))
    copyInBlocks(join(values.scratch, name), join(values.dir, name));
}

const store = openStore(values.dir);
const noLease = { lease: () => ({ render: vision.render.bind(vision), [Symbol.dispose]: () => undefined }) };
const images = new LabelledImages(
  { stateDir: values.dir },
  { clock, log, server: noLease, store, signal: new AbortController().signal },
);
// Open until the end: closing a descriptor would release the locks of SQLite.
const openFile = (name: string): number => openSync(join(values.dir, name), 'r');
const [wal, database] = [openFile('swellsight.db-wal'), openFile('swellsight.db')];
const read = (file: number, start: number, length: number): Buffer => {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, start));
};
const pageBytes = read(database, 16, 2).readUInt16BE();

interface LogEnd {
  readonly salt: string;
  readonly frames: number;
}

/** The frames of the log are those with the salt of its header (https://sqlite.org/walformat.html). */
function findLogEnd(before: LogEnd): LogEnd {
  const salt = read(wal, 16, 8).toString('hex');
  let frames = salt === before.salt ? before.frames : 0;
  const saltAt = (frame: number): number => 32 + frame * (pageBytes + 24) + 8;
  while (salt !== '' && read(wal, saltAt(frames), 8).toString('hex') === salt) frames += 1;
  return { salt, frames };
}

const parts = { log: 0, database: 0, images: 0, other: 0 };
const bytesNow = (): number => writtenBytes(process.pid);
const changedAt = (): bigint => fstatSync(database, { bigint: true }).mtimeNs;
let logEnd = findLogEnd({ salt: '', frames: 0 });

/** Runs a step of the store, and attributes what it writes. */
function measure(step: () => void): void {
  const [bytesBefore, changedBefore] = [bytesNow(), changedAt()];
  step();
  const bytes = bytesNow() - bytesBefore;
  const before = logEnd;
  logEnd = findLogEnd(before);
  const added = logEnd.frames - (logEnd.salt === before.salt ? before.frames : 0);
  // The log is written from the middle of a block of the file system to the middle of another one.
  const inLog = Math.min(bytes, Math.ceil((added * (pageBytes + 24)) / 4096 + 1) * 4096);
  parts.log += inLog;
  if (changedAt() === changedBefore) parts.other += bytes - inLog;
  else parts.database += bytes - inLog;
}

const usedBytes = (): number => {
  const { databaseBytes, freeBytes } = store.stats.read();
  return databaseBytes - freeBytes;
};
const usedBefore = usedBytes();
for (let minute = before; minute < before + minutes; minute += 1) {
  let id = '';
  measure(() => (id = append(store, minute)));
  measure(() => acknowledge(store));
  measure(() => prune(store));
  const imagesBefore = bytesNow();
  await images.keep(CAMERA, id, seenAt(minute).frame);
  parts.images += bytesNow() - imagesBefore;
  // In a minute of real time the kernel writes all changed pages. The next change of a page counts again.
  for (const file of [wal, database]) fsyncSync(file);
}
const storedBytes = (usedBytes() - usedBefore) / minutes;
const beforeClose = bytesNow();
store.close();
parts.database += bytesNow() - beforeClose;
await vision.close();
const written: Written = { pageBytes, observations: minutes, parts, storedBytes };
process.stdout.write(`${JSON.stringify(written)}\n`);
