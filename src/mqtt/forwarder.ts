import { isoTime, type Clock } from '../clock.ts';
import { asAgentError, type AgentError } from '../errors.ts';
import type { Log } from '../log.ts';
import { Backoff } from '../retry.ts';
import type { Outbox, OutboxEntry, OutboxFilter, RaiseEvent } from '../store/types.ts';
import type { Link } from './types.ts';

export interface ForwarderOptions {
  /** Messages without a PUBACK at a time, at most. The link allows fewer where the broker does. */
  readonly window?: number;
  /** Records of the time without a link, per second, at most. */
  readonly backfillPerS?: number;
}

export interface ForwarderDeps {
  readonly outbox: Outbox;
  readonly link: Link;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
  readonly raise: RaiseEvent;
}

/** Losses of the link over one and the same message, sent alone, before it is set aside. */
const STRIKES = 5;
const PAUSE = { minMs: 1000, maxMs: 30_000, resetAfterMs: 0 };

interface Sent {
  readonly entry: OutboxEntry;
  readonly historical: boolean;
  readonly publishedAtMs: number;
}

/**
 * Drains the outbox through the link. First the records made since the link came up, then events, then, rate-limited and
 * marked historical, the records made while it was down; each of the three in the order of its numbers. A row is taken
 * from the outbox when its PUBACK has come, and not before.
 */
export class Forwarder {
  readonly #deps: ForwarderDeps;
  readonly #window: number;
  readonly #backfillGapMs: number;
  readonly #pause: Backoff;
  /** Rows that are with the broker, or acknowledged and not yet taken out of the outbox. */
  readonly #taken = new Set<number>();
  #inFlight = 0;
  #acked: Sent[] = [];
  /** Rows over which the link was lost, with their strikes: each is sent alone until it is acknowledged. */
  readonly #suspects = new Map<number, number>();
  #suspectInFlight = false;
  /** Rows up to this one were there when the link came up; null before it first did. */
  #backlogUpTo: number | null = null;
  #backfillFreeAtMs = 0;
  #waiting = false;
  #wakeScheduled = false;
  #settleScheduled = false;
  #signal: AbortSignal | null = null;

  constructor(options: ForwarderOptions, deps: ForwarderDeps) {
    this.#deps = deps;
    this.#window = options.window ?? 20;
    this.#backfillGapMs = 1000 / (options.backfillPerS ?? 50);
    this.#pause = new Backoff(PAUSE, {
      clock: deps.clock,
      ...(deps.random ? { random: deps.random } : {}),
    });
  }

  /** Begins to listen to the outbox; nothing is sent before `linkUp`, nothing after the signal. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    this.#deps.outbox.onAdded(() => this.#pump());
  }

  /** The link's birth is complete: what waits now was made while there was no link. */
  linkUp(): void {
    this.#backlogUpTo = this.#deps.outbox.newestRowId;
    this.#pump();
  }

  /** Waits until nothing is with the broker and every acknowledged row is out of the outbox, or the signal fires. */
  async idle(signal: AbortSignal): Promise<void> {
    while (this.#taken.size > 0 && !signal.aborted)
      await this.#deps.clock.sleep(10, signal).catch(() => undefined);
  }

  #pump(): void {
    const { link } = this.#deps;
    if (!this.#signal || this.#signal.aborted || this.#waiting) return;
    const backlogUpTo = this.#backlogUpTo;
    if (backlogUpTo === null) return;
    while (link.connected && this.#inFlight < this.#window && !this.#suspectInFlight) {
      const batch = this.#nextBatch(this.#window - this.#inFlight, backlogUpTo);
      if (batch.length === 0) return;
      for (const sent of batch) if (!this.#send(sent)) return;
    }
  }

  /** The rows to send next, of one kind: a whole batch bears the same time. */
  #nextBatch(room: number, backlogUpTo: number): readonly Sent[] {
    const publishedAtMs = Math.round(this.#deps.clock.nowMs());
    const take = (limit: number, historical: boolean, filter: OutboxFilter): readonly Sent[] =>
      this.#deps.outbox
        .next(limit, this.#taken, filter)
        .map((entry) => ({ entry, historical, publishedAtMs }));
    const live = take(room, false, { streams: 'cameras', afterRowId: backlogUpTo });
    if (live.length > 0) return live;
    const events = take(room, false, { streams: 'events' });
    if (events.length > 0) return events;
    const backfill = take(1, true, { streams: 'cameras', upToRowId: backlogUpTo });
    return backfill.length > 0 && this.#mayBackfill() ? backfill : [];
  }

  #mayBackfill(): boolean {
    const nowMs = this.#deps.clock.monoMs();
    const waitMs = this.#backfillFreeAtMs - nowMs;
    if (waitMs > 0) {
      this.#wakeIn(waitMs);
      return false;
    }
    // A late timer is made up for, within one window.
    this.#backfillFreeAtMs =
      Math.max(this.#backfillFreeAtMs, nowMs - this.#window * this.#backfillGapMs) + this.#backfillGapMs;
    return true;
  }

  /** Looks again after a while, unless something else leads to it before. */
  #wakeIn(ms: number): void {
    if (this.#wakeScheduled) return;
    this.#wakeScheduled = true;
    const again = (): void => {
      this.#wakeScheduled = false;
      this.#pump();
    };
    void this.#deps.clock.sleep(ms, this.#signal ?? undefined).then(again, () => undefined);
  }

  /** False when the row has to wait until nothing else is in flight. */
  #send(sent: Sent): boolean {
    const { entry } = sent;
    const suspect = this.#suspects.has(entry.rowId);
    if (suspect && this.#inFlight > 0) return false;
    this.#taken.add(entry.rowId);
    this.#inFlight += 1;
    this.#suspectInFlight = suspect;
    void this.#publish(sent, suspect);
    return !suspect;
  }

  async #publish(sent: Sent, alone: boolean): Promise<void> {
    const { entry, historical, publishedAtMs } = sent;
    const { link } = this.#deps;
    try {
      const topic = historical ? entry.topic.replace(/observation$/, 'backfill') : entry.topic;
      const payload =
        entry.stream === 'events' ? entry.payload : filled(entry.payload, publishedAtMs, historical);
      await link.publish(topic, payload, { qos: 1, retain: false, bulk: historical });
      this.#suspects.delete(entry.rowId);
      this.#pause.started();
      this.#acked.push(sent);
      this.#scheduleSettle();
    } catch (thrown) {
      this.#failed(sent, asAgentError(thrown), alone);
    } finally {
      this.#inFlight -= 1;
      if (alone) this.#suspectInFlight = false;
      this.#pump();
    }
  }

  #failed({ entry }: Sent, error: AgentError, alone: boolean): void {
    if (this.#signal?.aborted === true) return;
    if (!error.retryable) {
      this.#reject(entry, error.code, error.message);
      return;
    }
    if (error.code === 'mqtt_busy') {
      this.#taken.delete(entry.rowId);
      this.#hold();
      return;
    }
    const strikes = (this.#suspects.get(entry.rowId) ?? 0) + (alone ? 1 : 0);
    this.#suspects.set(entry.rowId, strikes);
    if (strikes >= STRIKES) this.#reject(entry, 'mqtt_timeout', 'the link is lost each time that it is sent');
    else this.#taken.delete(entry.rowId);
  }

  /** The broker asks for time. */
  #hold(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    const again = (): void => {
      this.#waiting = false;
      this.#pump();
    };
    void this.#deps.clock.sleep(this.#pause.nextMs(), this.#signal ?? undefined).then(again, () => undefined);
  }

  #reject(entry: OutboxEntry, code: AgentError['code'], reason: string): void {
    const { outbox, raise, log } = this.#deps;
    this.#suspects.delete(entry.rowId);
    try {
      outbox.rejected(entry.rowId, `${code}: ${reason}`);
      this.#taken.delete(entry.rowId);
    } catch (thrown) {
      // It stays with us until the next start: sending it again would end the same way.
      log.error(
        { code: asAgentError(thrown).code, topic: entry.topic, seq: entry.seq },
        'refused message not set aside',
      );
      return;
    }
    // An event about an event could go on for ever.
    if (entry.topic === 'event/outbox_rejected') return;
    raise({
      type: 'outbox_rejected',
      severity: 'warning',
      code,
      message: 'The broker does not take a message. It was set aside.',
      context: {
        topic: entry.topic,
        stream: entry.stream,
        seq: entry.seq,
        reason,
        size_bytes: entry.payload.length,
      },
    });
  }

  #scheduleSettle(): void {
    if (this.#settleScheduled) return;
    this.#settleScheduled = true;
    // Acknowledgements come in bunches: one commit for each bunch.
    setImmediate(() => {
      this.#settleScheduled = false;
      this.#settle();
    });
  }

  #settle(): void {
    const { outbox, clock, log } = this.#deps;
    while (this.#acked[0]) {
      const { publishedAtMs, historical } = this.#acked[0];
      const alike = this.#acked.filter(
        (s) => s.publishedAtMs === publishedAtMs && s.historical === historical,
      );
      const rowIds = alike.map(({ entry }) => entry.rowId);
      try {
        outbox.accepted(rowIds, publishedAtMs, historical);
      } catch (thrown) {
        log.error(
          { code: asAgentError(thrown).code, rows: rowIds.length },
          'acknowledged rows not taken out',
        );
        void clock.sleep(1000, this.#signal ?? undefined).then(
          () => this.#scheduleSettle(),
          () => undefined,
        );
        return;
      }
      for (const rowId of rowIds) this.#taken.delete(rowId);
      this.#acked = this.#acked.filter((sent) => !alike.includes(sent));
    }
    this.#pump();
  }
}

/** The record with what is known only when it is sent. */
function filled(payload: string, publishedAtMs: number, historical: boolean): string {
  const record = JSON.parse(payload) as Record<string, unknown>;
  return JSON.stringify({ ...record, published_at: isoTime(publishedAtMs), historical });
}
