import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { InFlight } from '../../base/in-flight.ts';
import type { Log } from '../../base/log.ts';
import { Backoff } from '../../base/retry.ts';
import { TokenBucket } from '../../base/token-bucket.ts';
import type { Outbox, OutboxEntry, RaiseEvent } from '../../store/types.ts';
import { AcknowledgedRows, backfillTopic, OutboxCursor, RecordEncoder } from './outbox-rows.ts';
import { PoisonMessages, rejectionEvent } from './poison-messages.ts';
import type { Link, PublishOptions } from '../types.ts';

export interface ForwarderOptions {
  /** Maximum number of messages without PUBACK. The link allows fewer when the broker allows fewer. */
  readonly window?: number;
  /** Maximum rate of historical records, per second; 0: no limit. */
  readonly backfillPerS?: number;
  /** When the link does not answer for this time, ms, a message counts as lost. The link has a shorter timeout. */
  readonly deadlineMs?: number;
}

export interface ForwarderDeps {
  readonly outbox: Outbox;
  readonly link: Link;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
  readonly raise: RaiseEvent;
  /** Called for each PUBACK. */
  readonly onAccepted?: (entry: OutboxEntry, historical: boolean) => void;
}

interface SentMessage {
  readonly entry: OutboxEntry;
  readonly historical: boolean;
  readonly publishedAtMs: number;
  /** Sent with no other message in flight, because it is a suspect of `PoisonMessages`. */
  readonly isAlone: boolean;
  /** The value of `#deadlineRound` when it was sent. */
  readonly round: number;
  /** The number of the connection on which it was sent: 1 for the first connection. */
  readonly link: number;
  /** Index in the list of `InFlight`, which sets it. */
  place: number;
}

const RETRY_DELAY = { minMs: 1000, maxMs: 30_000, resetAfterMs: 0 };
const BULK: PublishOptions = { qos: 1, retain: false, bulk: true };
const URGENT: PublishOptions = { qos: 1, retain: false, bulk: false };
/** Historical messages that are sent within this time get the same `published_at`. */
const TIMESTAMP_REUSE_MS = 10;

/**
 * Sends the rows of the outbox: first the records made since the last connect, then events, then the records made
 * before that connect, then the records requested again. The last two kinds are rate-limited and marked as historical.
 *
 * INVARIANTS
 * - A row leaves the outbox only after its PUBACK, or after a final refusal, which moves it to `rejected`.
 * - Messages are sent only while `link.connected` is true, between `linkUp` and the abort of the start signal.
 * - At most `#maxInFlight` messages are without PUBACK. A row in `#taken` is never sent a second time.
 * - Each cursor sends its rows in the order of their ids, which is the order of `seq` in each stream. After a failure
 *   all cursors restart, so that the oldest row in the outbox is sent first again.
 * - A suspect of `PoisonMessages` is sent alone. `#failed` alone decides whether a message is retried or rejected.
 */
export class Forwarder {
  readonly #deps: ForwarderDeps;
  readonly #window: number;
  readonly #deadlineMs: number;
  readonly #backfillRate: TokenBucket;
  readonly #retryDelay: Backoff;
  readonly #acknowledged: AcknowledgedRows;
  /** Rows in flight, and acknowledged rows that are not deleted yet. */
  readonly #taken = new Set<number>();
  readonly #inFlight = new InFlight<SentMessage>();
  readonly #live: OutboxCursor;
  readonly #events: OutboxCursor;
  readonly #backlog: OutboxCursor;
  readonly #requeued: OutboxCursor;
  /** Current limit of messages without PUBACK: 1 after the broker was busy; each PUBACK adds one, up to `#window`. */
  #maxInFlight: number;
  readonly #poison = new PoisonMessages();
  readonly #encoder = new RecordEncoder();
  #isSuspectInFlight = false;
  /** Number of connections so far. */
  #links = 0;
  #isPaused = false;
  #isWakeScheduled = false;
  #deadlineRound = 0;
  #isDeadlineRunning = false;
  #lastPublishedAtMs = Number.NaN;
  #signal: AbortSignal | null = null;

  constructor(options: ForwarderOptions, deps: ForwarderDeps) {
    const { outbox, clock, log, random } = deps;
    this.#deps = deps;
    this.#window = options.window ?? 20;
    this.#maxInFlight = this.#window;
    this.#deadlineMs = options.deadlineMs ?? 60_000;
    const perS = options.backfillPerS ?? 50;
    this.#backfillRate = new TokenBucket({ perS, burst: this.#window + 1 }, clock);
    this.#retryDelay = new Backoff(RETRY_DELAY, { clock, ...(random ? { random } : {}) });
    this.#acknowledged = new AcknowledgedRows({
      outbox,
      clock,
      log,
      onDeleted: (rows) => {
        for (const { rowId } of rows) this.#taken.delete(rowId);
        this.#sendAll();
      },
    });
    this.#live = new OutboxCursor('cameras', outbox, this.#taken);
    this.#events = new OutboxCursor('events', outbox, this.#taken);
    this.#backlog = new OutboxCursor('cameras', outbox, this.#taken);
    this.#requeued = new OutboxCursor('requeued', outbox, this.#taken);
    outbox.protect(this.#taken);
  }

  /** Starts to listen to the outbox. Sends nothing before `linkUp`, and nothing after the signal. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#acknowledged.flush(signal), { once: true });
    this.#deps.outbox.onAdded(() => this.#sendAll());
  }

  /** Call after each connect: the rows that are in the outbox now were made without a connection. */
  linkUp(): void {
    const { newestRowId } = this.#deps.outbox;
    this.#live.setRange(newestRowId);
    this.#backlog.setRange(0, newestRowId);
    this.#events.restart();
    this.#requeued.restart();
    this.#links += 1;
    this.#sendAll();
  }

  /** Waits until nothing is in flight and every acknowledged row is deleted, or until the signal fires. */
  async idle(signal: AbortSignal): Promise<void> {
    while (this.#taken.size > 0 && !signal.aborted)
      await this.#deps.clock.sleep(10, signal).catch(() => undefined);
  }

  /** Sends as many messages as may be sent now. */
  #sendAll(): void {
    const { link, log } = this.#deps;
    if (!this.#signal || this.#signal.aborted || this.#isPaused || this.#links === 0) return;
    try {
      while (link.connected && this.#inFlight.size < this.#maxInFlight && !this.#isSuspectInFlight)
        if (this.#acknowledged.isFull || !this.#sendNext()) return;
    } catch (thrown) {
      log.error({ code: asAgentError(thrown).code, err: thrown }, 'cannot read the outbox, trying again');
      this.#pause();
    }
  }

  /** Sends the message with the highest priority. Returns false when no message may be sent now. */
  #sendNext(): boolean {
    const live = this.#live.peek();
    if (live) return this.#send(this.#live, live, false);
    const event = this.#events.peek();
    if (event) return this.#send(this.#events, event, false);
    const cursor = this.#backlog.peek() ? this.#backlog : this.#requeued;
    const entry = cursor.peek();
    if (!entry) return false;
    const waitMs = this.#backfillRate.waitMs();
    if (waitMs === 0) return this.#send(cursor, entry, true);
    this.#wakeAfter(waitMs);
    return false;
  }

  /** Returns false when no other message may be sent now: the row is a suspect, which is or will be sent alone. */
  #send(cursor: OutboxCursor, entry: OutboxEntry, historical: boolean): boolean {
    const isAlone = this.#poison.isSuspect(entry.rowId);
    if (isAlone && this.#inFlight.size > 0) return false;
    const sent: SentMessage = {
      entry,
      historical,
      publishedAtMs: this.#timestampMs(historical),
      isAlone,
      round: this.#deadlineRound,
      link: this.#links,
      place: -1,
    };
    cursor.advance();
    if (historical) this.#backfillRate.take();
    this.#taken.add(entry.rowId);
    this.#inFlight.add(sent);
    this.#isSuspectInFlight = isAlone;
    if (!this.#isDeadlineRunning) void this.#failUnanswered();
    const topic = historical ? backfillTopic(entry.topic) : entry.topic;
    this.#deps.link.publish(topic, this.#payloadOf(sent), historical ? BULK : URGENT).then(
      () => this.#settled(sent, null),
      (thrown: unknown) => this.#settled(sent, asAgentError(thrown)),
    );
    return !isAlone;
  }

  #payloadOf({ entry: { stream, payload }, publishedAtMs, historical }: SentMessage): string | Uint8Array {
    return stream === 'events' ? payload : this.#encoder.encode(payload, publishedAtMs, historical);
  }

  /** `published_at` of the next message. Historical messages, thousands a second, share it for some milliseconds. */
  #timestampMs(historical: boolean): number {
    const nowMs = Math.round(this.#deps.clock.nowMs());
    const ageMs = nowMs - this.#lastPublishedAtMs;
    if (!historical || !(ageMs >= 0 && ageMs < TIMESTAMP_REUSE_MS)) this.#lastPublishedAtMs = nowMs;
    return this.#lastPublishedAtMs;
  }

  #settled(sent: SentMessage, error: AgentError | null): void {
    // Ignore an answer that comes after the deadline: the message is being sent again.
    if (!this.#inFlight.delete(sent)) return;
    if (sent.isAlone) this.#isSuspectInFlight = false;
    const signal = this.#signal;
    if (!signal || signal.aborted) return;
    if (error) this.#failed(sent, error);
    else this.#accepted(sent, signal);
    this.#sendAll();
  }

  #accepted({ entry, publishedAtMs, historical, isAlone }: SentMessage, signal: AbortSignal): void {
    const { rowId, stream, seq } = entry;
    this.#deps.onAccepted?.(entry, historical);
    if (isAlone) this.#poison.clear(rowId);
    if (this.#maxInFlight < this.#window) {
      this.#maxInFlight += 1;
      this.#retryDelay.started();
    }
    const row = { rowId, stream, seq, publishedAtMs, historical };
    this.#acknowledged.add(row, this.#inFlight.size === 0, signal);
  }

  #failed(sent: SentMessage, error: AgentError): void {
    const { entry } = sent;
    if (!error.retryable) {
      this.#reject(entry, error.code, error.message);
      return;
    }
    const isBusy = error.code === 'mqtt_busy';
    if (!isBusy && this.#poison.addLoss(entry.rowId, sent)) {
      this.#reject(entry, 'mqtt_timeout', 'the connection was lost each time this message was sent');
      return;
    }
    this.#taken.delete(entry.rowId);
    for (const cursor of [this.#live, this.#events, this.#backlog, this.#requeued]) cursor.restart();
    if (isBusy) this.#maxInFlight = 1;
    // A link that is still connected, or is closing, would refuse the message again at once.
    if (isBusy || this.#deps.link.connected) this.#pause();
  }

  #reject(entry: OutboxEntry, code: AgentError['code'], reason: string): void {
    const { outbox, raise, log } = this.#deps;
    const { rowId, topic, seq } = entry;
    this.#poison.clear(rowId);
    try {
      outbox.reject(rowId, `${code}: ${reason}`);
      this.#taken.delete(rowId);
    } catch (thrown) {
      // The row stays in `#taken` until the next start, so it is not sent again: the broker would refuse it again.
      log.error({ code: asAgentError(thrown).code, topic, seq }, 'cannot store a refused message');
      return;
    }
    // Raise no event about a rejected `outbox_rejected` event: this could start an endless chain.
    if (topic !== 'event/outbox_rejected') raise(rejectionEvent(entry, code, reason));
  }

  /** Calls `#sendAll` after `ms`, unless a call is scheduled already. */
  #wakeAfter(ms: number): void {
    if (this.#isWakeScheduled) return;
    this.#isWakeScheduled = true;
    this.#after(ms, () => (this.#isWakeScheduled = false));
  }

  /** Sends nothing for a while, because the broker is busy or the disk failed. */
  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#after(this.#retryDelay.nextMs(), () => (this.#isPaused = false));
  }

  #after(ms: number, reset: () => void): void {
    const resume = (): void => {
      reset();
      this.#sendAll();
    };
    void this.#deps.clock.sleep(ms, this.#signal ?? undefined).then(resume, () => undefined);
  }

  /** Runs while messages are in flight. A message without an answer fails after one to two times `#deadlineMs`. */
  async #failUnanswered(): Promise<void> {
    this.#isDeadlineRunning = true;
    const signal = this.#signal ?? undefined;
    while (this.#inFlight.size > 0 && signal?.aborted !== true) {
      this.#deadlineRound += 1;
      await this.#deps.clock.sleep(this.#deadlineMs, signal).catch(() => undefined);
      for (const sent of this.#inFlight.all())
        if (sent.round < this.#deadlineRound)
          this.#settled(sent, new AgentError('mqtt_timeout', 'the link reported no result of the publish'));
    }
    this.#isDeadlineRunning = false;
  }
}
