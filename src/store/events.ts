import { randomUUID } from 'node:crypto';
import type Database from 'better-sqlite3';
import { isoTime, type Clock } from '../base/clock.ts';
import type { Event, EventDraft } from '../contract/states.ts';
import type { SqliteOutbox } from './outbox/outbox.ts';
import type { Sequences } from './sequences.ts';
import type { Writer } from './writer.ts';

/** These two limits make an event small enough for the packet limit of any broker. */
const MAX_MESSAGE_CHARS = 1000;
const MAX_CONTEXT_CHARS = 8000;

export interface EventsDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly sequences: Sequences;
  readonly outbox: SqliteOutbox;
  readonly clock: Clock;
  /** Called in the transaction of the event, after the event was added to the outbox. */
  readonly onQueued: (event: Event) => void;
}

/**
 * Events for the operator. Each is stored and added to the outbox in one transaction, with a number in the stream
 * `events`.
 */
export class Events {
  readonly #deps: EventsDeps;
  readonly #insert: Database.Statement<[number, number, string, string]>;
  readonly #setPayload: Database.Statement<[string, number]>;
  readonly #recent: Database.Statement<[number, number], { payload: string }>;
  readonly #after: Database.Statement<[number, number], { payload: string }>;
  readonly #newestSeq: Database.Statement<[], { seq: number }>;

  constructor(deps: EventsDeps) {
    this.#deps = deps;
    this.#insert = deps.db.prepare('INSERT INTO events (seq, at_ms, type, payload) VALUES (?, ?, ?, ?)');
    this.#setPayload = deps.db.prepare('UPDATE events SET payload = ? WHERE seq = ?');
    this.#recent = deps.db.prepare('SELECT payload FROM events WHERE seq < ? ORDER BY seq DESC LIMIT ?');
    this.#after = deps.db.prepare('SELECT payload FROM events WHERE seq > ? ORDER BY seq LIMIT ?');
    this.#newestSeq = deps.db.prepare('SELECT seq FROM events ORDER BY seq DESC LIMIT 1');
  }

  /** Throws `store_*` when the event cannot be stored. */
  raise(draft: EventDraft): Event {
    const { writer, sequences, outbox, clock } = this.#deps;
    const nowMs = Math.round(clock.nowMs());
    return writer.write(() => {
      const event: Event = {
        schema: 'swellsight.event/1',
        id: randomUUID(),
        seq: sequences.next('events'),
        store_id: sequences.identity.id,
        at: isoTime(nowMs),
        type: draft.type,
        severity: draft.severity,
        code: draft.code,
        message: draft.message.slice(0, MAX_MESSAGE_CHARS),
        context: limitContext(draft.context),
      };
      const payload = JSON.stringify(event);
      this.#insert.run(event.seq, nowMs, event.type, payload);
      outbox.enqueue({ stream: 'events', seq: event.seq, topic: `event/${event.type}`, payload });
      this.#deps.onQueued(event);
      return event;
    });
  }

  /**
   * Replaces the context of an event that was not sent yet, instead of raising another event. Returns null when the
   * event is being sent or is no longer in the outbox. Call it in a transaction.
   */
  updateContext(event: Event, context: Event['context']): Event | null {
    const updated: Event = { ...event, context: limitContext(context) };
    const payload = JSON.stringify(updated);
    if (!this.#deps.outbox.rewrite('events', event.seq, ({ createdAtMs }) => ({ payload, createdAtMs })))
      return null;
    this.#setPayload.run(payload, event.seq);
    return updated;
  }

  /** Events with a number above `seq`, oldest first. */
  after(seq: number, limit: number): readonly Event[] {
    return this.#deps.writer.read(() => this.#after.all(seq, limit)).map(parseEvent);
  }

  /** The number of the newest event; 0 when there is none. */
  newestSeq(): number {
    return this.#newestSeq.get()?.seq ?? 0;
  }

  /** The newest events, newest first. With `beforeSeq`, only events with a lower number: the next page. */
  recent(limit: number, beforeSeq = Number.MAX_SAFE_INTEGER): readonly Event[] {
    return this.#deps.writer.read(() => this.#recent.all(beforeSeq, limit)).map(parseEvent);
  }
}

const parseEvent = ({ payload }: { payload: string }): Event => JSON.parse(payload) as Event;

/** The context as plain JSON, or a note when the context is too long or not serialisable. */
function limitContext(context: Event['context']): Event['context'] {
  let text: string;
  try {
    text = JSON.stringify(context, (_key, value: unknown) =>
      typeof value === 'bigint' ? Number(value) : value,
    );
  } catch {
    return { omitted: 'not serialisable as JSON' };
  }
  return text.length > MAX_CONTEXT_CHARS
    ? { omitted: `${text.length} characters` }
    : (JSON.parse(text) as Event['context']);
}
