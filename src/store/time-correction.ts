import type Database from 'better-sqlite3';
import { isoTime, type Clock } from '../base/clock.ts';
import type { Observation } from '../contract/observation.ts';
import { cameraOf } from './outbox/statements.ts';
import type { SqliteOutbox } from './outbox/outbox.ts';
import type { KeyValue, OutboxEntry } from './types.ts';
import { prepareUnsynced, type UnsyncedRow } from './unsynced.ts';
import type { Writer } from './writer.ts';

/** Records mended in one transaction: short, so that the main loop is not held up. */
const BATCH = 200;
/** Smaller differences are the time between two readings, and no fault of the clock. */
const MIN_SHIFT_MS = 1000;
const BOOTS_KEPT = 16;
const BOOTS_KEY = 'time.boots';
/** Rows that are marked as handed at once, ahead of a long queue: one commit for each row would halve its rate. */
const MARKED_AHEAD = { least: 64, most: 4096 };

/** What a boot's times are measured against: wall minus monotonic clock when it was set. */
interface Reference {
  readonly boot: string;
  readonly ahead_ms: number;
  /** False: set by hand, which a synchronisation may still correct. */
  readonly synced: boolean;
}

/** The state of the clock at the moment of mending. */
export interface ClockMoment {
  readonly bootId: string;
  readonly synced: boolean;
  /** The clock was set just now: its new time is taken for better than the old one. */
  readonly stepped: boolean;
}

export interface MendOutcome {
  /** Unsent records whose times were moved, and say so by `time_corrected`. */
  readonly corrected: number;
  /** Unsent records of an earlier boot that was never synchronised: marked `time_uncertain`. */
  readonly uncertain: number;
  /** The batch was full: call again soon. */
  readonly more: boolean;
}

export interface TimeCorrectionDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly memory: KeyValue;
  readonly outbox: SqliteOutbox;
}

/**
 * Mends the times of what was recorded before anything had set the clock. Within one boot the monotonic clock tells
 * how wrong the wall clock was: once it is set, records are moved by the difference. What may have been sent keeps its
 * text, for an `id` must never tell two times; only its place in the local history moves. Numbers and order never change.
 */
export class TimeCorrection {
  readonly #deps: TimeCorrectionDeps;
  readonly #statements: ReturnType<typeof prepareUnsynced>;
  /** False when no row can be waiting to be marked as handed. */
  #unhanded: boolean;
  #handedRows = 0;
  /** Handed out while the disk took no mark. */
  readonly #unmarked = new Set<string>();
  #clockSynced: () => boolean | null = () => null;
  /** Wall minus monotonic clock, before and after the last change that was noticed, and when that was. */
  #ahead: { readonly nowMs: number; readonly beforeMs: number | null; readonly changedMonoMs: number };

  constructor(deps: TimeCorrectionDeps) {
    this.#deps = deps;
    this.#statements = prepareUnsynced(deps.db);
    this.#unhanded = this.#statements.anyUnhanded.get()?.found === 1;
    this.#ahead = { nowMs: this.#readAheadMs(), beforeMs: null, changedMonoMs: -Infinity };
  }

  /** Says from now on whether something keeps the clock right: events and ages are judged by it. */
  followClock(synced: () => boolean): void {
    this.#clockSynced = synced;
  }

  /** Null as long as nobody has said. */
  clockSynced(): boolean | null {
    return this.#clockSynced();
  }

  /** Notes a record that nothing vouches for; call it in the transaction that queues it. */
  rememberRecord(record: Observation, outboxRowId: number): void {
    const { camera, seq, boot_id: bootId, captured_at: capturedAt, mono_ms: monoMs, status } = record;
    // A lost slot has the time when it was due, which no clock was read for.
    const read = status === 'skipped' ? undefined : { wallMs: Date.parse(capturedAt), monoMs };
    this.#remember({ stream: `camera:${camera}`, seq, outboxRowId, bootId }, read);
  }

  /** The same for an event, unless something keeps the clock right. */
  rememberEvent(seq: number, outboxRowId: number, bootId: string | null): void {
    if (bootId === null || this.#clockSynced() === true) return;
    this.#remember({ stream: 'events', seq, outboxRowId, bootId });
  }

  /** `read` is when its own times were read, on both clocks: a step may lie between that moment and this one. */
  #remember(
    message: { stream: string; seq: number; outboxRowId: number; bootId: string },
    read?: { wallMs: number; monoMs: number },
  ): void {
    const { nowMs, beforeMs, changedMonoMs } = this.#lookAhead();
    let aheadMs = nowMs;
    if (read && beforeMs !== null && read.monoMs <= changedMonoMs) {
      const readAheadMs = read.wallMs - read.monoMs;
      if (Math.abs(readAheadMs - beforeMs) < Math.abs(readAheadMs - nowMs)) aheadMs = beforeMs;
    }
    this.#statements.insert.run(message.stream, message.seq, message.bootId, aheadMs, message.outboxRowId);
    this.#unhanded = true;
  }

  /** Rows that leave the store for the broker: from now on they are not mended, also after a crash. */
  handed(entries: readonly OutboxEntry[]): void {
    if (!this.#unhanded) return;
    const isNew = ({ stream, seq }: OutboxEntry): boolean =>
      this.#statements.isHanded.get(stream, seq)?.handed === 0;
    const fresh = entries.filter(isNew);
    const last = fresh.at(-1);
    if (!last) return;
    this.#handedRows += fresh.length;
    const ahead = Math.min(Math.max(this.#handedRows, MARKED_AHEAD.least), MARKED_AHEAD.most);
    try {
      this.#deps.writer.write(() => {
        for (const { stream, seq } of fresh) this.#statements.hand.run(stream, seq);
        this.#statements.handAhead.run(last.rowId, last.stream === 'events' ? 1 : 0, ahead);
      });
      this.#unhanded = this.#statements.anyUnhanded.get()?.found === 1;
    } catch {
      // Sending does not wait for the disk; the writer has noted the failure.
      for (const entry of fresh) this.#unmarked.add(keyOf(entry));
    }
  }

  /** The wall clock went on while the monotonic one stood still: no step, but the two are further apart from now on. */
  slept(sleptMs: number, bootId: string): void {
    const { nowMs } = this.#lookAhead();
    this.#deps.writer.write(() => {
      // What was made after the machine woke has the new distance already.
      this.#statements.moveAhead.run(sleptMs, bootId, nowMs, MIN_SHIFT_MS);
      const known = this.#references().find(({ boot }) => boot === bootId);
      if (known) this.#refer({ ...known, ahead_ms: known.ahead_ms + sleptMs });
    });
  }

  /** One batch, in one transaction. Throws `store_*`. */
  mend(moment: ClockMoment): MendOutcome {
    return this.#deps.writer.write(() => {
      const aheadMs = this.#lookAhead().nowMs;
      if (moment.synced || moment.stepped)
        this.#refer({ boot: moment.bootId, ahead_ms: aheadMs, synced: moment.synced });
      const references = new Map(this.#references().map((each) => [each.boot, each]));
      const own = references.get(moment.bootId);
      const rows = this.#statements.due.all({
        boot: moment.bootId,
        all: own?.synced === true && moment.synced ? 1 : 0,
        ahead: own ? own.ahead_ms : null,
        smallest: MIN_SHIFT_MS,
        limit: BATCH,
      });
      let corrected = 0;
      let uncertain = 0;
      for (const row of rows) {
        const reference = references.get(row.boot_id);
        const shiftMs = reference ? reference.ahead_ms - row.ahead_ms : null;
        const free = row.handed === 0 && !this.#unmarked.has(keyOf(row));
        if (shiftMs === null) {
          if (free && this.#rewrite(row, null)) uncertain += 1;
        } else if (Math.abs(shiftMs) >= MIN_SHIFT_MS) {
          if (free && this.#rewrite(row, shiftMs)) corrected += 1;
          this.#move(row, shiftMs);
        }
        if (reference?.synced === false && row.boot_id === moment.bootId)
          this.#statements.rebase.run(reference.ahead_ms, row.stream, row.seq);
        else this.#statements.forget.run(row.stream, row.seq);
      }
      return { corrected, uncertain, more: rows.length === BATCH };
    });
  }

  /** Forgets what retention deleted; call it now and then. */
  prune(): void {
    this.#deps.writer.write(() => this.#statements.forgetGone.run(BATCH));
  }

  /** The message as it lies in the queue and in the history. False when it is in neither, or was sent. */
  #rewrite({ stream, seq }: UnsyncedRow, shiftMs: number | null): boolean {
    const waiting = this.#deps.outbox.retime(stream, seq, (payload, createdAtMs) => ({
      payload: mended(payload, shiftMs),
      // A time that is not known makes nothing too old: 0 is before any plausible one.
      createdAtMs: shiftMs === null ? 0 : Math.round(createdAtMs + shiftMs),
    }));
    const { record, restore, event, restoreEvent } = this.#statements;
    const camera = cameraOf(stream);
    const kept = camera === null ? event.get(seq) : record.get(camera, seq);
    if (!kept || kept.published_at_ms !== null) return waiting;
    const payload = mended(kept.payload, shiftMs);
    if (camera === null) restoreEvent.run(payload, seq);
    else restore.run(payload, camera, seq);
    return true;
  }

  /** The place in the history, and the age of what is kept. */
  #move({ stream, seq }: UnsyncedRow, shiftMs: number): void {
    const byMs = Math.round(shiftMs);
    const camera = cameraOf(stream);
    if (camera === null) {
      this.#statements.moveEvent.run(byMs, seq);
      return;
    }
    this.#statements.moveRecord.run(byMs, camera, seq);
    this.#statements.moveBurst.run(byMs, camera, camera, seq);
  }

  #readAheadMs(): number {
    return this.#deps.clock.nowMs() - this.#deps.clock.monoMs();
  }

  #lookAhead(): { readonly nowMs: number; readonly beforeMs: number | null; readonly changedMonoMs: number } {
    const nowMs = this.#readAheadMs();
    if (Math.abs(nowMs - this.#ahead.nowMs) >= MIN_SHIFT_MS)
      this.#ahead = { nowMs, beforeMs: this.#ahead.nowMs, changedMonoMs: this.#deps.clock.monoMs() };
    return this.#ahead;
  }

  #references(): readonly Reference[] {
    return JSON.parse(this.#deps.memory.get(BOOTS_KEY) ?? '[]') as Reference[];
  }

  #refer(next: Reference): void {
    const known = this.#references();
    const before = known.find(({ boot }) => boot === next.boot);
    const same = before?.synced === next.synced && Math.abs(before.ahead_ms - next.ahead_ms) < 100;
    if (same) return;
    const others = known.filter(({ boot }) => boot !== next.boot);
    this.#deps.memory.set(BOOTS_KEY, JSON.stringify([next, ...others].slice(0, BOOTS_KEPT)));
  }
}

const keyOf = ({ stream, seq }: { stream: string; seq: number }): string => `${stream}/${seq}`;

interface TimedMessage {
  captured_at?: string;
  warnings?: string[];
  at?: string;
  context?: Record<string, unknown>;
}

/** The message with its time moved, or, with null, marked as not to be relied on. Keys keep their order. */
function mended(payload: string, shiftMs: number | null): string {
  const message = JSON.parse(payload) as TimedMessage;
  const note = shiftMs === null ? 'time_uncertain' : 'time_corrected';
  const moved = (time: string): string => isoTime(Date.parse(time) + Math.round(shiftMs ?? 0));
  if (message.captured_at !== undefined) {
    message.captured_at = moved(message.captured_at);
    message.warnings = [...(message.warnings ?? []).filter((warning) => warning !== note), note];
  } else if (message.at !== undefined) {
    message.at = moved(message.at);
    message.context = { ...message.context, [note]: true };
  }
  return JSON.stringify(message);
}
