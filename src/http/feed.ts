import type { ServerResponse } from 'node:http';
import type { Health } from '../contract/health.ts';
import type { Observation } from '../contract/observation.ts';
import type { FeedEventName } from '../contract/openapi/history-operations.ts';
import type { SeaStateRecord } from '../contract/sea-state.ts';
import type { CameraState, Event, ModelState } from '../contract/states.ts';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { FeedClient } from './feed-client.ts';

/** The part of the store that the feed reads: records and events in the order of their storage. */
export interface FeedSource {
  readonly observations: {
    after(rowId: number, limit: number): readonly { readonly rowId: number; readonly record: Observation }[];
    /** Null when the record does not exist or no longer exists. */
    rowIdOf(id: string): number | null;
    newestRow(): { readonly rowId: number; readonly id: string } | null;
  };
  readonly events: {
    after(seq: number, limit: number): readonly Event[];
    newestSeq(): number;
  };
}

export interface FeedOptions {
  readonly maxClients: number;
  /** Missed records and events that are sent again to a client that reconnects. */
  readonly maxMissed: number;
  /** How often the store is checked for records and events that nobody announced with `wake`. */
  readonly pollIntervalMs: number;
  readonly keepAliveMs: number;
}

export const FEED_OPTIONS: FeedOptions = {
  maxClients: 16,
  maxMissed: 2000,
  pollIntervalMs: 1000,
  keepAliveMs: 15_000,
};

export interface FeedDeps {
  readonly source: FeedSource;
  readonly log: Log;
  /** The current states, for a new client. */
  readonly states: () => {
    readonly health: Health;
    readonly model: ModelState;
    readonly cameras: readonly CameraState[];
    readonly sea_states?: readonly SeaStateRecord[];
  };
}

/** The newest record and the newest event that a client has received. */
interface Position {
  readonly rowId: number;
  /** `-` before the first record. */
  readonly id: string;
  readonly seq: number;
}

const PAGE_ROWS = 50;
const RECONNECT_DELAY_MS = 3000;
const EVENT_ID = /^(-|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(\d{1,15})$/;

/** Sends records, events and states to all clients of `GET /api/v1/events`. Without clients it does nothing. */
export class Feed {
  readonly #options: FeedOptions;
  readonly #deps: FeedDeps;
  readonly #clients = new Set<FeedClient>();
  /** Clients that still receive what they missed. */
  readonly #catchingUp = new Set<FeedClient>();
  #position: Position = { rowId: 0, id: '-', seq: 0 };
  /** The last sent text of states that are published more often than they change. */
  readonly #lastTexts = new Map<FeedEventName, string>();
  #pollTimer: NodeJS.Timeout | null = null;
  #keepAliveTimer: NodeJS.Timeout | null = null;

  constructor(options: Partial<FeedOptions>, deps: FeedDeps) {
    this.#options = { ...FEED_OPTIONS, ...options };
    this.#deps = deps;
  }

  /**
   * Adds a client until one side ends the stream. It first receives what it missed since `lastId`. Throws
   * `request_streams_full` or `store_*` before it calls `begin`, which opens the response; nothing can fail after that.
   */
  follow(lastId: string | null, begin: () => ServerResponse): void {
    if (this.#clients.size + this.#catchingUp.size >= this.#options.maxClients)
      throw new AgentError(
        'request_streams_full',
        `${String(this.#options.maxClients)} clients already receive the events`,
      );
    this.#advance();
    const since = lastId === null ? this.#position : this.#positionOf(lastId);
    const states = this.#deps.states();
    const client: FeedClient = new FeedClient(begin(), () => this.#remove(client));
    this.#catchingUp.add(client);
    this.#startTimers();
    client.write(`retry: ${String(RECONNECT_DELAY_MS)}\n\n`);
    client.write(eventText('health', states.health));
    for (const camera of states.cameras) client.write(eventText('camera', camera));
    client.write(eventText('model', states.model));
    for (const seaState of states.sea_states ?? []) client.write(eventText('sea_state', seaState));
    if (typeof since === 'string') client.write(eventText('gap', { reason: since }));
    this.#catchUp(client, typeof since === 'string' ? this.#position : since).catch((thrown: unknown) => {
      this.#deps.log.warn({ err: thrown }, 'event stream aborted');
      client.drop();
    });
  }

  /** Call this when something new is in the store. */
  wake(): void {
    if (this.#clients.size > 0) this.#poll();
  }

  /** Sends a message that is also published over MQTT. `topic` is relative to the topic of the device. */
  publish(topic: string, payload: unknown): void {
    if (this.#clients.size === 0 || payload === null) return;
    if (topic === 'health') this.#broadcast(eventText('health', payload));
    else if (topic === 'model/progress') this.#broadcast(eventText('progress', payload));
    else if (/^camera\/[^/]+\/state$/.test(topic)) this.#broadcast(eventText('camera', payload));
    else if (topic.endsWith('/sea_state/latest')) this.#broadcast(eventText('sea_state', payload));
    else if (topic === 'agent/progress') this.#broadcast(eventText('agent_progress', payload));
    else if (topic === 'model/state') this.#broadcastIfNew('model', payload);
    else if (topic === 'agent/state') this.#broadcastIfNew('agent', payload);
  }

  #broadcastIfNew(name: FeedEventName, payload: unknown): void {
    const text = eventText(name, payload);
    if (this.#lastTexts.get(name) !== text) this.#broadcast(text);
    this.#lastTexts.set(name, text);
  }

  /** Ends every stream. */
  end(): void {
    for (const client of [...this.#clients, ...this.#catchingUp]) client.end();
  }

  #remove(client: FeedClient): void {
    this.#clients.delete(client);
    this.#catchingUp.delete(client);
    if (this.#clients.size + this.#catchingUp.size > 0) return;
    clearInterval(this.#pollTimer ?? undefined);
    clearInterval(this.#keepAliveTimer ?? undefined);
    this.#pollTimer = null;
    this.#keepAliveTimer = null;
  }

  #startTimers(): void {
    const { pollIntervalMs, keepAliveMs } = this.#options;
    this.#pollTimer ??= setInterval(() => this.#poll(), pollIntervalMs).unref();
    this.#keepAliveTimer ??= setInterval(() => this.#broadcast(': keep-alive\n\n'), keepAliveMs).unref();
  }

  /** Sends missed pages as fast as the client reads them. In the same turn in which it has caught up, it joins the others. */
  async #catchUp(client: FeedClient, since: Position): Promise<void> {
    let position = since;
    while (!client.isClosed) {
      const { text, position: next } = this.#readPage(position);
      position = next;
      if (text !== '') client.write(text);
      else {
        this.#advance();
        if (position.rowId >= this.#position.rowId && position.seq >= this.#position.seq) break;
      }
      await client.drained();
    }
    this.#catchingUp.delete(client);
    if (client.isClosed) return;
    // Give the client its position before the next event comes.
    if (this.#clients.size === 0) this.#lastTexts.clear();
    client.write(`id: ${idOf(position)}\n\n`);
    this.#clients.add(client);
  }

  #poll(): void {
    try {
      this.#advance();
    } catch (thrown) {
      // A client that reconnects gets the problem document of this failure.
      this.#deps.log.warn({ err: thrown }, 'events not readable, streams closed');
      this.end();
    }
  }

  /** Sends everything new in the store to all clients. */
  #advance(): void {
    if (this.#clients.size === 0) {
      const newest = this.#deps.source.observations.newestRow();
      this.#position = {
        rowId: newest?.rowId ?? 0,
        id: newest?.id ?? '-',
        seq: this.#deps.source.events.newestSeq(),
      };
      return;
    }
    for (;;) {
      const { text, position } = this.#readPage(this.#position);
      this.#position = position;
      if (text === '') return;
      this.#broadcast(text);
    }
  }

  /** The next page after a position; empty at the end. */
  #readPage(from: Position): { readonly text: string; readonly position: Position } {
    const { observations, events } = this.#deps.source;
    let position = from;
    let text = '';
    for (const { rowId, record } of observations.after(position.rowId, PAGE_ROWS)) {
      position = { ...position, rowId, id: record.id };
      text += eventText('observation', record, position);
    }
    for (const event of events.after(position.seq, PAGE_ROWS)) {
      position = { ...position, seq: event.seq };
      text += eventText('event', event, position);
    }
    return { text, position };
  }

  /** The position of a client, or why its missed events cannot be sent. Call this after `#advance`. */
  #positionOf(lastId: string): Position | 'unknown_id' | 'too_many' {
    const [, id, seqText] = EVENT_ID.exec(lastId) ?? [];
    if (id === undefined) return 'unknown_id';
    const seq = Number(seqText);
    const rowId = id === '-' ? 0 : this.#deps.source.observations.rowIdOf(id);
    if (rowId === null || seq > this.#position.seq) return 'unknown_id';
    const missed = this.#position.rowId - rowId + this.#position.seq - seq;
    return missed > this.#options.maxMissed ? 'too_many' : { rowId, id, seq };
  }

  #broadcast(text: string): void {
    for (const client of this.#clients) client.write(text);
  }
}

const idOf = ({ id, seq }: Position): string => `${id}.${String(seq)}`;

/** One event (https://html.spec.whatwg.org/multipage/server-sent-events.html). JSON.stringify gives no line breaks. */
function eventText(name: FeedEventName, payload: unknown, position?: Position): string {
  const id = position ? `id: ${idOf(position)}\n` : '';
  return `event: ${name}\n${id}data: ${JSON.stringify(payload)}\n\n`;
}
