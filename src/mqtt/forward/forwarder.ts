import { isoTime, type Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { Backoff } from '../../base/retry.ts';
import { TokenBucket } from '../../base/token-bucket.ts';
import type { Outbox, OutboxEntry, RaiseEvent } from '../../store/types.ts';
import { InFlight, type Flight } from './in-flight.ts';
import { OutboxCursor } from './outbox-cursor.ts';
import { rejectionEvent } from './rejection-event.ts';
import { SendableBytes } from './sendable.ts';
import { Settlement } from './settlement.ts';
import { PoisonMessages } from './poison-messages.ts';
import type { Link, PublishOptions } from '../types.ts';

export interface ForwarderOptions {
  /** Messages without a PUBACK at a time, at most. The link allows fewer where the broker does. */
  readonly window?: number;
  /** Records of the time without a link, per second, at most; 0: as fast as the broker takes them. */
  readonly backfillPerS?: number;
  /** A message that the link has not answered for so long, ms, is taken for lost. The link's own limit is shorter. */
  readonly deadlineMs?: number;
}

export interface ForwarderDeps {
  readonly outbox: Outbox;
  readonly link: Link;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
  readonly raise: RaiseEvent;
  /** The broker has acknowledged a message. */
  readonly onAccepted?: (entry: OutboxEntry, historical: boolean) => void;
}

/** Losses of the link over one and the same message, sent alone, before it is set aside. */
const STRIKES = 5;
const PAUSE = { minMs: 1000, maxMs: 30_000, resetAfterMs: 0 };
const BULK: PublishOptions = { qos: 1, retain: false, bulk: true };
const URGENT: PublishOptions = { qos: 1, retain: false, bulk: false };
/** A stored time, and what is noted of it, serves all of the backlog that is sent within so long. */
const STAMP_MS = 10;
const EVERYTHING = Number.MAX_SAFE_INTEGER;

/**
 * Drains the outbox through the link. First the records made since the link came up, then events, then, rate-limited and
 * marked historical, the records made while it was down, and those that were asked for again; each in the order of its
 * numbers. A row is taken from the outbox when its PUBACK has come, and not before.
 */
export class Forwarder {
  readonly #deps: ForwarderDeps;
  readonly #window: number;
  readonly #deadlineMs: number;
  readonly #backfillRate: TokenBucket;
  readonly #pause: Backoff;
  readonly #settlement: Settlement;
  /** Rows that are with the broker, or acknowledged and not yet taken out of the outbox. */
  readonly #taken = new Set<number>();
  readonly #flights = new InFlight<Flight>();
  readonly #live: OutboxCursor;
  readonly #events: OutboxCursor;
  readonly #backlog: OutboxCursor;
  readonly #requeued: OutboxCursor;
  /** What the broker bears now: one after it was busy, and one more with each message that it takes. */
  #room: number;
  readonly #suspects = new PoisonMessages();
  readonly #bytes = new SendableBytes();
  #suspectInFlight = false;
  /** Links so far. */
  #links = 0;
  #waiting = false;
  #wakeScheduled = false;
  #round = 0;
  /** The time of the last message, as text: many go within one millisecond. */
  #now = { atMs: Number.NaN, text: '' };
  #watching = false;
  #signal: AbortSignal | null = null;

  constructor(options: ForwarderOptions, deps: ForwarderDeps) {
    const { outbox, clock, log, random } = deps;
    this.#deps = deps;
    this.#window = options.window ?? 20;
    this.#room = this.#window;
    this.#deadlineMs = options.deadlineMs ?? 60_000;
    this.#backfillRate = new TokenBucket(
      { perS: options.backfillPerS ?? 50, burst: this.#window + 1 },
      clock,
    );
    this.#pause = new Backoff(PAUSE, { clock, ...(random ? { random } : {}) });
    this.#settlement = new Settlement({
      outbox,
      clock,
      log,
      onSettled: (rows) => {
        for (const { rowId } of rows) this.#taken.delete(rowId);
        this.#pump();
      },
    });
    const read = { outbox, taken: this.#taken };
    this.#live = new OutboxCursor('cameras', read);
    this.#events = new OutboxCursor('events', read);
    this.#backlog = new OutboxCursor('cameras', read);
    this.#requeued = new OutboxCursor('requeued', read);
    outbox.protect(this.#taken);
  }

  /** Begins to listen to the outbox; nothing is sent before `linkUp`, nothing after the signal. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#settlement.flush(signal), { once: true });
    this.#deps.outbox.onAdded(() => this.#pump());
  }

  /** The link's birth is complete: what waits now was made while there was no link. */
  linkUp(): void {
    const { newestRowId } = this.#deps.outbox;
    this.#live.begin(newestRowId, EVERYTHING);
    this.#backlog.begin(0, newestRowId);
    this.#events.restart();
    this.#requeued.restart();
    this.#links += 1;
    this.#pump();
  }

  /** Waits until nothing is with the broker and every acknowledged row is out of the outbox, or the signal fires. */
  async idle(signal: AbortSignal): Promise<void> {
    while (this.#taken.size > 0 && !signal.aborted)
      await this.#deps.clock.sleep(10, signal).catch(() => undefined);
  }

  #pump(): void {
    const { link, log } = this.#deps;
    if (!this.#signal || this.#signal.aborted || this.#waiting || this.#links === 0) return;
    try {
      while (link.connected && this.#flights.size < this.#room && !this.#suspectInFlight) {
        if (this.#settlement.full || !this.#sendNext()) return;
      }
    } catch (thrown) {
      log.error({ code: asAgentError(thrown).code, err: thrown }, 'the outbox cannot be read');
      this.#hold();
    }
  }

  /** Sends the message whose turn it is. False when there is none that may be sent now. */
  #sendNext(): boolean {
    const live = this.#live.peek();
    if (live) return this.#send(this.#live, live, false);
    const event = this.#events.peek();
    if (event) return this.#send(this.#events, event, false);
    const lane = this.#backlog.peek() ? this.#backlog : this.#requeued;
    const entry = lane.peek();
    if (!entry) return false;
    const waitMs = this.#backfillRate.waitMs();
    if (waitMs === 0) return this.#send(lane, entry, true);
    this.#wakeIn(waitMs);
    return false;
  }

  /** False when the row has to wait until nothing else is in flight. */
  #send(lane: OutboxCursor, entry: OutboxEntry, historical: boolean): boolean {
    const alone = this.#suspects.has(entry.rowId);
    if (alone && this.#flights.size > 0) return false;
    const publishedAtMs = this.#stampMs(historical);
    const flight: Flight = {
      entry,
      historical,
      publishedAtMs,
      alone,
      round: this.#round,
      link: this.#links,
      place: -1,
    };
    lane.advance();
    if (historical) this.#backfillRate.take();
    this.#taken.add(entry.rowId);
    this.#flights.add(flight);
    this.#suspectInFlight = alone;
    if (!this.#watching) void this.#watch();
    const topic = historical ? entry.topic.replace(/observation$/, 'backfill') : entry.topic;
    this.#deps.link.publish(topic, this.#payload(flight), historical ? BULK : URGENT).then(
      () => this.#landed(flight, null),
      (thrown: unknown) => this.#landed(flight, asAgentError(thrown)),
    );
    return !alone;
  }

  /** Now; in the backlog, which goes out in thousands a second, as of some milliseconds ago. */
  #stampMs(historical: boolean): number {
    const nowMs = Math.round(this.#deps.clock.nowMs());
    const agoMs = nowMs - this.#now.atMs;
    if (!(historical && agoMs >= 0 && agoMs < STAMP_MS)) this.#now = { atMs: nowMs, text: isoTime(nowMs) };
    return this.#now.atMs;
  }

  #payload({ entry, historical }: Flight): string | Uint8Array {
    if (entry.stream === 'events') return entry.payload;
    return this.#bytes.of(entry.payload, this.#now.text, historical);
  }

  #landed(flight: Flight, error: AgentError | null): void {
    // An answer after the deadline: the message is on its way again.
    if (!this.#flights.delete(flight)) return;
    if (flight.alone) this.#suspectInFlight = false;
    const signal = this.#signal;
    if (!signal || signal.aborted) return;
    if (error) this.#failed(flight, error);
    else this.#accepted(flight, signal);
    this.#pump();
  }

  #accepted({ entry, publishedAtMs, historical, alone }: Flight, signal: AbortSignal): void {
    const { rowId, stream, seq } = entry;
    this.#deps.onAccepted?.(entry, historical);
    if (alone) this.#suspects.forgive(rowId);
    if (this.#room < this.#window) {
      this.#room += 1;
      this.#pause.started();
    }
    this.#settlement.add({ rowId, stream, seq, publishedAtMs, historical }, this.#flights.size === 0, signal);
  }

  #failed(flight: Flight, error: AgentError): void {
    const { entry } = flight;
    if (!error.retryable) {
      this.#reject(entry, error.code, error.message);
      return;
    }
    const busy = error.code === 'mqtt_busy';
    if (!busy && this.#suspects.add(entry.rowId, flight) >= STRIKES) {
      this.#reject(entry, 'mqtt_timeout', 'the link is lost each time that it is sent');
      return;
    }
    this.#taken.delete(entry.rowId);
    for (const lane of [this.#live, this.#events, this.#backlog, this.#requeued]) lane.restart();
    if (busy) this.#room = 1;
    // A link that still stands, or is being left, would refuse it again at once.
    if (busy || this.#deps.link.connected) this.#hold();
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

  /** The broker, or the disk, asks for time. */
  #hold(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    const again = (): void => {
      this.#waiting = false;
      this.#pump();
    };
    void this.#deps.clock.sleep(this.#pause.nextMs(), this.#signal ?? undefined).then(again, () => undefined);
  }

  /** While something is in flight: what stays without an answer for a deadline, or two at most, is lost. */
  async #watch(): Promise<void> {
    this.#watching = true;
    const { clock } = this.#deps;
    const signal = this.#signal ?? undefined;
    while (this.#flights.size > 0 && signal?.aborted !== true) {
      this.#round += 1;
      await clock.sleep(this.#deadlineMs, signal).catch(() => undefined);
      for (const flight of this.#flights.all())
        if (flight.round < this.#round)
          this.#landed(flight, new AgentError('mqtt_timeout', 'the link gave no answer'));
    }
    this.#watching = false;
  }

  #reject(entry: OutboxEntry, code: AgentError['code'], reason: string): void {
    const { outbox, raise, log } = this.#deps;
    this.#suspects.forgive(entry.rowId);
    try {
      outbox.reject(entry.rowId, `${code}: ${reason}`);
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
    raise(rejectionEvent(entry, code, reason));
  }
}
