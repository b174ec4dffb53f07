import { isoTime, type Clock } from '../../base/clock.ts';
import { parseJsonObject } from '../../base/json-object.ts';
import type { Status } from '../../contract/states.ts';
import type { ReceivedMessage } from './open-client.ts';

/** Minimum interval between two replacements of a stale status. */
const REPAIR_EVERY_MS = 2000;
const MAX_SESSION_CHARS = 64;

/**
 * How another agent with this identity was detected: the other agent published a status while this agent was
 * disconnected (`absence`) or connected (`status`), it uses this agent's client id (`subscription`), or the broker
 * reported it in its DISCONNECT packet (`disconnect`).
 */
export type ConflictSign = 'absence' | 'status' | 'subscription' | 'disconnect';

export interface StatusVerdict {
  /** True when the link must publish `online` again. */
  readonly isStale: boolean;
  /** The session of another agent that uses this device's name or client id, and how it was detected. */
  readonly foreign: { readonly session: string; readonly sign: ConflictSign } | null;
}

const NO_FINDING: StatusVerdict = { isStale: false, foreign: null };

/** The payload of `…/status`. */
export function statusMessage(state: Status['state'], session: string, nowMs: number): string {
  const status: Status = { state, session, at: isoTime(nowMs) };
  return JSON.stringify(status);
}

/**
 * Checks the messages on the device's own status topic. Every status except the `online` of this session is stale, for
 * example the late will message of an earlier connection. On the first connection to a broker, the retained status of
 * the previous run is expected. A status of another session that is newer than that status means that another agent has
 * the same identity. A session is one run of an agent.
 */
export class StatusWatch {
  readonly #session: string;
  readonly #topic: string;
  readonly #clock: Clock;
  /** By broker: the newest time in a status of another session, seen on the first connection; -Infinity without one. */
  readonly #firstSeenAtMs = new Map<string, number>();
  #broker = '';
  #isFirstConnection = true;
  #hasPublishedOnline = false;
  #repairedMonoMs = -Infinity;

  constructor(own: { readonly session: string; readonly topic: string }, clock: Clock) {
    this.#session = own.session;
    this.#topic = own.topic;
    this.#clock = clock;
  }

  /** Call at the start of a connection. */
  connected(broker: string): void {
    this.#broker = broker;
    this.#isFirstConnection = !this.#firstSeenAtMs.has(broker);
    this.#hasPublishedOnline = false;
  }

  /** Call when the broker has acknowledged `online` on this connection. */
  publishedOnline(): void {
    this.#firstSeenAtMs.set(this.#broker, this.#firstSeenMs());
    this.#hasPublishedOnline = true;
  }

  disconnected(): void {
    this.#hasPublishedOnline = false;
  }

  /**
   * Checks any message that is not a command. `retain` is true for a message that the broker had retained, and false
   * for a live message or one that was queued while this device was disconnected.
   */
  check({ topic, payload, retain }: Pick<ReceivedMessage, 'topic' | 'payload' | 'retain'>): StatusVerdict {
    const status = parseJsonObject(payload) as Partial<Status> | null;
    if (topic !== this.#topic) {
      // Only a client with this client id can have subscribed to another status topic.
      const session = topic.endsWith('/status') ? this.#foreignSession(status) : null;
      return session === null ? NO_FINDING : { isStale: false, foreign: { session, sign: 'subscription' } };
    }
    if (status?.session === this.#session)
      return status.state === 'online' ? NO_FINDING : { ...NO_FINDING, isStale: this.#mayRepair() };
    const session = this.#newerForeignSession(status, retain);
    // Do not overwrite the status of an agent that is online: the two would overwrite each other without end.
    const isAlive = session !== null && (status?.state === 'online' || status?.state === 'starting');
    return {
      foreign: session === null ? null : { session, sign: this.#hasPublishedOnline ? 'status' : 'absence' },
      isStale: !isAlive && this.#mayRepair(),
    };
  }

  #foreignSession(status: Partial<Status> | null): string | null {
    const { session, state } = status ?? {};
    // Anyone may have written anything to the topic.
    if (typeof session !== 'string' || typeof state !== 'string' || session === this.#session) return null;
    return session.slice(0, MAX_SESSION_CHARS);
  }

  #newerForeignSession(status: Partial<Status> | null, isRetained: boolean): string | null {
    const session = this.#foreignSession(status);
    const at: unknown = status?.at;
    const atMs = typeof at === 'string' ? Date.parse(at) : Number.NaN;
    if (session === null || Number.isNaN(atMs)) return null;
    // Some brokers deliver retained messages late.
    if (this.#isFirstConnection && (isRetained || !this.#hasPublishedOnline)) {
      this.#firstSeenAtMs.set(this.#broker, Math.max(this.#firstSeenMs(), atMs));
      return null;
    }
    return atMs > this.#firstSeenMs() ? session : null;
  }

  #firstSeenMs(): number {
    return this.#firstSeenAtMs.get(this.#broker) ?? -Infinity;
  }

  #mayRepair(): boolean {
    const nowMs = this.#clock.monoMs();
    if (!this.#hasPublishedOnline || nowMs - this.#repairedMonoMs < REPAIR_EVERY_MS) return false;
    this.#repairedMonoMs = nowMs;
    return true;
  }
}
