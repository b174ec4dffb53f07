import { randomUUID } from 'node:crypto';
import { closeAtEnd } from '../base/closing.ts';
import type { Clock } from '../base/clock.ts';
import { withAbort } from '../base/abort.ts';
import { deadlineSignal, settleWithin } from '../base/deadline.ts';
import { asAgentError, type AgentError } from '../base/errors.ts';
import { parseJsonObject } from '../base/json-object.ts';
import type { Settings } from '../config/schema.ts';
import type { Status } from '../contract/states.ts';
import type { SessionOptions } from './link/client-options.ts';
import { readCredentials } from './link/credential-files.ts';
import { connectFailure } from './link/failures.ts';
import { DEFAULT_TUNING } from './link/options.ts';
import { BrokerChoice, type BrokerAddress } from './link/reconnect.ts';
import { Session } from './link/session.ts';
import { statusMessage } from './link/status-watch.ts';
import { subscribeToCommands, subscribeToStatus } from './link/subscriptions.ts';
import { StatusInbox } from './status-inbox.ts';
import type { Topics } from './topics.ts';
import type { BrokerLimit } from './types.ts';

export interface ProbeOptions {
  readonly url: string;
  readonly mqtt: Settings['mqtt'];
  readonly topics: Topics;
  /** Longest wait for each answer of the broker. */
  readonly timeoutMs: number;
}

export type ProbeReport =
  /** An agent with this identity is online: connecting as it would disconnect it. */
  | { readonly kind: 'identity_in_use'; readonly session: string }
  | ({ readonly kind: 'connected' } & ConnectionReport);

export interface ConnectionReport {
  readonly protocolVersion: 4 | 5;
  /** Why the broker refuses the subscription; null when it accepts it. */
  readonly commandRefusal: string | null;
  readonly statusRefusal: string | null;
  /** Why the broker refuses messages on the device's `status`, which is also the topic of the will; null otherwise. */
  readonly publishFailure: AgentError | null;
  /** Whether the message on `status` came back; null when that says nothing. Access rules may drop it silently. */
  readonly isStatusDelivered: boolean | null;
  /** Commands that wait in the session of the agent, as far as the broker sent them. They stay there. */
  readonly waitingCommands: number;
  /** Commands with QoS 0 that came to the probe: the broker sends each only once, so the agent does not get them. */
  readonly lostCommands: number;
  /** The retained status says that an agent is online, but that agent does not answer. */
  readonly isStatusStale: boolean;
  /** What the broker does not support; the agent works without it. */
  readonly limits: readonly BrokerLimit[];
  /** The status reader, with its own client id, got an old session: the broker sets the client id from the login. */
  readonly isIdFromLogin: boolean;
}

/** Time for the retained status after the subscription. Brokers send it at once. */
const RETAINED_MS = 1000;
/** Time for the own message after its acknowledgement. */
const DELIVERY_MS = 2000;
/** A running agent answers at once, but not twice in 2 s. */
const ALIVE_MS = 3000;
const ALIVE_ATTEMPTS = 3;
/** MQTT 5 twice, then 3.1.1, as the link does when the broker closes the connection without an answer. */
const MAX_ATTEMPTS = 3;
const CLOSE_MS = 1000;
/** After an abort, time for the answer to CONNECT: without DISCONNECT, the broker would publish the will message. */
const GRACE_MS = 1000;

/**
 * Connects to one broker as the agent does: with its client id, will, session and subscriptions, and with the fallback to
 * MQTT 3.1.1. It leaves the session as it was: queued commands stay queued (except those with QoS 0, which are counted), and
 * a new session is removed. It publishes on the device's `status`, not retained: the retained status again, else `offline`;
 * before it, `starting` as a question if the retained status says that an agent is online. Throws `mqtt_*`.
 */
export async function probeBroker(
  options: ProbeOptions,
  deps: { readonly clock: Clock },
  signal: AbortSignal,
): Promise<ProbeReport> {
  const probe = new BrokerProbe(options, deps.clock, signal);
  const session = await probe.findOnlineSession();
  return session === null
    ? { kind: 'connected', ...(await probe.tryConnection()) }
    : { kind: 'identity_in_use', session };
}

class BrokerProbe {
  readonly #options: ProbeOptions;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #ownSession = randomUUID();
  #isIdFromLogin = false;
  #isStatusStale = false;

  constructor(options: ProbeOptions, clock: Clock, signal: AbortSignal) {
    this.#options = options;
    this.#clock = clock;
    this.#signal = signal;
  }

  /**
   * The session in the retained status of an agent with this identity that is online, for example on another machine; null
   * without one. Reads it with another client id; a broker that refuses that id or the subscription gives no answer.
   */
  async findOnlineSession(): Promise<string | null> {
    const readerId = `${this.#options.mqtt.clientId}-doctor`;
    let session: Session;
    try {
      // Not a clean session: where the broker sets the client id from the login, this is the session of the agent.
      session = await this.#connect({ clientId: readerId, clean: false, will: null });
      this.#isIdFromLogin = session.isResumed;
    } catch (thrown) {
      this.#signal.throwIfAborted();
      const { kind, error } = connectFailure(thrown, this.#options.url);
      // A broker may also ignore a client id that it does not know.
      if (kind === 'unreachable' && error.code !== 'mqtt_timeout') throw error;
      return null;
    }
    await using _left = closeAtEnd(() => this.#leave(session, readerId));
    try {
      return await withAbort(this.#readOnlineSession(session), this.#signal);
    } catch {
      this.#signal.throwIfAborted();
      return null;
    }
  }

  async #readOnlineSession(session: Session): Promise<string | null> {
    const inbox = new StatusInbox(session, this.#options.topics);
    await subscribeToStatus(session, this.#options.topics);
    await settleWithin(RETAINED_MS, this.#clock, inbox.retained);
    const status: Partial<Status> | null = parseJsonObject(Buffer.from(inbox.retainedPayload ?? ''));
    if (status?.state !== 'online' && status?.state !== 'starting') return null;
    if (await this.#isAlive(session, inbox, status))
      return typeof status.session === 'string' ? status.session.slice(0, 64) : '?';
    this.#isStatusStale = true;
    return null;
  }

  /**
   * Whether the agent of this status is connected. A running agent answers any other status of its session with `online`; a
   * broker that lost power can keep the `online` of an agent that ended with it. True also where nobody can know, because the
   * access rules drop the question.
   */
  async #isAlive(session: Session, inbox: StatusInbox, status: Partial<Status>): Promise<boolean> {
    const question = JSON.stringify({ ...status, state: 'starting' } satisfies Partial<Status>);
    inbox.expect(question);
    for (let attempt = 1; attempt <= ALIVE_ATTEMPTS; attempt += 1) {
      await session.publish(this.#options.topics.status, question, { qos: 1, retain: false });
      await settleWithin(ALIVE_MS, this.#clock, inbox.answered);
      if (inbox.isAnswered) return true;
    }
    return !inbox.isDelivered;
  }

  async tryConnection(): Promise<ConnectionReport> {
    const session = await this.#connect({ clean: false }).catch((thrown: unknown) => {
      this.#signal.throwIfAborted();
      throw connectFailure(thrown, this.#options.url).error;
    });
    await using _left = closeAtEnd(() => this.#leave(session, this.#options.mqtt.clientId));
    return await withAbort(this.#examine(session), this.#signal);
  }

  async #examine(session: Session): Promise<ConnectionReport> {
    const { topics } = this.#options;
    const inbox = new StatusInbox(session, topics);
    const [commandRefusal, statusRefusal] = await Promise.all([
      subscribeToCommands(session, topics),
      subscribeToStatus(session, topics),
    ]);
    if (statusRefusal === null) await settleWithin(RETAINED_MS, this.#clock, inbox.retained);
    const payload = inbox.retainedPayload ?? this.#statusMessage();
    inbox.expect(payload);
    const publishFailure = await session
      .publish(topics.status, payload, { qos: 1, retain: false })
      .then(() => null, asAgentError);
    if (publishFailure === null) await settleWithin(DELIVERY_MS, this.#clock, inbox.delivered);
    // Commands that are not acknowledged may fill the window of the broker, and the message waits behind them.
    const { waitingCommands, lostCommands } = inbox;
    const isKnown = statusRefusal === null && publishFailure === null && waitingCommands === 0;
    return {
      protocolVersion: session.protocolVersion,
      commandRefusal: commandRefusal?.reason ?? null,
      statusRefusal: statusRefusal?.reason ?? null,
      publishFailure,
      isStatusDelivered: inbox.isDelivered || (isKnown ? false : null),
      waitingCommands,
      lostCommands,
      isStatusStale: this.#isStatusStale,
      limits: [...session.limits],
      isIdFromLogin: this.#isIdFromLogin,
    };
  }

  /** Removes the session if this probe made it. */
  async #leave(session: Session, clientId: string): Promise<void> {
    const isNew = !session.isResumed;
    await session.leave(CLOSE_MS, { forget: isNew });
    if (!isNew || session.protocolVersion === 5) return;
    // With MQTT 3.1.1, only a clean connection removes a session.
    const part = { clientId, clean: true, will: null, protocolVersion: 4 } as const;
    const cleaner = await this.#connect(part, deadlineSignal(GRACE_MS)).catch(() => null);
    await cleaner?.leave(CLOSE_MS, { forget: true });
  }

  /**
   * Tries the versions of MQTT in the order of the link. Rejects with the cause of the last failure, and with the reason of
   * the signal.
   */
  async #connect(
    part: Partial<Pick<SessionOptions, 'clean' | 'will' | 'clientId' | 'protocolVersion'>>,
    signal = this.#signal,
  ): Promise<Session> {
    const { url, mqtt } = this.#options;
    const choice = new BrokerChoice([url], part.protocolVersion ?? mqtt.protocolVersion);
    const credentials = readCredentials(mqtt);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#connectOnce({ credentials, ...part, ...choice.current() }, signal);
      } catch (thrown) {
        signal.throwIfAborted();
        const { kind, reasonCode } = connectFailure(thrown, url);
        const pace = choice.failed(kind, reasonCode);
        const mayFallBack = pace === 'immediate' || kind === 'hung_up';
        if (!mayFallBack || attempt === MAX_ATTEMPTS) throw thrown;
      }
    }
  }

  /** When the signal fires, waits some time for the connection, leaves it, and rejects with the reason of the signal. */
  async #connectOnce(
    part: Partial<SessionOptions> & Pick<SessionOptions, 'credentials' | keyof BrokerAddress>,
    signal: AbortSignal,
  ): Promise<Session> {
    const { mqtt, topics, timeoutMs } = this.#options;
    signal.throwIfAborted();
    const hard = new AbortController();
    const connected = Session.connect(
      {
        ...DEFAULT_TUNING,
        connectTimeoutMs: timeoutMs,
        ackTimeoutMs: timeoutMs,
        clientId: mqtt.clientId,
        will: { topic: topics.status, payload: this.#statusMessage() },
        acknowledges: (topic) => topics.commandName(topic) === null,
        leavesWhenUnusable: true,
        ...part,
      },
      this.#clock,
      hard.signal,
    );
    try {
      return await withAbort(connected, signal);
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
      const left = connected.then((session) => this.#leave(session, part.clientId ?? mqtt.clientId));
      await settleWithin(GRACE_MS + CLOSE_MS, this.#clock, left).catch(() => undefined);
      hard.abort(signal.reason);
      throw thrown;
    }
  }

  #statusMessage(): string {
    return statusMessage('offline', this.#ownSession, this.#clock.nowMs());
  }
}
