// Longer than 300 lines because one connection, from the choice of its broker to its end, reads from top to bottom.
import { settleWithin } from '../../base/deadline.ts';
import { AgentError } from '../../base/errors.ts';
import type { Status } from '../../contract/states.ts';
import { QOS_NOT_SUPPORTED, type OmittedFeatures } from './broker-features.ts';
import { CommandSubscription } from './command-subscription.ts';
import type { Credentials } from './credential-files.ts';
import { CredentialWatch, LinkCredentials } from './credentials.ts';
import { connectFailure, OversizedPacketError, qosRefusal, type ConnectFailure } from './failures.ts';
import { LinkFaults } from './faults.ts';
import type { ReceivedMessage } from './open-client.ts';
import { DEFAULT_TUNING, type LinkDeps, type LinkOptions, type LinkTuning } from './options.ts';
import { BrokerChoice, Reconnects, type BrokerAddress } from './reconnect.ts';
import { Session } from './session.ts';
import { subscribeToStatus } from './subscriptions.ts';
import { statusMessage, StatusWatch } from './status-watch.ts';
import { RetainedStates } from '../retained-states.ts';
import { RetainedTopics } from '../retained-topics.ts';
import type { Link, LinkStats, PublishOptions, StateOptions } from '../types.ts';

/**
 * Keeps one connection to one of the brokers until it is stopped.
 *
 * INVARIANTS
 * - At most one session exists at a time. `#run` starts an attempt only after the previous session has ended.
 * - Order after each connect: subscriptions, the status `starting` (first connection only), retained states, the status
 *   `online`, then `onConnected`.
 * - `connected` is true from the acknowledgement of this `online` until the end of the session.
 * - A session is never resumed. `publish` rejects for a message without an acknowledgement; its sender may try again.
 * - `status` does not stay `online`: `stop` publishes `stopped`; otherwise the broker's will message says `offline`.
 * - Error path: `#connectFailed` handles every failed attempt, `#sessionLost` every lost session. They choose the next
 *   broker and the delay. Each failure or loss is logged once.
 */
export class MqttLink implements Link {
  readonly #options: LinkOptions;
  readonly #tuning: LinkTuning;
  readonly #deps: LinkDeps;
  readonly #states: RetainedStates;
  readonly #retained: RetainedTopics;
  readonly #brokers: BrokerChoice;
  readonly #credentials: LinkCredentials;
  readonly #faults: LinkFaults;
  readonly #credentialWatch: CredentialWatch;
  readonly #statusWatch: StatusWatch;
  readonly #commandSubscription: CommandSubscription;
  readonly #reconnects: Reconnects;
  readonly #stopped = new AbortController();
  #session: Session | null = null;
  /** Settles when the last attempt has set `#session`, or has failed. Does not reject. */
  #connecting: Promise<unknown> = Promise.resolve();
  #isOnline = false;
  #connectedSinceMs: number | null = null;
  /** The broker's session contains an oversized packet: the next connection starts a new session. */
  #needsCleanSession = false;
  #running: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | null = null;

  constructor(options: LinkOptions, deps: LinkDeps) {
    const { mqtt, session } = options;
    const { clock, raise } = deps;
    this.#options = options;
    this.#tuning = { ...DEFAULT_TUNING, ...options.tuning };
    this.#deps = deps;
    const faults = (this.#faults = new LinkFaults(mqtt.clientId, { clock, raise }));
    this.#states = new RetainedStates({
      ...deps,
      onLeftOut: (topic, sizeBytes) => faults.stateLeftOut(topic, sizeBytes),
    });
    this.#retained = new RetainedTopics(deps);
    this.#brokers = new BrokerChoice(mqtt.url, mqtt.protocolVersion, () => clock.monoMs());
    const credentials = (this.#credentials = new LinkCredentials(mqtt, clock));
    this.#credentialWatch = new CredentialWatch(this.#tuning.checkEveryMs, { clock, credentials, faults });
    this.#statusWatch = new StatusWatch({ session, topic: deps.topics.status }, clock);
    this.#commandSubscription = new CommandSubscription(deps.topics, faults);
    this.#reconnects = new Reconnects(this.#tuning, deps);
  }

  /** Returns at once and connects in the background. When the signal fires, the link stops as by `stop`. */
  start(signal: AbortSignal): void {
    if (signal.aborted) return;
    const logFailure = (err: unknown): void => this.#deps.log.error({ err }, 'the link did not stop');
    signal.addEventListener('abort', () => void this.stop().catch(logFailure), { once: true });
    this.#running = this.#run(this.#stopped.signal);
  }

  /** Publishes `stopped` and disconnects, within `stopTimeoutMs` even if the broker does not answer. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#leave();
    return this.#stopping;
  }

  get connected(): boolean {
    return this.#session?.isOpen === true && this.#isOnline;
  }

  get maxPayloadBytes(): number {
    return this.#session?.maxPayloadBytes ?? this.#tuning.maxPayloadBytes;
  }

  setState(topic: string, payload: unknown, options: StateOptions = {}): void {
    this.#states.set(topic, payload, options);
    if (!this.#session) return;
    // Do this also while the states are published after a connect: this topic may have been published already.
    if (options.withOthers === true && this.#isOnline && !this.#session.retains)
      this.announce().catch(() => undefined);
    else void this.#states.publish(topic, this.#publisher(this.#session));
  }

  /** Publishes all states and `online` again. Rejects without a connection, or when it is lost during the call. */
  async announce(): Promise<void> {
    if (!this.#session) throw linkDown();
    await this.#publishStatesAndOnline(this.#session);
  }

  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> {
    if (!this.#session) return Promise.reject(linkDown());
    return this.#publisher(this.#session)(topic, payload, options);
  }

  stats(): LinkStats {
    return {
      connectedSinceMs: this.#connectedSinceMs,
      reconnects1h: this.#reconnects.countOfLastHour,
      rttMs: this.#session?.rttMs ?? null,
      broker: this.#session?.broker ?? null,
      protocolVersion: this.#session?.protocolVersion ?? null,
      faults: this.#faults.codes(),
      failure: this.connected ? null : this.#faults.failure,
    };
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!this.#stopping) {
      const delayMs = await this.#attempt(signal);
      // `waitForRetry` rejects only when the signal fires, and then the loop ends.
      await this.#credentialWatch.waitForRetry(delayMs, signal).catch(() => undefined);
    }
  }

  /** One connection, from CONNECT to its end. Returns the delay before the next attempt, ms. */
  async #attempt(signal: AbortSignal): Promise<number> {
    const broker = this.#brokers.current();
    let credentials: Credentials | null = null;
    let session: Session;
    try {
      credentials = this.#credentials.next();
      session = await this.#connect(broker, credentials, signal);
    } catch (thrown) {
      this.#needsCleanSession ||= thrown instanceof OversizedPacketError;
      return signal.aborted ? 0 : this.#connectFailed(connectFailure(thrown, broker.url), credentials);
    }
    this.#credentials.accepted(credentials);
    this.#brokers.succeeded();
    this.#faults.accepted();
    this.#needsCleanSession = false;
    const sinceMonoMs = this.#deps.clock.monoMs();
    const { reason, isRenewal } = await this.#serve(session, broker.omitted, credentials, signal);
    if (signal.aborted) return 0;
    const delayMs = isRenewal ? this.#reconnects.renewalDelayMs() : this.#sessionLost(session, sinceMonoMs);
    this.#deps.log.warn({ broker: session.broker, reason, retryInMs: Math.round(delayMs) }, 'link lost');
    return delayMs;
  }

  #connect(broker: BrokerAddress, credentials: Credentials, signal: AbortSignal): Promise<Session> {
    const { clock, topics } = this.#deps;
    const { clientId } = this.#options.mqtt;
    const will = { topic: topics.status, payload: this.#statusMessage('offline') };
    const clean = this.#needsCleanSession;
    const options = { ...this.#tuning, ...broker, clientId, credentials, will, clean };
    const connecting = Session.connect(options, clock, signal).then((session) => (this.#session = session));
    this.#connecting = connecting.catch(() => undefined);
    return connecting;
  }

  #connectFailed(failure: ConnectFailure, credentials: Credentials | null): number {
    const { kind, error, reasonCode } = failure;
    const pace = this.#brokers.failed(kind, reasonCode);
    if (pace === 'immediate') {
      this.#deps.log.info(error.context, 'connecting again without what the broker does not support');
      return 0;
    }
    this.#faults.connectFailed(failure);
    this.#credentialWatch.check(credentials, null);
    // When the broker refuses the newest credentials, older credentials may still be valid.
    const hasOtherCredentials =
      kind === 'refused' && credentials !== null && this.#credentials.refused(credentials);
    const delayMs = this.#reconnects.nextDelayMs(hasOtherCredentials ? 'immediate' : pace);
    const { code, context, message } = error;
    this.#deps.log.warn({ code, ...context, retryInMs: Math.round(delayMs) }, message);
    return delayMs;
  }

  #sessionLost(session: Session, sinceMonoMs: number): number {
    this.#needsCleanSession = session.receivedOversizedPacket;
    const pace = this.#brokers.learn(session);
    if (pace !== null) return this.#reconnects.nextDelayMs(pace);
    // The subscriptions were granted with QoS 0, and no message with QoS 1 was acknowledged.
    const lacksQos = session.limits.has('qos') && session.stage === 'publish' && !session.hasAcknowledged;
    if (lacksQos || session.disconnect?.code === QOS_NOT_SUPPORTED)
      return this.#connectFailed(connectFailure(qosRefusal(session.broker), session.broker), null);
    const reason = this.#faults.sessionEnded(session);
    const isStable = this.#deps.clock.monoMs() - sinceMonoMs >= this.#tuning.backoff.resetAfterMs;
    const nextPace = this.#brokers.lost(isStable, reason);
    return this.#reconnects.nextDelayMs(this.#faults.hasIdentityConflict ? 'conflict' : nextPace);
  }

  /** Serves a new session until its end. `isRenewal`: the link ended it to connect with a renewed certificate. */
  async #serve(
    session: Session,
    omitted: OmittedFeatures,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<{ readonly reason: string; readonly isRenewal: boolean }> {
    const { clock, log, onConnected } = this.#deps;
    this.#reconnects.connected();
    this.#statusWatch.connected(session.broker);
    session.inbox.listen((message) => this.#receive(session, message));
    const ended = new AbortController();
    let renewal = Promise.resolve(false);
    try {
      await this.#publishInitialMessages(session, omitted);
      session.stage = 'online';
      this.#faults.setBrokerLimits(session.broker, session.limits);
      this.#isOnline = true;
      this.#connectedSinceMs = clock.nowMs();
      log.info({ broker: session.broker, protocolVersion: session.protocolVersion }, 'connected');
      renewal = this.#renewWhenExpiring(session, credentials, ended.signal).catch((thrown: unknown) => {
        log.error({ err: thrown }, 'credential watcher failed');
        return false;
      });
      if (!signal.aborted) onConnected?.();
      void this.#clearOutdatedTopics(session);
    } catch (error) {
      session.drop(error instanceof Error ? error.message : 'publishing after the connect failed');
    }
    const reason = await session.closed;
    ended.abort();
    this.#session = null;
    this.#isOnline = false;
    this.#statusWatch.disconnected();
    this.#connectedSinceMs = null;
    return { reason, isRenewal: await renewal };
  }

  async #publishInitialMessages(session: Session, omitted: OmittedFeatures): Promise<void> {
    const { topics } = this.#deps;
    const subscribeStatus = async (): Promise<void> => {
      if (!omitted.has('status')) await subscribeToStatus(session, topics);
    };
    // If the broker refuses the subscription to commands, the device still publishes.
    await Promise.all([this.#commandSubscription.subscribe(session, omitted), subscribeStatus()]);
    session.stage = 'publish';
    if (session.retains) this.#retained.add(session.broker, ['status', ...this.#states.topics]);
    if (this.#reconnects.connections === 1 && !this.#stopping) await this.#publishStatus(session, 'starting');
    await this.#publishStatesAndOnline(session);
    this.#statusWatch.publishedOnline();
    // Subscribe again: a slow broker may publish the old will message late. After `online`, any other status is stale.
    await subscribeStatus();
  }

  /** Resolves with true after it closed the session because the device's certificate was renewed. */
  async #renewWhenExpiring(session: Session, credentials: Credentials, ended: AbortSignal): Promise<boolean> {
    const onCheck = (): void => {
      this.#states.publishPostponed(this.#publisher(session));
      this.#commandSubscription.repeatIfPostponed(session);
    };
    const inUse = { credentials, brokerCertificate: session.brokerCertificate };
    if (!(await this.#credentialWatch.waitForRenewal(inUse, ended, onCheck))) return false;
    // Accept no new messages, and wait until the pending messages are acknowledged.
    this.#isOnline = false;
    await session.dropWhenIdle('the certificate of the device was renewed');
    return true;
  }

  #receive(session: Session, message: ReceivedMessage): void {
    const { topics, onCommand, log } = this.#deps;
    const commandName = topics.commandName(message.topic);
    if (commandName !== null) {
      onCommand?.(commandName, message);
      return;
    }
    const { isStale, foreign } = this.#statusWatch.check(message);
    if (foreign) this.#faults.identityConflict(foreign.sign, foreign.session);
    if (!isStale || this.#stopping) return;
    log.warn('replaced the stale status on the broker');
    // Who cleared the status may have cleared the states too.
    const isCleared = message.payload.length === 0;
    const repair = isCleared ? this.#publishStatesAndOnline(session) : this.#publishStatus(session, 'online');
    // This rejects only when the connection is lost. The link publishes `online` again after the next connect.
    repair.catch(() => undefined);
  }

  #clearOutdatedTopics(session: Session): Promise<void> {
    const isCurrent = (topic: string): boolean => topic === 'status' || this.#states.has(topic);
    const options = { qos: 1, retain: true, bulk: true } as const;
    return this.#retained.clearOutdated(session.broker, isCurrent, (topic) =>
      session.publish(topic, '', options),
    );
  }

  async #leave(): Promise<void> {
    const stepMs = this.#tuning.stopTimeoutMs / 3;
    // The broker may have CONNECT already. If the socket closed now, it would publish the will message.
    await settleWithin(stepMs, this.#deps.clock, this.#connecting);
    const session = this.#session;
    // Also before the first `online` is acknowledged: the broker may have published it already.
    const isPublished = session?.isOpen === true && (await this.#publishStopped(session, stepMs));
    this.#stopped.abort();
    // Without DISCONNECT, the broker publishes the will message: `offline` is better than a permanent `online`.
    if (isPublished) await session.leave(stepMs);
    else session?.drop('stopped');
    await this.#running;
  }

  /** Returns true when the broker acknowledges the status `stopped` in time. */
  async #publishStopped(session: Session, timeoutMs: number): Promise<boolean> {
    const outcome = { isPublished: false };
    const published = this.#publishStatus(session, 'stopped').then(() => (outcome.isPublished = true));
    await settleWithin(timeoutMs, this.#deps.clock, published).catch(() => undefined);
    return outcome.isPublished;
  }

  async #publishStatesAndOnline(session: Session): Promise<void> {
    await this.#states.publishAll(this.#publisher(session));
    if (!this.#stopping) await this.#publishStatus(session, 'online');
  }

  #publishStatus(session: Session, state: Status['state']): Promise<void> {
    return this.#publisher(session)('status', this.#statusMessage(state), { qos: 1, retain: true });
  }

  #publisher(session: Session) {
    return (topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> => {
      const { broker } = session;
      const isRetained = options.retain && session.retains && options.absolute !== true;
      if (isRetained && payload.length > 0) this.#retained.add(broker, [topic]);
      const absoluteTopic = options.absolute === true ? topic : this.#deps.topics.absolute(topic);
      const published = session.publish(absoluteTopic, payload, options);
      if (!isRetained || payload.length > 0) return published;
      return published.then(() => this.#retained.remove(broker, topic));
    };
  }

  #statusMessage(state: Status['state']): string {
    return statusMessage(state, this.#options.session, this.#deps.clock.nowMs());
  }
}

const linkDown = (): AgentError => new AgentError('mqtt_unreachable', 'there is no connection to the broker');
