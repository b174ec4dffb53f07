import type { Label, LabelledBurst } from '../calibration/types.ts';
import type { Event } from '../contract/states.ts';
import type { Observation } from '../contract/observation.ts';
import type { ViewSignature } from '../vision/protocol.ts';

/** An observation before the store gives it its place in the stream. */
export type ObservationDraft = Omit<Observation, 'seq' | 'published_at' | 'historical'>;

/** What is kept beside a record, so that a label that comes later can be learned from. */
export interface BurstMemory {
  /** Mean embedding of the burst; null when no model ran. */
  readonly embedding: Float32Array | null;
  readonly embeddingDigest: string | null;
  readonly view: ViewSignature | null;
}

export type EventDraft = Omit<Event, 'schema' | 'id' | 'seq' | 'at'>;

/** Raises an event: stored and queued in one transaction, published when there is a link. */
export type RaiseEvent = (event: EventDraft) => void;

export interface ObservationQuery {
  readonly camera?: string;
  readonly fromMs?: number;
  readonly toMs?: number;
  readonly status?: Observation['status'];
  /** Newest first. */
  readonly limit: number;
  /** Opaque: from the page before. */
  readonly cursor?: string;
}

export interface ObservationPage {
  readonly observations: readonly Observation[];
  readonly cursor: string | null;
}

/** One message that waits for its PUBACK. Topics are relative to the device's base topic. */
export interface OutboxEntry {
  readonly rowId: number;
  readonly topic: string;
  /** The stream whose order is kept: `camera:{id}` or `events`. */
  readonly stream: string;
  readonly seq: number;
  /** JSON without `published_at` and `historical` filled in. */
  readonly payload: string;
  readonly createdMonoMs: number;
  readonly createdAtMs: number;
}

export interface OutboxStats {
  readonly depth: number;
  readonly oldestAgeS: number | null;
  readonly droppedTotal: number;
}

/** A part of the queue: by place in it, and by kind of stream. */
export interface OutboxFilter {
  readonly afterRowId?: number;
  readonly upToRowId?: number;
  /** `cameras` are the records that were not sent yet, `requeued` those that were asked for again. */
  readonly streams?: 'all' | 'cameras' | 'events' | 'requeued';
}

/** A message that the broker has acknowledged, and how it was sent. */
export interface Acceptance extends Pick<OutboxEntry, 'rowId' | 'stream' | 'seq'> {
  readonly publishedAtMs: number;
  readonly historical: boolean;
}

/** What became of a request to send a range of records again. */
export interface Requeued {
  /** Records that were put into the outbox again. */
  readonly queued: number;
  /** Records of the range that wait there already: they come anyway. */
  readonly waiting: number;
  /** Numbers of the range that are not stored any more. Numbers that were never given out are not counted. */
  readonly missing: number;
  /** Where to go on, for a call takes a bounded part of the range; null when all of it was dealt with. */
  readonly nextSeq: number | null;
  /** True when it stopped for want of room: what is asked for again never pushes out what was not sent yet. */
  readonly full: boolean;
}

/** The part of the store that the forwarder drains. A row leaves by `accepted`, `rejected` or the stated bound. */
export interface Outbox {
  /** Oldest rows first within their stream, at most `limit`, none of those in `excluding`. */
  next(limit: number, excluding: ReadonlySet<number>, filter?: OutboxFilter): readonly OutboxEntry[];
  /** The oldest rows, to look at: unlike those of `next` they are not handed out, and their times may still be mended. */
  peek(limit: number): readonly OutboxEntry[];
  /** The highest row id given out so far: what is added later lies above it. */
  readonly newestRowId: number;
  /** Changes when the bound took rows: what was read before may be gone. */
  readonly revision: number;
  /** Rows that are with the broker, as the set stands at any time: the bound does not take them. */
  hold(rows: ReadonlySet<number>): void;
  /** PUBACK came: the row goes, `published_at` and `historical` (default false) are noted on the record. */
  accepted(rowIds: readonly number[], publishedAtMs: number, historical?: boolean): void;
  /**
   * The same for many at once, in one transaction that a power cut may undo: the rows are then sent again, under the
   * same id.
   */
  settle(rows: readonly Acceptance[]): void;
  /** The broker will never take it: kept aside with the reason. */
  rejected(rowId: number, reason: string): void;
  stats(): OutboxStats;
  /** Called after each commit that added a row; at most one listener. */
  onAdded(listener: () => void): void;
}

export interface Labels {
  /** Throws `observation_unknown` or `label_refused`. A second label of the same observation replaces the first. */
  add(label: Omit<Label, 'camera' | 'createdAtMs' | 'group'> & { readonly group?: string }): Label;
  /** Removes the label, of one camera if it is named. False when there was none. */
  remove(observationId: string, camera?: string): boolean;
  list(camera: string): readonly Label[];
  /** Labels of a camera whose bursts were seen by this trunk. */
  bursts(camera: string, embeddingDigest: string): readonly LabelledBurst[];
  /**
   * Stores bursts of a portable calibration as this camera's: a burst that is there already is replaced.
   * All or nothing; throws `calibration_invalid`.
   */
  import(camera: string, embeddingDigest: string, bursts: readonly LabelledBurst[]): void;
}

/** Small durable values: provider choices, counters, calibration exports. */
export interface KeyValue {
  get(key: string): string | null;
  set(key: string, value: string): void;
  delete(key: string): void;
}

/** What became of a command: null result while it runs, or when the agent ended before it was done. */
export interface HandledCommand {
  readonly id: string;
  readonly name: string;
  /** The result message as JSON. */
  readonly result: string | null;
}

/** Commands that were accepted, kept 7 days, so that one that comes again is answered and not run again. */
export interface CommandLog {
  find(id: string): HandledCommand | null;
  /** Stored before the command runs. Where not all can be kept, the harmless ones are forgotten first. */
  begin(id: string, name: string, harmless?: boolean): void;
  finish(id: string, result: string): void;
}

/** How often answers were found, since the start, and what is kept. */
export interface AnalysisCacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly entries: number;
  readonly sizeBytes: number;
}

/** Answers to images that came before. Bounded in age and size; neither call throws. */
export interface AnalysisCache {
  /** Null when there is none, or none that is young enough. Counts a hit or a miss. */
  get(key: string): string | null;
  put(key: string, json: string): void;
  stats(): AnalysisCacheStats;
}

/** What lies in the database. */
export interface StoreFigures {
  /** By table. */
  readonly rows: Readonly<Record<string, number>>;
  readonly databaseBytes: number;
  /** Within the file. */
  readonly freeBytes: number;
  /** Of the write-ahead log. */
  readonly logBytes: number;
  /** `ok`, or the first fault found. */
  readonly integrity: string;
  /** `file`, or the tables that were looked at. */
  readonly integrityOf: string;
}

/** A message that the broker will never take. */
export interface RejectedMessage {
  readonly topic: string;
  readonly stream: string;
  readonly seq: number;
  readonly sizeBytes: number;
  readonly reason: string;
  readonly rejectedAtMs: number;
}
