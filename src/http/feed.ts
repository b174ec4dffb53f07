import type { ServerResponse } from 'node:http';
import type { Health } from '../contract/health.ts';
import type { Observation } from '../contract/observation.ts';
import type { FeedEventName } from '../contract/openapi/feed.ts';
import type { CameraState, Event, ModelState } from '../contract/states.ts';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { FeedClient } from './feed-client.ts';

/** What the feed reads of the store: records and events in the order in which they were stored. */
export interface FeedSource {
  readonly observations: {
    after(rowId: number, limit: number): readonly { readonly rowId: number; readonly record: Observation }[];
    /** Null when there is no such record any more. */
    rowIdOf(id: string): number | null;
    newestRow(): { readonly rowId: number; readonly id: string } | null;
  };
  readonly events: {
    after(seq: number, limit: number): readonly Event[];
    newestSeq(): number;
  };
}

export interface FeedOptions {
  /** Clients at a time. */
  readonly mostClients: number;
  /** Records and events that a client which comes back may be told at most. */
  readonly mostMissed: number;
  /** How often it is looked for what came by itself. */
  readonly lookEveryMs: number;
  readonly heartbeatEveryMs: number;
}

export const FEED_OPTIONS: FeedOptions = {
  mostClients: 16,
  mostMissed: 2000,
  lookEveryMs: 1000,
  heartbeatEveryMs: 15_000,
};

export interface FeedDeps {
  readonly source: FeedSource;
  readonly log: Log;
  /** As they are now, for who comes. */
  readonly states: () => {
    readonly health: Health;
    readonly model: ModelState;
    readonly cameras: readonly CameraState[];
  };
}

/** How far a client was told: the newest record and the newest event. */
interface Position {
  readonly rowId: number;
  /** `-` before the first record. */
  readonly id: string;
  readonly seq: number;
}

const PAGE = 50;
const RECONNECT_AFTER_MS = 3000;
const ID = /^(-|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(\d{1,15})$/;

/** Tells those who follow what happens. Without followers it does nothing. */
export class Feed {
  readonly #options: FeedOptions;
  readonly #deps: FeedDeps;
  readonly #clients = new Set<FeedClient>();
  /** Who is being told what it missed. */
  readonly #comers = new Set<FeedClient>();
  #position: Position = { rowId: 0, id: '-', seq: 0 };
  #model = '';
  #looking: NodeJS.Timeout | null = null;
  #heartbeat: NodeJS.Timeout | null = null;

  constructor(options: Partial<FeedOptions>, deps: FeedDeps) {
    this.#options = { ...FEED_OPTIONS, ...options };
    this.#deps = deps;
  }

  /**
   * Tells a response what happens until one side ends it; first what it missed since `lastId`. `begin` is asked for it
   * when nothing can fail any more; until then throws `request_streams_full`, `store_*`.
   */
  follow(lastId: string | null, begin: () => ServerResponse): void {
    if (this.#clients.size + this.#comers.size >= this.#options.mostClients)
      throw new AgentError(
        'request_streams_full',
        `${String(this.#options.mostClients)} clients follow the events already`,
      );
    this.#advance();
    const since = lastId === null ? this.#position : this.#positionOf(lastId);
    const states = this.#deps.states();
    const client: FeedClient = new FeedClient(begin(), () => this.#left(client));
    this.#comers.add(client);
    this.#startTimers();
    client.write(`retry: ${String(RECONNECT_AFTER_MS)}\n\n`);
    client.write(frame('health', states.health));
    for (const camera of states.cameras) client.write(frame('camera', camera));
    client.write(frame('model', states.model));
    if (typeof since === 'string') client.write(frame('gap', { reason: since }));
    this.#catchUp(client, typeof since === 'string' ? this.#position : since).catch((thrown: unknown) => {
      this.#deps.log.warn({ err: thrown }, 'a client of the events was cut off');
      client.drop();
    });
  }

  /** Something new is in the store. */
  poke(): void {
    if (this.#clients.size > 0) this.#look();
  }

  /** What is published over MQTT, by its topic below that of the device. */
  told(topic: string, payload: unknown): void {
    if (this.#clients.size === 0 || payload === null) return;
    if (topic === 'health') this.#broadcast(frame('health', payload));
    else if (topic === 'model/progress') this.#broadcast(frame('progress', payload));
    else if (/^camera\/[^/]+\/state$/.test(topic)) this.#broadcast(frame('camera', payload));
    else if (topic === 'model/state') {
      const text = frame('model', payload);
      if (text !== this.#model) this.#broadcast(text);
      this.#model = text;
    }
  }

  /** Ends every stream. */
  end(): void {
    for (const client of [...this.#clients, ...this.#comers]) client.end();
  }

  #left(client: FeedClient): void {
    this.#clients.delete(client);
    this.#comers.delete(client);
    if (this.#clients.size + this.#comers.size > 0) return;
    clearInterval(this.#looking ?? undefined);
    clearInterval(this.#heartbeat ?? undefined);
    this.#looking = null;
    this.#heartbeat = null;
  }

  #startTimers(): void {
    const { lookEveryMs, heartbeatEveryMs } = this.#options;
    this.#looking ??= setInterval(() => this.#look(), lookEveryMs).unref();
    this.#heartbeat ??= setInterval(() => this.#broadcast(': still here\n\n'), heartbeatEveryMs).unref();
  }

  /** Page by page, at the pace of the client; it joins the others in the very turn in which it is where they are. */
  async #catchUp(client: FeedClient, since: Position): Promise<void> {
    let position = since;
    while (!client.gone) {
      const { text, position: next } = this.#read(position);
      position = next;
      if (text !== '') client.write(text);
      else {
        this.#advance();
        if (position.rowId >= this.#position.rowId && position.seq >= this.#position.seq) break;
      }
      await client.drained();
    }
    this.#comers.delete(client);
    if (client.gone) return;
    // Says where it is, also before anything new comes.
    if (this.#clients.size === 0) this.#model = '';
    client.write(`id: ${idOf(position)}\n\n`);
    this.#clients.add(client);
  }

  #look(): void {
    try {
      this.#advance();
    } catch (thrown) {
      // Who comes back is told by the answer what is wrong.
      this.#deps.log.warn({ err: thrown }, 'the events cannot be read; who follows them is cut off');
      this.end();
    }
  }

  /** Tells all what is new in the store. */
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
      const { text, position } = this.#read(this.#position);
      this.#position = position;
      if (text === '') return;
      this.#broadcast(text);
    }
  }

  /** The next page after a position; empty at the end. */
  #read(from: Position): { readonly text: string; readonly position: Position } {
    const { observations, events } = this.#deps.source;
    let position = from;
    let text = '';
    for (const { rowId, record } of observations.after(position.rowId, PAGE)) {
      position = { ...position, rowId, id: record.id };
      text += frame('observation', record, position);
    }
    for (const event of events.after(position.seq, PAGE)) {
      position = { ...position, seq: event.seq };
      text += frame('event', event, position);
    }
    return { text, position };
  }

  /** Where a client was, or why it cannot be told what it missed. Call it after `#advance`. */
  #positionOf(lastId: string): Position | 'unknown_id' | 'too_many' {
    const [, id, seqText] = ID.exec(lastId) ?? [];
    if (id === undefined) return 'unknown_id';
    const seq = Number(seqText);
    const rowId = id === '-' ? 0 : this.#deps.source.observations.rowIdOf(id);
    if (rowId === null || seq > this.#position.seq) return 'unknown_id';
    const missed = this.#position.rowId - rowId + this.#position.seq - seq;
    return missed > this.#options.mostMissed ? 'too_many' : { rowId, id, seq };
  }

  #broadcast(text: string): void {
    for (const client of this.#clients) client.write(text);
  }
}

const idOf = ({ id, seq }: Position): string => `${id}.${String(seq)}`;

/** One event, https://html.spec.whatwg.org/multipage/server-sent-events.html. JSON has no line breaks of its own. */
function frame(name: FeedEventName, payload: unknown, position?: Position): string {
  const id = position ? `id: ${idOf(position)}\n` : '';
  return `event: ${name}\n${id}data: ${JSON.stringify(payload)}\n\n`;
}
