import type { Clock } from '../../base/clock.ts';
import type { Status } from '../../contract/states.ts';
import type { Received } from './session-inbox.ts';
import { foreignStatus, readStatus } from './status-message.ts';

/** A stale status is mended at most this often. */
const REPAIR_EVERY_MS = 2000;

/**
 * What gives another agent away: it spoke while this one was away (`absence`) or is there (`status`), it uses this one's
 * client id (`subscription`), or the broker says so (`disconnect`).
 */
export type Sign = 'absence' | 'status' | 'subscription' | 'disconnect';

export interface Sighting {
  /** `online` has to be said again. */
  readonly stale: boolean;
  /** Session of another agent that lives under this device's name or client id, and what gave it away. */
  readonly foreign: { readonly session: string; readonly sign: Sign } | null;
}

const NOTHING: Sighting = { stale: false, foreign: null };

/**
 * Judges what stands on the device's own status topic. Anything but our `online` is stale, such as the late will of an
 * earlier connection. Another session's word is a matter of course when this run first comes to a broker: the run
 * before left it. One that is newer than that means that two agents live under one identity.
 */
export class StatusWatch {
  readonly #session: string;
  readonly #topic: string;
  readonly #clock: Clock;
  /** By broker: the newest time that another session's word bore when this run first came; -Infinity without one. */
  readonly #firstSeenAtMs = new Map<string, number>();
  #broker = '';
  #first = true;
  #saidOnline = false;
  #repairedMonoMs = -Infinity;

  constructor(of: { readonly session: string; readonly topic: string }, clock: Clock) {
    this.#session = of.session;
    this.#topic = of.topic;
    this.#clock = clock;
  }

  /** A connection begins. */
  begin(broker: string): void {
    this.#broker = broker;
    this.#first = !this.#firstSeenAtMs.has(broker);
    this.#saidOnline = false;
  }

  /** `online` is acknowledged on this connection. */
  saidOnline(): void {
    this.#firstSeenAtMs.set(this.#broker, this.#knownAtMs());
    this.#saidOnline = true;
  }

  ended(): void {
    this.#saidOnline = false;
  }

  /** Any message that is no command. `retain`: the broker had kept it; else someone says it, or did while we were away. */
  see({ topic, payload, retain }: Pick<Received, 'topic' | 'payload' | 'retain'>): Sighting {
    if (topic !== this.#topic) {
      // Only a client with our id can have subscribed to it.
      const session = foreignStatus(topic, payload, this.#session);
      return session === null ? NOTHING : { stale: false, foreign: { session, sign: 'subscription' } };
    }
    const shown = readStatus(payload);
    if (shown?.session === this.#session)
      return shown.state === 'online' ? NOTHING : { ...NOTHING, stale: this.#mayRepair() };
    const session = this.#foreign(shown, retain);
    // Two that are both there would shout each other down for ever.
    const alive = session !== null && (shown?.state === 'online' || shown?.state === 'starting');
    return {
      foreign: session === null ? null : { session, sign: this.#saidOnline ? 'status' : 'absence' },
      stale: !alive && this.#mayRepair(),
    };
  }

  #foreign(shown: Partial<Status> | null, retained: boolean): string | null {
    const { session, at, state } = shown ?? {};
    // A person's hand may have written anything.
    if (typeof session !== 'string' || typeof state !== 'string' || typeof at !== 'string') return null;
    const atMs = Date.parse(at);
    if (Number.isNaN(atMs)) return null;
    // Some brokers hand out what they kept late.
    if (this.#first && (retained || !this.#saidOnline)) {
      this.#firstSeenAtMs.set(this.#broker, Math.max(this.#knownAtMs(), atMs));
      return null;
    }
    return atMs > this.#knownAtMs() ? session.slice(0, 64) : null;
  }

  #knownAtMs(): number {
    return this.#firstSeenAtMs.get(this.#broker) ?? -Infinity;
  }

  #mayRepair(): boolean {
    const nowMs = this.#clock.monoMs();
    if (!this.#saidOnline || nowMs - this.#repairedMonoMs < REPAIR_EVERY_MS) return false;
    this.#repairedMonoMs = nowMs;
    return true;
  }
}
