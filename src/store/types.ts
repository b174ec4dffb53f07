import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Label, LabelledBurst } from '../calibration/types.ts';
import type { EventDraft } from '../contract/states.ts';
import type { Observation } from '../contract/observation.ts';
import type { SeaStateRecord } from '../contract/sea-state.ts';
import type { ViewSignature } from '../vision/protocol.ts';

export interface StoreOptions {
  /** Absolute path; created when it does not exist. */
  readonly stateDir: string;
  readonly retentionDays: number;
  /** Maximum size of the database file, in units of 2^20 bytes. */
  readonly maxMb: number;
  readonly outbox: {
    readonly maxMessages: number;
    readonly maxAgeDays: number;
    /** Maximum total size of all payloads, in units of 2^20 bytes; default 256. */
    readonly maxMb?: number;
  };
  /** A larger database file is not checked completely before the store is opened; default 64 MB. */
  readonly maxCheckedBytes?: number;
  /** Id of this boot of the machine. Without it, the timestamps of events are not corrected. */
  readonly bootId?: string;
}

/**
 * A fault of the database file that is repaired only when the store is closed and opened again: the file is damaged
 * (`damaged`), another file is in its place (`replaced`), or it was deleted, alone or with its directory (`gone`).
 */
export type StoreFault = 'damaged' | 'replaced' | 'gone';

export interface StoreDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** Reads the names of the hardware of a directory. Without it, a copy of the whole disk is not recognised. */
  readonly hardware?: (stateDir: string) => HardwareIds;
  /**
   * Called once when the database file was damaged, replaced or deleted. The caller must close the store and open it
   * again. `close` saves the data that was stored in a replaced or deleted file.
   */
  readonly onBroken?: (fault: StoreFault) => void;
}

/** Names of the hardware, which a copy of the state directory on other hardware does not have. */
export interface HardwareIds {
  /** Serial number of the board and addresses of its network interfaces; empty when nothing is readable. */
  readonly machine: readonly string[];
  /** The disk of the state directory; null when it has no readable id. */
  readonly disk: string | null;
}

/** The options that can change while the store is open. */
export type StoreBounds = Pick<StoreOptions, 'retentionDays' | 'maxMb' | 'outbox'>;

/** An observation before the store assigns its sequence number. */
export type ObservationDraft = Omit<Observation, 'seq' | 'store_id' | 'published_at' | 'historical'>;

/** A sea state before the store assigns its sequence number. */
export type SeaStateDraft = Omit<SeaStateRecord, 'seq' | 'store_id' | 'published_at' | 'historical'>;

/**
 * What the model computed from a burst of frames. Kept with the record, because a person may label the record later.
 */
export interface BurstFeatures {
  /** Mean embedding of the burst; null when no model ran. */
  readonly embedding: Float32Array | null;
  readonly embeddingDigest: string | null;
  readonly view: ViewSignature | null;
}

/** Stores an event and queues it for the broker, in one transaction. */
export type RaiseEvent = (event: EventDraft) => void;

export interface ObservationQuery {
  readonly camera?: string;
  readonly fromMs?: number;
  /** Exclusive. */
  readonly toMs?: number;
  readonly status?: Observation['status'];
  readonly limit: number;
  /** The `cursor` of the previous page, unchanged; absent for the first page. */
  readonly cursor?: string;
}

/** One page of records, newest capture first. */
export interface ObservationPage {
  readonly observations: readonly Observation[];
  /** Null on the last page. */
  readonly cursor: string | null;
}

/** The records of a camera with sequence numbers of their own. */
export type RecordKind = 'observation' | 'sea_state';

export type SeaStateQuery = Omit<ObservationQuery, 'camera' | 'status'> & { readonly camera: string };

/** One page of sea states, newest clip first. */
export interface SeaStatePage {
  readonly sea_states: readonly SeaStateRecord[];
  /** Null on the last page. */
  readonly cursor: string | null;
}

/** A message that waits for its PUBACK. */
export interface OutboxEntry {
  readonly rowId: number;
  /** Relative to the device's base topic. */
  readonly topic: string;
  /** `camera:{id}`, `camera:{id}/sea_state` or `events`. Messages of one stream keep their order. */
  readonly stream: string;
  readonly seq: number;
  /** JSON, with `published_at` null and `historical` false. */
  readonly payload: string;
  readonly createdMonoMs: number;
  readonly createdAtMs: number;
}

export interface OutboxStats {
  readonly depth: number;
  readonly oldestAgeS: number | null;
  readonly droppedTotal: number;
}

/** Selects a part of the outbox by row id and by kind of stream. */
export interface OutboxFilter {
  /** Exclusive. */
  readonly afterRowId?: number;
  /** Inclusive. */
  readonly upToRowId?: number;
  /** `cameras`: records queued for the first time; `requeued`: records queued again. */
  readonly streams?: 'all' | 'cameras' | 'events' | 'requeued';
}

/** A message that the broker has acknowledged, and how it was published. */
export interface Acknowledgement extends Pick<OutboxEntry, 'rowId' | 'stream' | 'seq'> {
  readonly publishedAtMs: number;
  /** Published as backfill. */
  readonly historical: boolean;
}

/** The result of queueing a range of records again. */
export interface RequeueResult {
  /** Records added to the outbox. */
  readonly queued: number;
  /** Records of the range that were in the outbox already. */
  readonly waiting: number;
  /** How many records of the range were deleted. Numbers above the newest record do not count. */
  readonly missing: number;
  /**
   * Where the next call must continue, because one call handles only a part of the range; null at the end of the range.
   */
  readonly nextSeq: number | null;
  /** True when the outbox had no room left. Requeued records never replace records that were not sent yet. */
  readonly full: boolean;
}

/** The part of the store that the forwarder reads. See src/store/outbox/outbox.ts for the invariants. */
export interface Outbox {
  /**
   * The oldest rows, at most `limit`, without those in `excluding`. The caller may publish them: from then on, their
   * timestamps are not corrected.
   */
  next(limit: number, excluding: ReadonlySet<number>, filter?: OutboxFilter): readonly OutboxEntry[];
  /** The oldest rows, for display only: their timestamps may still be corrected. */
  peek(limit: number): readonly OutboxEntry[];
  /** The highest row id assigned so far. Rows added later have higher ids. */
  readonly newestRowId: number;
  /** Changes when rows were dropped or rewritten: entries that were read before may be out of date. */
  readonly revision: number;
  /** Excludes rows that are in flight from the drop policy. The caller may change the set later. */
  protect(rowIds: ReadonlySet<number>): void;
  /**
   * Deletes rows after their PUBACK and writes `published_at` and `historical` to their records, in one transaction. A
   * power cut may undo this transaction: the messages are then sent again with the same `id`.
   */
  acknowledge(rows: readonly Acknowledgement[]): void;
  /** Moves a row that the broker will never accept to the table `rejected`. */
  reject(rowId: number, reason: string): void;
  stats(): OutboxStats;
  /** Sets the listener, at most one, that is called after each commit that added a row. */
  onAdded(listener: () => void): void;
}

/** A label with the time of its observation. */
export interface CapturedLabel extends Pick<Label, 'observationId' | 'heightM' | 'observer'> {
  readonly capturedAtMs: number;
}

export interface Labels {
  /** Throws `observation_unknown` or `label_refused`. A second label of an observation replaces the first. */
  add(label: Omit<Label, 'camera' | 'createdAtMs' | 'group'> & { readonly group?: string }): Label;
  /** Removes the label, of one camera when it is given. False when there was none. */
  remove(observationId: string, camera?: string): boolean;
  list(camera: string): readonly Label[];
  /** The labels of observations of this time, oldest observation first. `toMs` is exclusive. */
  captured(camera: string, fromMs: number, toMs: number): readonly CapturedLabel[];
  /** The labelled bursts of a camera that have an embedding of this model, oldest label first: at most the newest 250. */
  bursts(camera: string, embeddingDigest: string): readonly LabelledBurst[];
  /**
   * Stores the bursts of a portable calibration under this camera and replaces bursts that exist. All or nothing;
   * throws `calibration_invalid`.
   */
  import(camera: string, embeddingDigest: string, bursts: readonly LabelledBurst[]): void;
}

/** Small values that survive a restart: provider choices, counters, calibration exports. */
export interface KeyValue {
  get(key: string): string | null;
  set(key: string, value: string): void;
  delete(key: string): void;
}

export interface HandledCommand {
  readonly id: string;
  readonly name: string;
  /** The result message as JSON; null while the command runs, or when the agent stopped before it finished. */
  readonly result: string | null;
}

/** Accepted commands of the last 7 days. A command that arrives twice gets the stored result and does not run again. */
export interface CommandLog {
  find(id: string): HandledCommand | null;
  /** Call it before the command runs. When the log is full, commands that are safe to repeat are forgotten first. */
  begin(id: string, name: string, isRepeatable?: boolean): void;
  finish(id: string, result: string): void;
}

export interface AnalysisCacheStats {
  /** Number of hits since the start of the agent. */
  readonly hits: number;
  readonly misses: number;
  readonly entries: number;
  /** Total size of keys and results. */
  readonly sizeBytes: number;
}

/** Results of images that were analysed before. Bounded in age and size. No method throws. */
export interface AnalysisCache {
  /** Null when there is no result, or it is too old. Counts a hit or a miss. */
  get(key: string): string | null;
  put(key: string, json: string): void;
  stats(): AnalysisCacheStats;
}

export interface DatabaseStats {
  /** Number of rows, by table. */
  readonly rows: Readonly<Record<string, number>>;
  readonly databaseBytes: number;
  /** Size of the free pages inside the file. */
  readonly freeBytes: number;
  /** Size of the write-ahead log. */
  readonly logBytes: number;
  /** Result of the integrity check: `ok`, or the first fault. */
  readonly integrity: string;
  /** What was checked: `file`, or the names of tables. */
  readonly integrityOf: string;
}

/** A message that the broker will never accept. */
export interface RejectedMessage {
  readonly topic: string;
  readonly stream: string;
  readonly seq: number;
  readonly sizeBytes: number;
  readonly reason: string;
  readonly rejectedAtMs: number;
}

/** The state of the clock when timestamps are corrected. */
export interface ClockMoment {
  readonly bootId: string;
  readonly synced: boolean;
  /** True when the clock was set a moment ago: its new time is then considered better than its old time. */
  readonly stepped: boolean;
}

export interface CorrectionResult {
  /** Number of unsent messages whose timestamps were corrected. They are marked `time_corrected`. */
  readonly corrected: number;
  /** Number of unsent messages of an earlier boot without any synchronisation. They are marked `time_uncertain`. */
  readonly uncertain: number;
  /** True when there may be more messages to correct: call again soon. */
  readonly more: boolean;
}
