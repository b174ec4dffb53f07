import { randomUUID } from 'node:crypto';
import type Database from 'better-sqlite3';
import { isoTime, type Clock } from '../base/clock.ts';
import type { Event } from '../contract/states.ts';
import type { SqliteOutbox } from './outbox/outbox.ts';
import type { Sequences } from './sequences.ts';
import type { EventDraft } from './types.ts';
import type { Writer } from './writer.ts';

/** Longest message and context kept, characters: an event must fit into any broker's packet. */
const MAX_MESSAGE = 1000;
const MAX_CONTEXT = 8000;

export interface EventsDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly sequences: Sequences;
  readonly outbox: SqliteOutbox;
  readonly clock: Clock;
  /** Called in the event's transaction, once it is queued. */
  readonly onQueued?: (event: Event) => void;
}

/** What the operator should know: stored and queued in one transaction, numbered in one stream. */
export class Events {
  readonly #deps: EventsDeps;
  readonly #insert: Database.Statement<[number, number, string, string]>;
  readonly #amend: Database.Statement<[string, number]>;
  readonly #recent: Database.Statement<[number, number], { payload: string }>;
  readonly #after: Database.Statement<[number, number], { payload: string }>;
  readonly #newestSeq: Database.Statement<[], { seq: number }>;

  constructor(deps: EventsDeps) {
    this.#deps = deps;
    this.#insert = deps.db.prepare('INSERT INTO events (seq, at_ms, type, payload) VALUES (?, ?, ?, ?)');
    this.#amend = deps.db.prepare('UPDATE events SET payload = ? WHERE seq = ?');
    this.#recent = deps.db.prepare('SELECT payload FROM events WHERE seq < ? ORDER BY seq DESC LIMIT ?');
    this.#after = deps.db.prepare('SELECT payload FROM events WHERE seq > ? ORDER BY seq LIMIT ?');
    this.#newestSeq = deps.db.prepare('SELECT seq FROM events ORDER BY seq DESC LIMIT 1');
  }

  /** Throws `store_*` when it cannot be stored. */
  raise(draft: EventDraft): Event {
    const { writer, sequences, outbox, clock } = this.#deps;
    const nowMs = Math.round(clock.nowMs());
    return writer.write(() => {
      const event: Event = {
        schema: 'swellsight.event/1',
        id: randomUUID(),
        seq: sequences.next('events'),
        at: isoTime(nowMs),
        type: draft.type,
        severity: draft.severity,
        code: draft.code,
        message: draft.message.slice(0, MAX_MESSAGE),
        context: bounded(draft.context),
      };
      const payload = JSON.stringify(event);
      this.#insert.run(event.seq, nowMs, event.type, payload);
      outbox.enqueue({ stream: 'events', seq: event.seq, topic: `event/${event.type}`, payload });
      this.#deps.onQueued?.(event);
      return event;
    });
  }

  /**
   * Tells more with an event that was not sent yet, instead of raising another. False when it is gone already, or on its
   * way. Call it in a transaction.
   */
  amend(event: Event, context: Event['context']): Event | null {
    const amended: Event = { ...event, context: bounded(context) };
    const payload = JSON.stringify(amended);
    if (!this.#deps.outbox.amendEvent(event.seq, payload)) return null;
    this.#amend.run(payload, event.seq);
    return amended;
  }

  /** Oldest first, those behind a number. */
  after(seq: number, limit: number): readonly Event[] {
    return this.#after.all(seq, limit).map(({ payload }) => JSON.parse(payload) as Event);
  }

  /** Of the newest event; 0 when there is none. */
  newestSeq(): number {
    return this.#newestSeq.get()?.seq ?? 0;
  }

  /** Newest first; `beforeSeq` continues a page. */
  recent(limit: number, beforeSeq = Number.MAX_SAFE_INTEGER): readonly Event[] {
    return this.#recent.all(beforeSeq, limit).map(({ payload }) => JSON.parse(payload) as Event);
  }
}

/** The context as JSON can hold it, or a note that it was too long. */
function bounded(context: Event['context']): Event['context'] {
  let text: string;
  try {
    text = JSON.stringify(context, (_key, value: unknown) =>
      typeof value === 'bigint' ? Number(value) : value,
    );
  } catch {
    return { omitted: 'not representable' };
  }
  return text.length > MAX_CONTEXT
    ? { omitted: `${text.length} characters` }
    : (JSON.parse(text) as Event['context']);
}
