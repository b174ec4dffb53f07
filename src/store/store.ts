import { dirname, join } from 'node:path';
import type Database from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import type { Observation } from '../contract/observation.ts';
import { AgentError, asAgentError, type ErrorCode } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { AgeGuard } from './age-guard.ts';
import { Ballast } from './file/ballast.ts';
import { Bursts } from './bursts.ts';
import { SqliteCommandLog } from './command-log.ts';
import { deleteOldestQuarantined, openDatabase, type OpenedDatabase } from './file/database.ts';
import { DropEvents } from './outbox/drop-events.ts';
import { Embeddings } from './embeddings.ts';
import { Events } from './events.ts';
import { StoreStats } from './store-stats.ts';
import { FileFault, type StoreFault } from './file/file-fault.ts';
import { SqliteKeyValue } from './key-value.ts';
import { SqliteLabels } from './labels.ts';
import { lockState, type StateLock } from './file/lock.ts';
import { makeFolder } from '../base/make-folder.ts';
import { Observations } from './observations.ts';
import { outboxBounds, retentionBounds, type StoreBounds, type StoreOptions } from './options.ts';
import { SqliteOutbox } from './outbox/outbox.ts';
import { recoveryEvent, requeueUnsent } from './file/recover.ts';
import { Retention, type PruneOutcome } from './retention.ts';
import { Sequences } from './sequences.ts';
import { TimeCorrection } from './time-correction.ts';
import type {
  BurstMemory,
  CommandLog,
  KeyValue,
  Labels,
  ObservationDraft,
  Outbox,
  RaiseEvent,
  Requeued,
} from './types.ts';
import { UnstoredRecords } from './file/unstored.ts';
import { Writer } from './writer.ts';

const BALLAST_BYTES = 4 * 1_048_576;
const MB = 1_048_576;
const CRAMPED_BYTES = MB;

export interface StoreDeps {
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Called once when only another `open` helps: the file is damaged, was replaced, or is gone with its folder. What was
   * stored until `close` is not lost by a replaced file.
   */
  readonly onBroken?: (reason: StoreFault) => void;
}

/** Why the store began with a new database. */
export interface Recovery {
  readonly reason: string;
  /** Name of the broken file, kept in stateDir. */
  readonly quarantined: string;
}

/**
 * All that must survive a power cut, in one SQLite file of one agent. What a method stored is on the disk when it
 * returns. Methods throw `store_full`, `store_failed` or `store_corrupt`; after the last one, the next `open` checks
 * the file and begins a new one if it must.
 */
export class Store {
  readonly recovered: Recovery | null;
  readonly observations: Observations;
  readonly events: Events;
  readonly outbox: Outbox;
  readonly labels: Labels;
  /** What other trunks made of labelled bursts. */
  readonly embeddings: Embeddings;
  readonly memory: KeyValue;
  readonly commands: CommandLog;
  readonly figures: StoreStats;
  /** Mends the times of what was recorded before the clock was set. */
  readonly times: TimeCorrection;
  readonly #deps: StoreDeps;
  readonly #db: Database.Database;
  readonly #lock: StateLock;
  readonly #writer: Writer;
  readonly #sequences: Sequences;
  readonly #bursts: Bursts;
  readonly #queue: SqliteOutbox;
  readonly #retention: Retention;
  readonly #ballast: Ballast;
  readonly #file: FileFault;
  readonly #path: string;
  readonly #unstored: UnstoredRecords;
  readonly #drops: DropEvents;

  /**
   * Opens, or makes, the store of a state folder. A broken database is set aside and told by `recovered` and an event.
   * Throws `store_locked` when another agent uses the folder, `store_failed` when it cannot be used.
   */
  static open(options: StoreOptions, deps: StoreDeps): Store {
    try {
      makeFolder(options.stateDir);
    } catch (cause) {
      throw new AgentError('store_failed', 'the state folder cannot be made', { cause });
    }
    const lock = lockState(join(options.stateDir, 'swellsight.lock'));
    let opened: OpenedDatabase | null = null;
    try {
      opened = openDatabase(join(options.stateDir, 'swellsight.db'), deps.clock.nowMs());
      return new Store(options, deps, opened, lock);
    } catch (error) {
      opened?.db.close();
      lock.release();
      throw error;
    }
  }

  private constructor(options: StoreOptions, deps: StoreDeps, opened: OpenedDatabase, lock: StateLock) {
    const { db, broken } = opened;
    const { clock } = deps;
    const path = join(options.stateDir, 'swellsight.db');
    this.#deps = deps;
    this.#db = db;
    this.#lock = lock;
    this.#path = path;
    this.#file = new FileFault(path, { clock, log: deps.log, onBroken: deps.onBroken });
    this.#ballast = new Ballast(join(options.stateDir, 'swellsight.ballast'), BALLAST_BYTES);
    this.#writer = new Writer({
      db,
      clock,
      makeRoom: () => this.#makeRoom(),
      cramped: () => this.#ballast.spentWithin(CRAMPED_BYTES) && this.#retention.cramped(),
      onCorrupt: () => this.#file.damaged(),
    });
    const writer = this.#writer;
    this.#sequences = new Sequences(join(options.stateDir, 'swellsight.seq.json'), db);
    const sequences = this.#sequences;
    this.#queue = new SqliteOutbox(outboxBounds(options), {
      db,
      writer,
      sequences,
      clock,
      onDropped: () => this.#drops.tell(),
      onHanded: (entries) => this.times.handed(entries),
    });
    const outbox = this.#queue;
    this.outbox = outbox;
    this.observations = new Observations({ db });
    this.#bursts = new Bursts({ db });
    this.embeddings = new Embeddings({ db, writer });
    this.events = new Events({
      db,
      writer,
      sequences,
      outbox,
      clock,
      onQueued: ({ seq }) => this.times.rememberEvent(seq, this.#queue.newestRowId, options.bootId ?? null),
    });
    this.#drops = new DropEvents({ clock, log: deps.log, writer, sequences, events: this.events });
    this.#unstored = new UnstoredRecords({ raise: this.raise });
    const labels = new SqliteLabels({
      db,
      writer,
      clock,
      bursts: this.#bursts,
      observations: this.observations,
    });
    this.labels = labels;
    this.memory = new SqliteKeyValue({ db, writer });
    this.commands = new SqliteCommandLog({}, { db, writer, clock });
    this.figures = new StoreStats({ db, path, clock });
    this.times = new TimeCorrection({ db, writer, clock, memory: this.memory, outbox });
    const ages = new AgeGuard({ memory: this.memory, clock, synced: () => this.times.clockSynced() });
    this.#retention = new Retention(
      { path, ...retentionBounds(options) },
      { db, writer, outbox, ages, clock },
    );
    this.recovered = broken && { reason: broken.reason, quarantined: broken.quarantined };
    this.#settle(opened, labels);
    this.#ballast.restore();
  }

  /** Gives the record its number and stores it, what the model saw, and its message, in one transaction. */
  append(draft: ObservationDraft, memory: BurstMemory): Observation {
    this.#file.look();
    return this.#unstored.count(() => this.#append(draft, memory));
  }

  #append(draft: ObservationDraft, memory: BurstMemory): Observation {
    const stream = `camera:${draft.camera}`;
    return this.#writer.write(() => {
      const seq = this.#sequences.next(stream);
      const record: Observation = { ...draft, seq, published_at: null, historical: false };
      const payload = JSON.stringify(record);
      this.observations.insert(record, payload);
      this.#bursts.remember(record.camera, record.id, Date.parse(record.captured_at), memory);
      const topic = `camera/${record.camera}/observation`;
      this.#queue.enqueue({ stream, seq, topic, payload }, { stored: true });
      if (!record.clock.synced) this.times.rememberRecord(record, this.#queue.newestRowId);
      return record;
    });
  }

  /**
   * Sends stored records of a camera again, as backfill, from one number to another, both included; a part of the range
   * in one call, a few milliseconds. Go on from `nextSeq` while it is not null and not `full`.
   */
  requeue(camera: string, fromSeq: number, toSeq: number): Requeued {
    return this.#queue.requeue(camera, fromSeq, toSeq);
  }

  /** Raises an event; a store that cannot take it is logged, for an event must not break what it tells of. */
  readonly raise: RaiseEvent = (event) => {
    try {
      this.events.raise(event);
    } catch (error) {
      const { code } = asAgentError(error);
      this.#deps.log.error(
        { event: event.type, eventCode: event.code, code, err: error },
        'event not stored',
      );
    }
  };

  /** One round of retention, some milliseconds. Call it every minute, and again soon while `more`. */
  prune(): PruneOutcome {
    this.#file.look();
    const outcome = this.#retention.prune();
    this.times.prune();
    this.#drops.tell();
    this.#ballast.restore();
    return outcome;
  }

  /** Other bounds while it is open; records above smaller ones go with the next that comes, or the next `prune`. */
  setBounds(bounds: StoreBounds): void {
    this.#queue.setBounds(outboxBounds(bounds));
    this.#retention.setBounds(retentionBounds(bounds));
  }

  /** Whether records can be stored now. */
  writable(): boolean {
    return this.#db.open && this.#writer.writable();
  }

  /** Why records cannot be stored now; null when they can. */
  failure(): ErrorCode | null {
    return this.#file.code ?? this.#writer.failure;
  }

  /** Idempotent. */
  close(): void {
    if (!this.#db.open) return;
    this.#file.closing(this.#db, this.#sequences);
    this.#db.close();
    this.#lock.release();
  }

  #settle(opened: OpenedDatabase, labels: SqliteLabels): void {
    const { broken } = opened;
    const { observations } = this;
    const kept = broken
      ? requeueUnsent(join(dirname(this.#path), broken.quarantined), {
          writer: this.#writer,
          observations,
          outbox: this.#queue,
        })
      : 0;
    const missing = this.#writer.write(() => this.#sequences.reconcile(broken?.salvage.counters));
    if (broken) labels.restore(broken.salvage.labels, broken.salvage.bursts);
    const event = recoveryEvent(opened, { missing, kept });
    if (!event) return;
    this.#deps.log.error(event.context, 'store recovered');
    this.raise(event);
  }

  #makeRoom(): boolean {
    const freed = this.#ballast.release() || deleteOldestQuarantined(this.#path);
    const deleted = this.#retention.makeRoom();
    this.#deps.log.warn({ ballast: freed, deleted }, 'disk full: deleted the oldest records');
    return freed || deleted > 0;
  }
}
