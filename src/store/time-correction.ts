import type Database from 'better-sqlite3';
import { isoTime } from '../base/clock.ts';
import type { Observation } from '../contract/observation.ts';
import { cameraOf } from './outbox/table.ts';
import type { SqliteOutbox } from './outbox/outbox.ts';
import type { KeyValue } from './types.ts';
import { MIN_SHIFT_MS, type UnsyncedRow, type UnsyncedRows } from './unsynced.ts';
import type { Writer } from './writer.ts';

/** Messages corrected in one transaction: a few milliseconds of the event loop. */
const BATCH_ROWS = 200;
/** Boots with a known offset. Drop policy: oldest first. */
const MAX_BOOTS = 16;
const BOOTS_KEY = 'time.boots';

/** The right offset of one boot. */
interface BootOffset {
  readonly boot: string;
  /** Wall clock minus monotonic clock, ms. */
  readonly ahead_ms: number;
  /** False: set by hand; a synchronization may still change it. */
  readonly synced: boolean;
}

/** The state of the clock when the correction runs. */
export interface ClockState {
  readonly bootId: string;
  readonly synced: boolean;
  /** The clock was set a moment ago: its new time counts as better than the old one. */
  readonly stepped: boolean;
}

export interface CorrectionResult {
  /** Unsent messages with moved timestamps, marked `time_corrected`. */
  readonly corrected: number;
  /** Unsent messages of an earlier boot that was never synchronized, marked `time_uncertain`. */
  readonly uncertain: number;
  /** The batch was full: call again soon. */
  readonly more: boolean;
}

export interface TimeCorrectionDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly keyValue: KeyValue;
  readonly outbox: SqliteOutbox;
  readonly unsynced: UnsyncedRows;
}

/**
 * Corrects the timestamps of records and events that were made before the clock was synchronized. Within one boot, the
 * monotonic clock shows the error of the wall clock, and the correction moves the timestamps by it. A message that may
 * have been published keeps its payload, because one `id` must not have two times; only its position in the local
 * history moves. Sequence numbers and order never change.
 */
export class TimeCorrection {
  readonly #deps: TimeCorrectionDeps;
  readonly #sql: ReturnType<typeof prepare>;
  #isSynced: () => boolean | null = () => null;

  constructor(deps: TimeCorrectionDeps) {
    this.#deps = deps;
    this.#sql = prepare(deps.db);
  }

  /** Sets the function that returns whether the clock is synchronized. Events and age limits depend on it. */
  setSyncSource(isSynced: () => boolean): void {
    this.#isSynced = isSynced;
  }

  /** Null until `setSyncSource` is called. */
  isClockSynced(): boolean | null {
    return this.#isSynced();
  }

  /** Notes a record with unverified timestamps; call it in the transaction that queues it. */
  noteRecord(record: Observation, outboxRowId: number): void {
    const { camera, seq, boot_id: bootId, captured_at: capturedAt, mono_ms: monoMs, status } = record;
    // A skipped slot has the time when it was due, which was read from no clock.
    const read = status === 'skipped' ? undefined : { wallMs: Date.parse(capturedAt), monoMs };
    this.#deps.unsynced.add({ stream: `camera:${camera}`, seq, outboxRowId, bootId }, read);
  }

  /** Notes an event, unless the clock is synchronized; call it in the transaction that queues it. */
  noteEvent(seq: number, outboxRowId: number, bootId: string | null): void {
    if (bootId === null || this.#isSynced() === true) return;
    this.#deps.unsynced.add({ stream: 'events', seq, outboxRowId, bootId });
  }

  /** Accounts for a suspend of the machine: the wall clock went on and the monotonic clock did not. */
  noteSleep(sleptMs: number, bootId: string): void {
    this.#deps.writer.write(() => {
      this.#deps.unsynced.addSleep(sleptMs, bootId);
      const known = this.#readBoots().find(({ boot }) => boot === bootId);
      if (known) this.#saveBoot({ ...known, ahead_ms: known.ahead_ms + sleptMs });
    });
  }

  /** Corrects one batch, in one transaction. Throws `store_*`. */
  correctTimestamps(clock: ClockState): CorrectionResult {
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
        // A clock set by hand may be corrected again by a synchronization.
        if (boot?.synced === false && row.boot_id === clock.bootId) unsynced.setOffset(row, boot.ahead_ms);
        else unsynced.delete(row);
      }
      return { corrected, uncertain, more: rows.length === BATCH_ROWS };
    });
  }

  /** Rewrites the payload in the outbox and in the history. False when it is in neither, or was published. */
  #rewrite({ stream, seq }: UnsyncedRow, shiftMs: number | null): boolean {
    const wasWaiting = this.#deps.outbox.rewrite(stream, seq, ({ payload, createdAtMs }) => ({
      payload: shiftTimestamps(payload, shiftMs),
      // An unknown time must not count as old: 0 is before any plausible time.
      createdAtMs: shiftMs === null ? 0 : Math.round(createdAtMs + shiftMs),
    }));
    const camera = cameraOf(stream);
    const stored = camera === null ? this.#sql.event.get(seq) : this.#sql.record.get(camera, seq);
    if (!stored || stored.published_at_ms !== null) return wasWaiting;
    const payload = shiftTimestamps(stored.payload, shiftMs);
    if (camera === null) this.#sql.setEventPayload.run(payload, seq);
    else this.#sql.setRecordPayload.run(payload, camera, seq);
    return true;
  }

  #moveInHistory({ stream, seq }: UnsyncedRow, shiftMs: number): void {
    const byMs = Math.round(shiftMs);
    const camera = cameraOf(stream);
    if (camera === null) {
      this.#sql.moveEvent.run(byMs, seq);
      return;
    }
    this.#sql.moveRecord.run(byMs, camera, seq);
    this.#sql.moveBurst.run(byMs, camera, camera, seq);
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

interface TimedMessage {
  captured_at?: string;
  warnings?: string[];
  at?: string;
  context?: Record<string, unknown>;
}

/** Moves the timestamp of a message, or marks it as uncertain when `shiftMs` is null. Keeps the order of the keys. */
function shiftTimestamps(payload: string, shiftMs: number | null): string {
  const message = JSON.parse(payload) as TimedMessage;
  const note = shiftMs === null ? 'time_uncertain' : 'time_corrected';
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
  return {
    record: db.prepare<[string, number], StoredMessage>(
      `SELECT payload, coalesce(o.published_at_ms, p.published_at_ms) AS published_at_ms
       FROM observations o LEFT JOIN publications p ON p.camera = o.camera AND p.seq = o.seq
       WHERE o.camera = ? AND o.seq = ?`,
    ),
    setRecordPayload: db.prepare<[string, string, number]>(
      'UPDATE observations SET payload = ? WHERE camera = ? AND seq = ?',
    ),
    moveRecord: db.prepare<[number, string, number]>(
      'UPDATE observations SET captured_at_ms = captured_at_ms + ? WHERE camera = ? AND seq = ?',
    ),
    moveBurst: db.prepare<[number, string, string, number]>(
      `UPDATE bursts SET captured_at_ms = captured_at_ms + ? WHERE camera = ? AND observation_id =
         (SELECT id FROM observations WHERE camera = ? AND seq = ?)`,
    ),
    event: db.prepare<[number], StoredMessage>('SELECT payload, published_at_ms FROM events WHERE seq = ?'),
    setEventPayload: db.prepare<[string, number]>('UPDATE events SET payload = ? WHERE seq = ?'),
    moveEvent: db.prepare<[number, number]>('UPDATE events SET at_ms = at_ms + ? WHERE seq = ?'),
  };
}
