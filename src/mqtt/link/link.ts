import type { Status } from '../../contract/states.ts';
import { AgentError } from '../../base/errors.ts';
import { brokerName } from './broker-url.ts';
import { BrokerChoice } from './broker-choice.ts';
import { connectFailure, Overlong, type ConnectFailure } from './connect-failure.ts';
import { ConnectionCount } from './count.ts';
import { LinkCredentials } from './credentials.ts';
import { heard, retire } from './leave.ts';
import type { LinkDeps, LinkOptions } from './options.ts';
import type { Credentials } from './files.ts';
import { StatusWatch } from './status.ts';
import { LinkTending } from './watch.ts';
import { LinkTroubles } from './faults.ts';
import { DEFAULT_TUNING, type LinkTuning } from './tuning.ts';
import { LinkWaits } from './waits.ts';
import { RetainedStates } from '../retained-states.ts';
import type { Received } from './session-inbox.ts';
import { Session } from './session.ts';
import { statusMessage } from './status-message.ts';
import type { Link, LinkStats, PublishOptions, StateOptions } from '../types.ts';

export type { LinkDeps, LinkOptions };

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
  readonly #credentials: LinkCredentials;
  readonly #troubles: LinkTroubles;
  readonly #tending: LinkTending;
  readonly #status: StatusWatch;
  readonly #waits: LinkWaits;
  readonly #connections: ConnectionCount;
  readonly #stopped = new AbortController();
  #session: Session | null = null;
  #online = false;
  #connectedSinceMs: number | null = null;
  /** What the broker keeps for us cannot be read: the next connection begins a new session. */
  #forget = false;
  #running: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | null = null;

  constructor(options: LinkOptions, deps: LinkDeps) {
    const { mqtt, session } = options;
    const { clock, raise } = deps;
    this.#options = options;
    this.#tuning = { ...DEFAULT_TUNING, ...options.tuning };
    this.#deps = deps;
    this.#troubles = new LinkTroubles(mqtt.clientId, { clock, raise });
    const onLeftOut = (topic: string, sizeBytes: number): void =>
      this.#troubles.stateLeftOut(topic, sizeBytes);
    this.#states = new RetainedStates({ ...deps, onLeftOut });
    this.#brokers = new BrokerChoice(mqtt.url, mqtt.protocolVersion, () => clock.monoMs());
    const credentials = (this.#credentials = new LinkCredentials(mqtt, clock));
    this.#tending = new LinkTending(this.#tuning, { clock, credentials, troubles: this.#troubles });
    this.#status = new StatusWatch({ session, topic: deps.topics.status }, clock);
    this.#waits = new LinkWaits(this.#tuning, deps);
    this.#connections = new ConnectionCount(clock);
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
    return this.#session?.open === true && this.#online;
  }

  get maxPayloadBytes(): number {
    return this.#session?.maxPayloadBytes ?? this.#tuning.maxPayloadBytes;
  }

  setState(topic: string, payload: unknown, options: StateOptions = {}): void {
    this.#states.set(topic, payload, options);
    const session = this.#session;
    // Also during the birth, which may have passed this topic already.
    if (session) void this.#states.publish(topic, this.#publisher(session));
  }

  /** Publishes every state and `online` once more. Rejects when there is no link, or it is lost meanwhile. */
  async announce(): Promise<void> {
    if (!this.#session) throw new AgentError('mqtt_unreachable', 'there is no link');
    const publish = this.#publisher(this.#session);
    await this.#states.publishAll(publish);
    await publish('status', this.#message('online'), RETAINED);
  }

  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> {
    if (!this.#session) return Promise.reject(new AgentError('mqtt_unreachable', 'there is no link'));
    return this.#publisher(this.#session)(topic, payload, options);
  }

  stats(): LinkStats {
    return {
      connectedSinceMs: this.#connectedSinceMs,
      reconnects1h: this.#connections.reconnects1h,
      rttMs: this.#session?.rttMs ?? null,
      broker: this.#session?.broker ?? null,
      protocolVersion: this.#session?.protocolVersion ?? null,
      troubles: this.#troubles.codes(),
    };
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const delayMs = await this.#attempt(signal);
      // When it is stopped while it waits, the loop's condition ends it.
      await this.#tending.pause(delayMs, signal).catch(() => undefined);
    }
  }

  /** One connection from CONNECT to its end. Returns how long to wait before the next. */
  async #attempt(signal: AbortSignal): Promise<number> {
    const { url, protocolVersion } = this.#brokers.current();
    let credentials: Credentials | null = null;
    let session: Session;
    try {
      credentials = this.#credentials.next();
      session = await this.#connect(url, protocolVersion, credentials, signal);
    } catch (thrown) {
      this.#forget ||= thrown instanceof Overlong;
      return signal.aborted ? 0 : this.#failed(connectFailure(thrown, brokerName(url)), credentials);
    }
    this.#credentials.proved(credentials);
    this.#brokers.succeeded();
    this.#troubles.accepted();
    this.#forget = false;
    const sinceMonoMs = this.#deps.clock.monoMs();
    const { reason, renewed } = await this.#live(session, credentials, signal);
    if (signal.aborted) return 0;
    const delayMs = renewed ? this.#waits.renewalMs() : this.#lost(session, sinceMonoMs);
    this.#deps.log.warn({ broker: session.broker, reason, retryInMs: Math.round(delayMs) }, 'link lost');
    return delayMs;
  }

  #connect(
    url: string,
    protocolVersion: 4 | 5,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<Session> {
    const { clock, topics } = this.#deps;
    const { clientId } = this.#options.mqtt;
    const will = { topic: topics.status, payload: this.#message('offline') };
    const options = {
      ...this.#tuning,
      url,
      protocolVersion,
      clientId,
      credentials,
      will,
      clean: this.#forget,
    };
    return Session.connect(options, clock, signal);
  }

  #failed(failure: ConnectFailure, credentials: Credentials | null): number {
    const { kind, error } = failure;
    this.#troubles.failed(failure);
    this.#tending.judge(credentials, null);
    // Older ones may still be good, when the newest are a mistake.
    const others = kind === 'refused' && credentials !== null && this.#credentials.refused(credentials);
    const delayMs = this.#waits.nextMs(others ? 'at_once' : this.#brokers.failed(kind));
    const { code, context, message } = error;
    this.#deps.log.warn({ code, ...context, retryInMs: Math.round(delayMs) }, message);
    return delayMs;
  }

  #lost(session: Session, sinceMonoMs: number): number {
    const why = this.#troubles.ended(session);
    this.#forget = session.overlong;
    const stable = this.#deps.clock.monoMs() - sinceMonoMs >= this.#tuning.backoff.resetAfterMs;
    const pace = this.#brokers.lost(stable, why);
    return this.#waits.nextMs(this.#troubles.fought ? 'contested' : pace);
  }

  /** Birth, then life until the connection is over. Tells why it ended. */
  async #live(
    session: Session,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<{ readonly reason: string; readonly renewed: boolean }> {
    const { clock, log, onConnected } = this.#deps;
    this.#session = session;
    this.#waits.connected();
    this.#connections.connected();
    this.#status.begin(session.broker);
    session.listen((message) => this.#receive(session, message));
    const over = new AbortController();
    let renewal = Promise.resolve(false);
    try {
      await this.#birth(session);
      this.#online = true;
      this.#connectedSinceMs = clock.nowMs();
      log.info({ broker: session.broker, protocolVersion: session.protocolVersion }, 'connected');
      renewal = this.#tend(session, credentials, over.signal).catch((thrown: unknown) => {
        log.error({ err: thrown }, 'the link is no longer looked after');
        return false;
      });
      if (!signal.aborted) onConnected?.();
    } catch (error) {
      session.drop(error instanceof Error ? error.message : 'birth failed');
    }
    const reason = await session.closed;
    over.abort();
    this.#session = null;
    this.#online = false;
    this.#status.ended();
    this.#connectedSinceMs = null;
    return { reason, renewed: await renewal };
  }

  async #birth(session: Session): Promise<void> {
    const { topics } = this.#deps;
    const status = (): Promise<string | null> =>
      session.subscribe(topics.status, { retained: true, own: true });
    // What stands on the status tells who was here since; without commands the device can still report.
    const [refused] = await Promise.all([
      session.subscribe(topics.commands, { retained: false, own: false }),
      status(),
    ]);
    this.#troubles.commands(refused);
    const publish = this.#publisher(session);
    if (this.#connections.total === 1) await publish('status', this.#message('starting'), RETAINED);
    await this.#states.publishAll(publish);
    await publish('status', this.#message('online'), RETAINED);
    this.#status.saidOnline();
    // What shows up from here on and differs is stale: the own will too, which a slow broker may publish late.
    await status();
  }

  /** Looks after certificates and states while the link is up. True when it ended the connection to renew it. */
  async #tend(session: Session, credentials: Credentials, over: AbortSignal): Promise<boolean> {
    const connection = { credentials, broker: session.brokerValidity };
    const look = (): void => this.#states.publishPostponed(this.#publisher(session));
    if (!(await this.#tending.outlived(connection, over, look))) return false;
    // Nothing new is sent; what is on its way may arrive.
    this.#online = false;
    await retire(session, 'the certificate of the device was renewed', this.#deps.clock);
    return true;
  }

  #receive(session: Session, message: Received): void {
    const { topics, onCommand, log } = this.#deps;
    const name = topics.commandName(message.topic);
    if (name !== null) {
      onCommand?.(name, message);
      return;
    }
    const { stale, foreign } = this.#status.see(message);
    if (foreign) this.#troubles.takenOver(foreign.sign, foreign.session);
    if (!stale || this.#stopping) return;
    log.warn('stale status mended');
    // A failure means that the link is lost: the next birth says `online` again.
    this.#publisher(session)('status', this.#message('online'), RETAINED).catch(() => undefined);
  }

  async #leave(): Promise<void> {
    const session = this.#session;
    const { stopTimeoutMs } = this.#tuning;
    const say = (of: Session): Promise<void> =>
      this.#publisher(of)('status', this.#message('stopped'), RETAINED);
    const said =
      session !== null && this.#online && (await heard(say(session), this.#deps.clock, stopTimeoutMs / 2));
    this.#stopped.abort();
    // Without a goodbye the broker sends the will: better `offline` than `online` for ever.
    if (said) await session.leave(stopTimeoutMs / 3);
    else session?.drop('stopped');
    await this.#running;
  }

  #publisher(session: Session) {
    return (topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> => {
      const whole = options.absolute === true ? topic : this.#deps.topics.absolute(topic);
      return session.publish(whole, payload, options);
    };
  }

  #message(state: Status['state']): string {
    return statusMessage(state, this.#options.session, this.#deps.clock.nowMs());
  }
}

const RETAINED: PublishOptions = { qos: 1, retain: true };
