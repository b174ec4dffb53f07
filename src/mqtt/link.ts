import type { Clock } from '../clock.ts';
import type { Settings } from '../config/schema.ts';
import type { Status } from '../contract/states.ts';
import { AgentError } from '../errors.ts';
import type { Log } from '../log.ts';
import { Backoff } from '../retry.ts';
import type { RaiseEvent } from '../store/types.ts';
import { brokerName } from './broker-url.ts';
import { BrokerChoice } from './broker-choice.ts';
import { connectFailure } from './connect-failure.ts';
import { connectionRefused, subscriptionRefused, takenOver } from './link-events.ts';
import { DEFAULT_TUNING, type LinkTuning } from './link-tuning.ts';
import { RetainedStates } from './retained-states.ts';
import { Session, type Received } from './session.ts';
import { readStatus, statusMessage } from './status-message.ts';
import type { Topics } from './topics.ts';
import type { CommandPacket, Link, LinkStats, PublishOptions } from './types.ts';

const HOUR_MS = 3_600_000;
/** A stale status is mended at most this often: two agents under one name must not shout each other down. */
const REPAIR_EVERY_MS = 2000;

export interface LinkOptions {
  readonly mqtt: Pick<
    Settings['mqtt'],
    'url' | 'protocolVersion' | 'clientId' | 'username' | 'password' | 'ca' | 'cert' | 'key'
  >;
  /** One run of the agent. */
  readonly session: string;
  readonly tuning?: Partial<LinkTuning>;
}

export interface LinkDeps {
  readonly topics: Topics;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
  readonly raise: RaiseEvent;
  /** Birth is complete: the outbox may be drained. Called once per connection. */
  readonly onConnected?: () => void;
  readonly onCommand?: (name: string, packet: CommandPacket) => void;
}

/**
 * Keeps one connection to one of the brokers, for ever. On every CONNACK: subscriptions, the retained states,
 * `status: online`, then `onConnected`. The will says `offline` for the same session.
 */
export class MqttLink implements Link {
  readonly #options: LinkOptions;
  readonly #tuning: LinkTuning;
  readonly #deps: LinkDeps;
  readonly #states: RetainedStates;
  readonly #brokers: BrokerChoice;
  readonly #backoff: Backoff;
  readonly #refusedBackoff: Backoff;
  readonly #stopped = new AbortController();
  #session: Session | null = null;
  #online = false;
  #connectedSinceMs: number | null = null;
  #connections = 0;
  #reconnectsMonoMs: readonly number[] = [];
  /** Set once `online` is acknowledged on this connection: a status that differs from then on is stale. */
  #saidOnline = false;
  #repairedMonoMs = -Infinity;
  #toldTakenOverMonoMs = -Infinity;
  #running: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | null = null;

  constructor(options: LinkOptions, deps: LinkDeps) {
    this.#options = options;
    this.#tuning = { ...DEFAULT_TUNING, ...options.tuning };
    this.#deps = deps;
    this.#states = new RetainedStates(deps);
    this.#brokers = new BrokerChoice(options.mqtt.url, options.mqtt.protocolVersion);
    const jitter = { clock: deps.clock, ...(deps.random ? { random: deps.random } : {}) };
    this.#backoff = new Backoff(this.#tuning.backoff, jitter);
    this.#refusedBackoff = new Backoff(this.#tuning.refusedBackoff, jitter);
  }

  /** Returns at once; connects in the background. Aborting the signal stops it as `stop` does. */
  start(signal: AbortSignal): void {
    if (signal.aborted) return;
    signal.addEventListener('abort', () => void this.stop(), { once: true });
    this.#running = this.#run(this.#stopped.signal);
  }

  /** Says `stopped` and leaves. Ends within `stopTimeoutMs`, whatever the broker does. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#leave();
    return this.#stopping;
  }

  get connected(): boolean {
    return this.#session !== null && this.#online;
  }

  get maxPayloadBytes(): number {
    return this.#session?.maxPayloadBytes ?? this.#tuning.maxPayloadBytes;
  }

  setState(topic: string, payload: unknown, options: { readonly expiryS?: number } = {}): void {
    this.#states.set(topic, payload, options.expiryS);
    const session = this.#session;
    // Also during the birth, which may have passed this topic already.
    if (session) void this.#states.publish(topic, this.#publisher(session));
  }

  async publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> {
    if (!this.#session) throw new AgentError('mqtt_unreachable', 'there is no link');
    await this.#session.publish(this.#deps.topics.absolute(topic), payload, options);
  }

  stats(): LinkStats {
    const hourAgoMs = this.#deps.clock.monoMs() - HOUR_MS;
    return {
      connectedSinceMs: this.#connectedSinceMs,
      reconnects1h: this.#reconnectsMonoMs.filter((ms) => ms >= hourAgoMs).length,
      rttMs: this.#session?.rttMs ?? null,
      broker: this.#session?.broker ?? null,
      protocolVersion: this.#session?.protocolVersion ?? null,
    };
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const delayMs = await this.#attempt(signal);
      try {
        await this.#deps.clock.sleep(delayMs, signal);
      } catch {
        // Stopped while waiting: the loop's condition ends it.
      }
    }
  }

  /** One connection from CONNECT to its end. Returns how long to wait before the next. */
  async #attempt(signal: AbortSignal): Promise<number> {
    const { log } = this.#deps;
    const { url, protocolVersion } = this.#brokers.current();
    const broker = brokerName(url);
    let session: Session;
    try {
      session = await this.#connect(url, protocolVersion, signal);
    } catch (thrown) {
      if (signal.aborted) return 0;
      const failure = connectFailure(thrown, broker);
      const { code, message, context } = failure.error;
      const verdict = this.#brokers.failed(failure.kind);
      const delayMs =
        verdict === 'at_once' ? 0 : (verdict === 'slowly' ? this.#refusedBackoff : this.#backoff).nextMs();
      log.warn({ code, ...context, protocolVersion, retryInMs: Math.round(delayMs) }, message);
      if (failure.kind === 'refused' && this.#brokers.firstRefusal())
        this.#deps.raise(connectionRefused(failure.error));
      return delayMs;
    }
    this.#brokers.succeeded();
    const reason = await this.#live(session, signal);
    if (signal.aborted) return 0;
    if (session.takenOver) this.#tellTakenOver();
    const delayMs = this.#backoff.nextMs();
    log.warn({ broker, reason, retryInMs: Math.round(delayMs) }, 'link lost');
    return delayMs;
  }

  #connect(url: string, protocolVersion: 4 | 5, signal: AbortSignal): Promise<Session> {
    const { mqtt } = this.#options;
    const { keepAliveS, connectTimeoutMs, ackTimeoutMs, window, maxPayloadBytes } = this.#tuning;
    const will = { topic: this.#deps.topics.status, payload: this.#status('offline') };
    return Session.connect(
      {
        ...mqtt,
        url,
        protocolVersion,
        will,
        keepAliveS,
        connectTimeoutMs,
        ackTimeoutMs,
        window,
        maxPayloadBytes,
      },
      this.#deps.clock,
      signal,
    );
  }

  /** Birth, then life until the connection is over. Returns why it ended. */
  async #live(session: Session, signal: AbortSignal): Promise<string> {
    const { clock, log, onConnected } = this.#deps;
    this.#session = session;
    this.#backoff.started();
    this.#noteConnected();
    session.listen((message) => this.#receive(session, message));
    try {
      await this.#birth(session);
      this.#online = true;
      this.#connectedSinceMs = clock.nowMs();
      log.info({ broker: session.broker, protocolVersion: session.protocolVersion }, 'connected');
      if (!signal.aborted) onConnected?.();
    } catch (error) {
      session.drop(error instanceof Error ? error.message : 'birth failed');
    }
    const reason = await session.closed;
    this.#session = null;
    this.#online = false;
    this.#saidOnline = false;
    this.#connectedSinceMs = null;
    return reason;
  }

  async #birth(session: Session): Promise<void> {
    const { topics } = this.#deps;
    const refused = await session.subscribe(topics.commands, { retained: false, own: false });
    // Without commands the device can still report; so it does, and says what is wrong.
    if (refused !== null) this.#deps.raise(subscriptionRefused(refused));
    const publish = this.#publisher(session);
    if (this.#connections === 1) await publish('status', this.#status('starting'), RETAINED);
    await this.#states.publishAll(publish);
    await publish('status', this.#status('online'), RETAINED);
    this.#saidOnline = true;
    // What shows up from here on and differs is stale: the own will too, which a slow broker may publish late.
    await session.subscribe(topics.status, { retained: true, own: true });
  }

  #receive(session: Session, message: Received): void {
    const { topics, onCommand } = this.#deps;
    const name = topics.commandName(message.topic);
    if (name !== null) onCommand?.(name, message);
    else if (message.topic === topics.status) this.#mendStatus(session, message.payload);
  }

  /** Someone's `offline`, such as the late will of an earlier connection, stands where `online` should. */
  #mendStatus(session: Session, payload: Uint8Array): void {
    const { clock, log } = this.#deps;
    const shown = readStatus(payload);
    if (shown?.state === 'online' && shown.session === this.#options.session) return;
    if (!this.#saidOnline || this.#stopping || clock.monoMs() - this.#repairedMonoMs < REPAIR_EVERY_MS)
      return;
    this.#repairedMonoMs = clock.monoMs();
    log.warn({ shown }, 'stale status mended');
    const publish = this.#publisher(session);
    // A failure means that the link is lost: the next birth says `online` again.
    publish('status', this.#status('online'), RETAINED).catch(() => undefined);
  }

  async #leave(): Promise<void> {
    const session = this.#session;
    const { stopTimeoutMs } = this.#tuning;
    const said = session !== null && this.#online && (await this.#sayStopped(session, stopTimeoutMs / 2));
    this.#stopped.abort();
    // Without a goodbye the broker sends the will: better `offline` than `online` for ever.
    if (said) await session.leave(stopTimeoutMs / 4);
    else session?.drop('stopped');
    await this.#running;
  }

  /** True when the broker has `stopped`. */
  async #sayStopped(session: Session, withinMs: number): Promise<boolean> {
    const { clock } = this.#deps;
    const done = new AbortController();
    const said = this.#publisher(session)('status', this.#status('stopped'), RETAINED).then(
      () => true,
      () => false,
    );
    const late = clock.sleep(withinMs, done.signal).then(
      () => false,
      () => false,
    );
    const outcome = await Promise.race([said, late]);
    done.abort();
    return outcome;
  }

  #publisher(session: Session) {
    return (topic: string, payload: string, options: PublishOptions): Promise<void> =>
      session.publish(this.#deps.topics.absolute(topic), payload, options);
  }

  #status(state: Status['state']): string {
    return statusMessage(state, this.#options.session, this.#deps.clock.nowMs());
  }

  /** Two agents with one client id throw each other out for ever: worth a word, at most once an hour. */
  #tellTakenOver(): void {
    const nowMs = this.#deps.clock.monoMs();
    if (nowMs - this.#toldTakenOverMonoMs < HOUR_MS) return;
    this.#toldTakenOverMonoMs = nowMs;
    this.#deps.raise(takenOver(this.#options.mqtt.clientId));
  }

  #noteConnected(): void {
    const nowMs = this.#deps.clock.monoMs();
    if (this.#connections > 0)
      this.#reconnectsMonoMs = [...this.#reconnectsMonoMs.filter((ms) => nowMs - ms < HOUR_MS), nowMs];
    this.#connections += 1;
  }
}

const RETAINED: PublishOptions = { qos: 1, retain: true };
