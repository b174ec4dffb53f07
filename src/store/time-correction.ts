import type Database from 'better-sqlite3';
import { isoTime } from '../base/clock.ts';
import type { Warning } from '../contract/codes.ts';
import type { Observation } from '../contract/observation.ts';
import { recordsOf, recordStream } from './outbox/table.ts';
import type { SqliteOutbox } from './outbox/outbox.ts';
import type { ClockMoment, CorrectionResult, KeyValue, RecordKind } from './types.ts';
import { MIN_SHIFT_MS, type UnsyncedRow, type UnsyncedRows } from './unsynced.ts';
import type { Writer } from './writer.ts';

/** Messages that one transaction corrects: this blocks the event loop for a few milliseconds. */
const BATCH_ROWS = 200;
/** Number of boots whose offset is kept. Drop policy: oldest first. */
const MAX_BOOTS = 16;
const BOOTS_KEY = 'time.boots';

/** How far the correct wall clock is ahead of the monotonic clock, for one boot of the machine. */
interface BootOffset {
  readonly boot: string;
  /** The correct wall-clock time minus the monotonic time, ms. It is the same during the whole boot. */
  readonly ahead_ms: number;
  /** False when the clock was set by hand: a synchronisation may still change `ahead_ms`. */
  readonly synced: boolean;
}

export interface TimeCorrectionDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly keyValue: KeyValue;
  readonly outbox: SqliteOutbox;
  readonly unsynced: UnsyncedRows;
}

/**
 * Corrects the timestamps of records and events that were made before the clock was synchronised. During one boot, wall
 * clock minus monotonic clock must stay the same. If it differed when a message was made, the difference is the error
 * of its timestamps, and the correction moves them by this difference. A message that may have been published keeps its
 * payload, because one `id` must not have two times; only its time in the local history changes. Sequence numbers and
 * order never change.
 */
export class TimeCorrection {
  readonly #deps: TimeCorrectionDeps;
  readonly #sql: ReturnType<typeof prepare>;
  #isSynced: () => boolean | null = () => null;

  constructor(deps: TimeCorrectionDeps) {
    this.#deps = deps;
    this.#sql = prepare(deps.db);
  }

  /** Sets the function that returns whether the clock is synchronised. Events and age limits use this function. */
  setSyncSource(isSynced: () => boolean): void {
    this.#isSynced = isSynced;
  }

  /** Whether the clock is synchronised; null until `setSyncSource` is called. */
  isClockSynced(): boolean | null {
    return this.#isSynced();
  }

  /**
   * Notes a record that was made while the clock was not synchronised. Call it in the transaction that queues the
   * record.
   */
  noteRecord(record: TimedRecord, kind: RecordKind, outboxRowId: number): void {
    const { camera, seq, boot_id: bootId, captured_at: capturedAt, mono_ms: monoMs, status } = record;
    // `captured_at` of a skipped record is the time from the schedule, which was not read from a clock.
    const read = status === 'skipped' ? undefined : { wallMs: Date.parse(capturedAt), monoMs };
    this.#deps.unsynced.add({ stream: recordStream(camera, kind), seq, outboxRowId, bootId }, read);
  }

  /** Notes an event, unless the clock is synchronised. Call it in the transaction that queues the event. */
  noteEvent(seq: number, outboxRowId: number, bootId: string | null): void {
    if (bootId === null || this.#isSynced() === true) return;
    this.#deps.unsynced.add({ stream: 'events', seq, outboxRowId, bootId });
  }

  /** Call it after the machine was suspended: meanwhile, the wall clock advanced and the monotonic clock did not. */
  noteSleep(sleptMs: number, bootId: string): void {
    this.#deps.writer.write(() => {
      this.#deps.unsynced.addSleep(sleptMs, bootId);
      const known = this.#readBoots().find(({ boot }) => boot === bootId);
      if (known) this.#saveBoot({ ...known, ahead_ms: known.ahead_ms + sleptMs });
    });
  }

  /** Corrects one batch, in one transaction. Throws `store_*`. */
  correctTimestamps(clock: ClockMoment): CorrectionResult {
    const { unsynced, writer } = this.#deps;
    return writer.write(() => {
      const offsetMs = unsynced.clockOffset().nowMs;
      if (clock.synced || clock.stepped)
        this.#saveBoot({ boot: clock.bootId, ahead_ms: offsetMs, synced: clock.synced });
      const boots = new Map(this.#readBoots().map((each) => [each.boot, each]));
      const ownBoot = boots.get(clock.bootId);
      const rows = unsynced.due({
        bootId: clock.bootId,
        includeUnshifted: ownBoot?.synced === true && clock.synced,
        offsetMs: ownBoot?.ahead_ms ?? null,
        limit: BATCH_ROWS,
      });
      let corrected = 0;
      let uncertain = 0;
      for (const row of rows) {
        const boot = boots.get(row.boot_id);
        const shiftMs = boot ? boot.ahead_ms - row.ahead_ms : null;
        const canRewrite = !unsynced.mayBePublished(row);
        if (shiftMs === null) {
          if (canRewrite && this.#rewrite(row, null)) uncertain += 1;
        } else if (Math.abs(shiftMs) >= MIN_SHIFT_MS) {
          if (canRewrite && this.#rewrite(row, shiftMs)) corrected += 1;
          this.#moveInHistory(row, shiftMs);
        }
        // If the clock was set by hand, a synchronisation may correct it again: keep the row.
        if (boot?.synced === false && row.boot_id === clock.bootId) unsynced.setOffset(row, boot.ahead_ms);
        else unsynced.delete(row);
      }
      return { corrected, uncertain, more: rows.length === BATCH_ROWS };
    });
  }

  /** Rewrites the payload in the outbox and in the history. Returns false when it is in neither, or was published. */
  #rewrite({ stream, seq }: UnsyncedRow, shiftMs: number | null): boolean {
    const wasWaiting = this.#deps.outbox.rewrite(stream, seq, ({ payload, createdAtMs }) => ({
      payload: shiftTimestamps(payload, shiftMs),
      // A message with an unknown time must not be dropped as old: retention ignores the time 0.
      createdAtMs: shiftMs === null ? 0 : Math.round(createdAtMs + shiftMs),
    }));
    const records = recordsOf(stream);
    const stored = records ? this.#sql[records.kind].read.get(records.camera, seq) : this.#sql.event.get(seq);
    if (!stored || stored.published_at_ms !== null) return wasWaiting;
    const payload = shiftTimestamps(stored.payload, shiftMs);
    if (records) this.#sql[records.kind].setPayload.run(payload, records.camera, seq);
    else this.#sql.setEventPayload.run(payload, seq);
    return true;
  }

  #moveInHistory({ stream, seq }: UnsyncedRow, shiftMs: number): void {
    const byMs = Math.round(shiftMs);
    const records = recordsOf(stream);
    if (!records) {
      this.#sql.moveEvent.run(byMs, seq);
      return;
    }
    const { camera, kind } = records;
    this.#sql[kind].move.run(byMs, camera, seq);
    if (kind === 'observation') this.#sql.moveBurst.run(byMs, camera, camera, seq);
  }

  #readBoots(): readonly BootOffset[] {
    return JSON.parse(this.#deps.keyValue.get(BOOTS_KEY) ?? '[]') as BootOffset[];
  }

  #saveBoot(next: BootOffset): void {
    const boots = this.#readBoots();
    const before = boots.find(({ boot }) => boot === next.boot);
    const isSame = before?.synced === next.synced && Math.abs(before.ahead_ms - next.ahead_ms) < 100;
    if (isSame) return;
    const others = boots.filter(({ boot }) => boot !== next.boot);
    this.#deps.keyValue.set(BOOTS_KEY, JSON.stringify([next, ...others].slice(0, MAX_BOOTS)));
  }
}

type TimedRecord = Pick<Observation, 'camera' | 'seq' | 'boot_id' | 'captured_at' | 'mono_ms' | 'status'>;

interface TimedMessage {
  captured_at?: string;
  warnings?: string[];
  at?: string;
  context?: Record<string, unknown>;
}

/** Moves the timestamp of a message, or marks it as uncertain when `shiftMs` is null. Keeps the order of the keys. */
function shiftTimestamps(payload: string, shiftMs: number | null): string {
  const message = JSON.parse(payload) as TimedMessage;
  const note: Warning = shiftMs === null ? 'time_uncertain' : 'time_corrected';
  const shift = (time: string): string => isoTime(Date.parse(time) + Math.round(shiftMs ?? 0));
  if (message.captured_at !== undefined) {
    message.captured_at = shift(message.captured_at);
    message.warnings = [...(message.warnings ?? []).filter((warning) => warning !== note), note];
  } else if (message.at !== undefined) {
    message.at = shift(message.at);
    message.context = { ...message.context, [note]: true };
  }
  return JSON.stringify(message);
}

interface StoredMessage {
  readonly payload: string;
  readonly published_at_ms: number | null;
}

function prepare(db: Database.Database) {
  const changes = (table: string) => ({
    setPayload: db.prepare<[string, string, number]>(
      `UPDATE ${table} SET payload = ? WHERE camera = ? AND seq = ?`,
    ),
    move: db.prepare<[number, string, number]>(
      `UPDATE ${table} SET captured_at_ms = captured_at_ms + ? WHERE camera = ? AND seq = ?`,
    ),
  });
  return {
    observation: {
      read: db.prepare<[string, number], StoredMessage>(
        `SELECT payload, coalesce(o.published_at_ms, p.published_at_ms) AS published_at_ms
         FROM observations o LEFT JOIN publications p ON p.camera = o.camera AND p.seq = o.seq
         WHERE o.camera = ? AND o.seq = ?`,
      ),
      ...changes('observations'),
    },
    sea_state: {
      read: db.prepare<[string, number], StoredMessage>(
        'SELECT payload, published_at_ms FROM sea_states WHERE camera = ? AND seq = ?',
      ),
      ...changes('sea_states'),
    },
    moveBurst: db.prepare<[number, string, string, number]>(
      `UPDATE bursts SET captured_at_ms = captured_at_ms + ? WHERE camera = ? AND observation_id =
         (SELECT id FROM observations WHERE camera = ? AND seq = ?)`,
    ),
    event: db.prepare<[number], StoredMessage>('SELECT payload, published_at_ms FROM events WHERE seq = ?'),
    setEventPayload: db.prepare<[string, number]>('UPDATE events SET payload = ? WHERE seq = ?'),
    moveEvent: db.prepare<[number, number]>('UPDATE events SET at_ms = at_ms + ? WHERE seq = ?'),
  };
}
