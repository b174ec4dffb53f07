// INVARIANTS
// 1. An observation, its burst features and its outbox row are written in one transaction; so are a sea state and its
//    outbox row, and an event and its outbox row.
// 2. A row leaves the outbox in exactly one of three ways: acknowledged, rejected or dropped (see outbox/outbox.ts).
// 3. No stream (`camera:{id}`, `camera:{id}/sea_state`, `events`) uses a sequence number twice, even after the database was lost (see
//    sequences.ts), as long as the store has the same id (see store-identity.ts).
// 4. Data that a method stored is on the disk when the method returns. Exception: acknowledgements may be undone by a
//    power cut; the messages are then sent again with the same id.
// 5. One process uses the state directory: `open` takes a lock, and `close` releases it.
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import type { Observation } from '../contract/observation.ts';
import type { SeaStateRecord } from '../contract/sea-state.ts';
import { AgentError, asAgentError, type ErrorCode } from '../base/errors.ts';
import { createDirectory } from '../base/create-directory.ts';
import { AgeGuard } from './age-guard.ts';
import { Appender } from './append.ts';
import { Bursts, Embeddings } from './bursts.ts';
import { SqliteCommandLog } from './command-log.ts';
import { Events } from './events.ts';
import { BackgroundCheck } from './file/background-check.ts';
import { openDatabase, stopSharing, type OpenedDatabase } from './file/database.ts';
import { FileWatch } from './file/file-watch.ts';
import { LOCK_FILE, lockState, type StateLock } from './file/lock.ts';
import { closeToOthers } from './file/private-files.ts';
import { markSuspect } from './file/quarantine.ts';
import { asStoreError } from './file/store-errors.ts';
import { ballastOf, FullDisk } from './full-disk.ts';
import { History } from './history.ts';
import { SqliteKeyValue } from './key-value.ts';
import { SqliteLabels } from './labels.ts';
import { DropEvents, HistoryEvents } from './loss-events.ts';
import { Observations } from './observations.ts';
import { outboxLimits } from './outbox/bounds.ts';
import { SqliteOutbox } from './outbox/outbox.ts';
import { RecordValueReader } from './record-values.ts';
import { recover, renewToken, type RecoveryDeps } from './recovery.ts';
import { Retention, retentionBounds, type PruneResult } from './retention.ts';
import { Sequences } from './sequences.ts';
import { StoreIdentity } from './store-identity.ts';
import { SeaStates } from './sea-states.ts';
import { StoreStats } from './store-stats.ts';
import { TimeCorrection } from './time-correction.ts';
import type {
  BurstFeatures,
  CommandLog,
  KeyValue,
  Labels,
  ObservationDraft,
  Outbox,
  RaiseEvent,
  RecordKind,
  RequeueResult,
  SeaStateDraft,
  StoreBounds,
  StoreDeps,
  StoreOptions,
} from './types.ts';
import { UnsyncedRows } from './unsynced.ts';
import { Writer } from './writer.ts';

/**
 * All data that must survive a power cut, in one SQLite file. Methods throw `store_full`, `store_failed` or
 * `store_corrupt`. After `store_corrupt`, the next `open` replaces the file if it is damaged.
 */
export class Store {
  /** Why `open` created a new database; null when it did not. */
  readonly recovered: Pick<NonNullable<OpenedDatabase['broken']>, 'reason' | 'quarantined'> | null;
  readonly observations: Observations;
  readonly values: RecordValueReader;
  readonly seaStates: SeaStates;
  readonly events: Events;
  readonly outbox: Outbox;
  readonly labels: Labels;
  readonly embeddings: Embeddings;
  readonly keyValue: KeyValue;
  readonly commands: CommandLog;
  readonly stats: StoreStats;
  readonly timeCorrection: TimeCorrection;
  readonly #deps: StoreDeps;
  readonly #db: Database.Database;
  readonly #lock: StateLock;
  readonly #path: string;
  readonly #writer: Writer;
  readonly #sequences: Sequences;
  readonly #outbox: SqliteOutbox;
  readonly #unsynced: UnsyncedRows;
  readonly #retention: Retention;
  readonly #fullDisk: FullDisk;
  readonly #check: BackgroundCheck | null;
  readonly #file: FileWatch;
  readonly #appender: Appender;
  readonly #recovery: RecoveryDeps;
  readonly #dropEvents: DropEvents;

  /**
   * Opens or creates the store of a state directory. Renames a damaged database, creates a new one, and reports this in
   * `recovered` and as an event. Throws `store_locked` when another process uses the directory, `store_failed` when it
   * is not usable.
   */
  static open(options: StoreOptions, deps: StoreDeps): Store {
    try {
      createDirectory(options.stateDir);
    } catch (cause) {
      throw new AgentError('store_failed', 'cannot create the state directory', { cause });
    }
    closeToOthers(options.stateDir);
    const lock = lockState(join(options.stateDir, LOCK_FILE));
    const path = databasePath(options.stateDir);
    for (let isRetry = false; ; isRetry = true) {
      let opened: OpenedDatabase | null = null;
      try {
        opened = openDatabase(path, deps.clock.nowMs(), options.maxCheckedBytes);
        return new Store(options, deps, opened, lock);
      } catch (thrown) {
        opened?.db.close();
        const error = asAgentError(asStoreError(thrown));
        // The first reads found damage that the check of the file did not find. The second attempt sets the file aside.
        const isDamaged = opened !== null && error.code === 'store_corrupt';
        if (isDamaged && !isRetry) {
          markSuspect(path, String(error.context['reason']));
          continue;
        }
        // A database that was closed needs room for its log.
        if (error.code === 'store_full' && !isRetry && ballastOf(options.stateDir).release()) {
          deps.log.warn('the disk is full: deleted the reserve file');
          continue;
        }
        lock.release();
        throw error;
      }
    }
  }

  private constructor(options: StoreOptions, deps: StoreDeps, opened: OpenedDatabase, lock: StateLock) {
    const { db, broken } = opened;
    const { clock, log } = deps;
    const path = databasePath(options.stateDir);
    this.#deps = deps;
    this.#db = db;
    this.#lock = lock;
    this.#path = path;
    this.#file = new FileWatch(path, { clock, log, onFault: deps.onBroken });
    const onDamage = (reason: string): void => this.#file.reportDamage(reason);
    this.#check = opened.isUnchecked ? new BackgroundCheck(path, { clock, log, onDamage }) : null;
    const writer = new Writer({
      db,
      clock,
      freeSpace: () => this.#fullDisk.freeSpace(),
      isNearlyFull: () => this.#fullDisk.isNear(),
      onCorrupt: onDamage,
    });
    this.#writer = writer;
    const identity = new StoreIdentity(db, deps.hardware?.(options.stateDir));
    const sequences = new Sequences(join(options.stateDir, 'swellsight.seq.json'), { db, identity });
    this.#sequences = sequences;
    const unsynced = new UnsyncedRows({ db, writer, clock });
    this.#unsynced = unsynced;
    const outbox = new SqliteOutbox(outboxLimits(options), {
      db,
      writer,
      sequences,
      clock,
      onDropped: () => this.#dropEvents.report(),
      onHandedOut: (entries) => unsynced.markHandedOut(entries),
    });
    this.#outbox = outbox;
    this.outbox = outbox;
    const observations = new Observations({ db, writer, history: new History(db) });
    this.observations = observations;
    this.values = new RecordValueReader({ db, writer });
    const seaStates = new SeaStates({ db, writer });
    this.seaStates = seaStates;
    const bursts = new Bursts(db);
    this.embeddings = new Embeddings({ db, writer });
    this.events = new Events({
      db,
      writer,
      sequences,
      outbox,
      clock,
      onQueued: ({ seq }) => this.timeCorrection.noteEvent(seq, outbox.newestRowId, options.bootId ?? null),
    });
    this.#dropEvents = new DropEvents({ clock, log, writer, sequences, events: this.events });
    const labels = new SqliteLabels({ db, writer, clock, bursts, observations });
    this.labels = labels;
    const keyValue = new SqliteKeyValue({ db, writer });
    this.keyValue = keyValue;
    this.commands = new SqliteCommandLog({}, { db, writer, clock });
    this.stats = new StoreStats({ db, path, clock, sequences });
    this.timeCorrection = new TimeCorrection({ db, writer, keyValue, outbox, unsynced });
    const records = { writer, sequences, observations, seaStates, outbox, raise: this.raise };
    this.#appender = new Appender({ ...records, bursts, timeCorrection: this.timeCorrection });
    const ages = new AgeGuard({ keyValue, clock, isSynced: () => this.timeCorrection.isClockSynced() });
    this.#retention = new Retention(
      { path, ...retentionBounds(options) },
      { db, clock, writer, bursts, outbox, ages },
    );
    const historyEvents = new HistoryEvents({ clock, log, writer, keyValue, events: this.events });
    this.#fullDisk = new FullDisk(options.stateDir, {
      ...{ db, log, writer, outbox, historyEvents },
      check: this.#check,
    });
    this.recovered = broken && { reason: broken.reason, quarantined: broken.quarantined };
    this.#recovery = { ...records, path, log, labels, file: this.#file };
    recover(opened, this.#recovery);
    this.#fullDisk.tidy();
  }

  /** Assigns the sequence number and stores the record, its burst features and its message, in one transaction. */
  append(draft: ObservationDraft, features: BurstFeatures): Observation {
    this.#file.check();
    return this.#appender.observation(draft, features);
  }

  /** Assigns the sequence number and stores the sea state of a clip and its message, in one transaction. */
  appendSeaState(draft: SeaStateDraft): SeaStateRecord {
    this.#file.check();
    return this.#appender.seaState(draft);
  }

  /**
   * Queues stored records of one kind of a camera again, as backfill, from the number `fromSeq` to `toSeq`, both inclusive. One
   * call takes a few milliseconds and handles a part of the range: continue at `nextSeq` until it is null, or until
   * `full`.
   */
  requeue(camera: string, fromSeq: number, toSeq: number, kind: RecordKind = 'observation'): RequeueResult {
    return this.#outbox.requeue(camera, fromSeq, toSeq, kind);
  }

  /** Raises an event. Logs an event that cannot be stored and does not throw, so that the caller's work continues. */
  readonly raise: RaiseEvent = (event) => {
    try {
      this.events.raise(event);
    } catch (error) {
      const { code } = asAgentError(error);
      this.#deps.log.error(
        { event: event.type, eventCode: event.code, code, err: error },
        'cannot store an event',
      );
    }
  };

  /** Runs one round of retention: some milliseconds. Call it every minute, and again soon while `more` is true. */
  prune(): PruneResult {
    this.#file.check();
    const result = this.#retention.prune();
    this.#unsynced.prune();
    this.#dropEvents.report();
    this.#fullDisk.tidy();
    return result;
  }

  /** After an unclean stop, checks a large file completely while it is in use. Rejects with the reason of the signal. */
  async checkFile(signal: AbortSignal): Promise<void> {
    if (this.#check === null) return;
    await this.#check.run(signal);
    if (this.#file.code === null) stopSharing(this.#db, this.#path);
  }

  /** Sets new limits. The next message or `prune` deletes what exceeds them. */
  setBounds(bounds: StoreBounds): void {
    this.#outbox.bounds.setLimits(outboxLimits(bounds));
    this.#retention.setBounds(retentionBounds(bounds));
  }

  /** Whether records can be stored now. */
  isWritable(): boolean {
    return this.#db.open && this.#writer.isWritable();
  }

  /** Why records cannot be stored now; null when they can. */
  failureCode(): ErrorCode | null {
    return this.#file.code ?? this.#writer.failure;
  }

  /** The id of the numbering of the records: `store_id`. */
  get id(): string {
    return this.#sequences.identity.id;
  }

  /** Closes the database and releases the lock. Idempotent. */
  close(): void {
    if (!this.#db.open) return;
    this.#check?.interrupt();
    this.#file.rescueContent(this.#db, this.#sequences);
    renewToken(this.#recovery);
    this.#db.close();
    this.#lock.release();
  }
}

const databasePath = (stateDir: string): string => join(stateDir, 'swellsight.db');
