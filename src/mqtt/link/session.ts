import type { IClientPublishOptions, IConnackPacket, MqttClient } from 'mqtt';
import type { Clock } from '../../base/clock.ts';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import { RETAIN_NOT_SUPPORTED, type SessionLoss, type SessionStage } from './broker-features.ts';
import { limitsOf, subscribeRefusal, type SubscribeRefusal } from './broker-answers.ts';
import type { SessionOptions } from './client-options.ts';
import type { CertificateValidity } from './credential-files.ts';
import { brokerName, OversizedPacketError, publishFailure, qosRefusal, sizeRefusal } from './failures.ts';
import type { SessionEnd } from './faults.ts';
import { awaitConnack, brokerCertificateOf, openClient, type Inbox } from './open-client.ts';
import { PendingRequests, SendWindow } from './requests.ts';
import type { BrokerLimit, PublishOptions } from '../types.ts';

/** Upper bound for topic, header and properties of a packet, in addition to the payload. */
const PACKET_OVERHEAD_BYTES = 512;
/** Any record is larger than this. A broker with a lower size limit is useless. */
const MIN_USEFUL_PAYLOAD_BYTES = 1024;
/** Longest wait until mqtt.js has closed the socket. */
const FORCED_END_MS = 500;
/** Longest wait for DISCONNECT on a connection that is not used. */
const LEAVE_MS = 1000;
/** How long `dropWhenIdle` waits for pending requests. */
const MAX_IDLE_WAIT_MS = 5000;
const IDLE_CHECK_MS = 20;

/**
 * One connection to a broker, from CONNACK to its end. A session is never resumed: the link creates a new one.
 * Every promise of its methods settles: after an answer, a timeout, or the end of the connection.
 */
export class Session implements SessionEnd, SessionLoss {
  readonly broker: string;
  readonly protocolVersion: 4 | 5;
  readonly maxPayloadBytes: number;
  /** True when the broker had a session of this client id, with its subscriptions and queued messages. */
  readonly isResumed: boolean;
  /** Resolves with the reason at the end of the connection. */
  readonly closed: Promise<string>;
  /** Validity of the broker's certificate; null without TLS, and over WebSocket. */
  readonly brokerCertificate: CertificateValidity | null;
  readonly inbox: Inbox;
  rttMs: number | null = null;
  disconnect: SessionEnd['disconnect'] = null;
  /** True after a packet that was too large. In the same MQTT session, the broker would send this packet again. */
  receivedOversizedPacket = false;
  /** The limit of the broker; Infinity without one. */
  readonly #maxPacketBytes: number;
  readonly #client: MqttClient;
  readonly #clock: Clock;
  readonly #window: SendWindow;
  readonly #requests: PendingRequests;
  /** False when the broker does not retain messages. */
  readonly retains: boolean;
  /** What the broker announced in CONNACK, or showed later. */
  readonly limits: Set<BrokerLimit>;
  /** The link sets it as the connection proceeds. */
  stage: SessionStage = 'subscribe';
  hasAcknowledged = false;
  isRemote = false;
  #endReason: string | null = null;
  #isLeaving = false;
  #resolveClosed: (reason: string) => void = () => undefined;

  /** Connects to the broker. After a failure, closes the socket and rejects with the cause, for `connectFailure`. */
  static async connect(options: SessionOptions, clock: Clock, signal: AbortSignal): Promise<Session> {
    signal.throwIfAborted();
    const { client, inbox } = openClient(options);
    try {
      const session = await awaitConnack(
        client,
        options,
        signal,
        (connack) => new Session(client, connack, inbox, options, clock),
      );
      const refusal = session.#refusal(options);
      if (refusal === null) return session;
      if (options.leavesWhenUnusable === true) await session.leave(LEAVE_MS, { forget: !session.isResumed });
      throw refusal;
    } catch (error) {
      client.end(true);
      throw error;
    }
  }

  private constructor(
    client: MqttClient,
    connack: IConnackPacket,
    inbox: Inbox,
    options: SessionOptions,
    clock: Clock,
  ) {
    const { receiveMaximum, maximumPacketSize = Infinity } = connack.properties ?? {};
    this.#maxPacketBytes = maximumPacketSize;
    this.#client = client;
    this.inbox = inbox;
    this.#clock = clock;
    this.#window = new SendWindow(Math.max(1, Math.min(options.window, receiveMaximum ?? options.window)));
    this.limits = limitsOf(connack, options);
    this.retains = !this.limits.has('retain');
    this.broker = brokerName(options.url);
    this.brokerCertificate = brokerCertificateOf(client);
    this.protocolVersion = options.protocolVersion;
    this.isResumed = connack.sessionPresent;
    this.maxPayloadBytes = Math.max(
      0,
      Math.min(options.maxPayloadBytes, maximumPacketSize - PACKET_OVERHEAD_BYTES),
    );
    this.#requests = new PendingRequests(
      { ackTimeoutMs: options.ackTimeoutMs, broker: this.broker, onTimeout: (reason) => this.drop(reason) },
      clock,
    );
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    client.on('close', () => {
      this.isRemote ||= this.#endReason === null;
      this.drop('the connection was lost');
    });
    client.on('error', (error) => {
      this.receivedOversizedPacket = error instanceof OversizedPacketError;
      // The write to a socket that the broker has closed, ECONNRESET or EPIPE, may fail before `close`.
      this.isRemote ||= this.#endReason === null && errorCode(error) !== null;
      this.drop(error.message);
    });
    client.on('disconnect', ({ reasonCode = 0, properties }) => {
      this.disconnect = { code: reasonCode, serverReference: properties?.serverReference ?? null };
      this.drop(`the broker sent DISCONNECT, reason ${reasonCode}`);
    });
  }

  /** Why this device cannot use the connection; null when it can. */
  #refusal({ omitted, maxPayloadBytes }: SessionOptions): Error | null {
    if (this.limits.has('qos')) return qosRefusal(this.broker);
    // Such a broker had to refuse the retained will: it may treat it in any way.
    if (this.limits.has('retain') && !omitted.has('retain'))
      return Object.assign(new Error('the broker does not support retained messages'), {
        code: RETAIN_NOT_SUPPORTED,
      });
    // Without this check, a wrong limit in the broker's configuration would make the forwarder reject every record.
    if (this.maxPayloadBytes < Math.min(MIN_USEFUL_PAYLOAD_BYTES, maxPayloadBytes))
      return sizeRefusal(this.broker, this.#maxPacketBytes);
    return null;
  }

  /** As `Link.publish`, with an absolute topic. */
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> {
    const sizeBytes = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.byteLength;
    if (sizeBytes > this.maxPayloadBytes)
      return Promise.reject(
        new AgentError('mqtt_too_large', 'the message is larger than this link allows', {
          context: { topic, size_bytes: sizeBytes, limit_bytes: this.maxPayloadBytes },
        }),
      );
    const body =
      typeof payload === 'string' || Buffer.isBuffer(payload)
        ? payload
        : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    if (options.qos === 0 || this.#window.tryEnter()) return this.#send(topic, body, options);
    return this.#window.enter(options.bulk === true).then(() => this.#send(topic, body, options));
  }

  /**
   * Subscribes with QoS 1. With MQTT 5, `retained: false` excludes retained messages, and `own: false` excludes
   * messages of this client, including its will message. Resolves with the refusal, or with null.
   */
  subscribe(
    topic: string,
    options: { readonly retained: boolean; readonly own: boolean },
  ): Promise<SubscribeRefusal | null> {
    return this.#request('subscription', (done) => {
      this.#client.subscribe(
        topic,
        // Retain as published: a command that was published with the retain flag must be recognised.
        { qos: 1, nl: !options.own, rap: !options.retained, rh: options.retained ? 0 : 2 },
        (error, granted) => {
          const refusal = subscribeRefusal(error, granted);
          if (refusal !== null && this.#endReason !== null)
            done(new AgentError('mqtt_unreachable', refusal.reason));
          else done(null, refusal);
          if (granted?.[0]?.qos === 0) this.limits.add('qos');
        },
      );
    });
  }

  get endReason(): string | null {
    return this.#endReason;
  }

  /** False as soon as `leave` was called or the connection ended, even before `closed` resolves. */
  get isOpen(): boolean {
    return this.#endReason === null && !this.#isLeaving;
  }

  /**
   * Sends DISCONNECT, so that the broker discards the will message. After `timeoutMs`, closes the socket in any case.
   * `forget`: with MQTT 5, the broker also removes the session.
   */
  async leave(timeoutMs: number, { forget = false }: { readonly forget?: boolean } = {}): Promise<void> {
    const packet = forget && this.protocolVersion === 5 ? { properties: { sessionExpiryInterval: 0 } } : {};
    this.#isLeaving = true;
    if (this.#endReason === null) {
      // Do not wait for acknowledgements, which could take forever. Unacknowledged records stay in the outbox.
      for (const id of Object.keys(this.#client.outgoing)) this.#client.removeOutgoingMessage(Number(id));
      await callbackOrTimeout(timeoutMs, (done) => this.#client.end(false, packet, done));
    }
    this.drop('left');
    await callbackOrTimeout(FORCED_END_MS, (done) => this.#client.end(true, {}, done));
  }

  /**
   * Closes the connection as `drop` does, but only when no request is pending, or after 5 s. The broker publishes the
   * will message `offline`; after the reconnect, the link replaces it by `online`.
   */
  async dropWhenIdle(reason: string): Promise<void> {
    const endMonoMs = this.#clock.monoMs() + MAX_IDLE_WAIT_MS;
    while (this.#requests.size > 0 && this.#clock.monoMs() < endMonoMs)
      await this.#clock.sleep(IDLE_CHECK_MS);
    this.drop(reason);
  }

  /** Sends a message that has a place in the send window, and releases this place when the request settles. */
  #send(topic: string, payload: string | Buffer, options: PublishOptions): Promise<void> {
    const { qos } = options;
    const retain = options.retain && this.retains;
    const properties = this.protocolVersion === 5 ? propertiesOf(options) : undefined;
    return this.#request(
      'acknowledgement',
      (done) => {
        this.#client.publish(
          topic,
          payload,
          properties ? { qos, retain, properties } : { qos, retain },
          (error) => (error ? done(publishFailure(error, topic)) : done(null, undefined)),
        );
      },
      qos === 0 ? undefined : this.#releasePlace,
    );
  }

  readonly #releasePlace = (roundTripMs: number | null): void => {
    this.rttMs = roundTripMs ?? this.rttMs;
    this.hasAcknowledged ||= roundTripMs !== null;
    this.#window.release();
  };

  #request<T>(
    answer: string,
    send: (done: (error: Error | null, value?: T) => void) => void,
    onSettled?: (roundTripMs: number | null) => void,
  ): Promise<T> {
    if (this.#endReason === null) return this.#requests.run(answer, send, onSettled);
    onSettled?.(null);
    return Promise.reject(
      new AgentError('mqtt_unreachable', 'there is no connection to the broker', {
        context: { reason: this.#endReason },
      }),
    );
  }

  /** Closes the connection at once, unless it has ended. Without `leave`, the broker publishes the will message. */
  drop(reason: string): void {
    if (this.#endReason !== null) return;
    this.#endReason = reason;
    const error = new AgentError('mqtt_unreachable', 'the connection to the broker was lost', {
      context: { reason },
    });
    this.#window.close(error);
    this.#requests.failAll(error);
    // This also closes the socket. `leave` does so itself, after DISCONNECT: until then, a request may fail and call this.
    if (!this.#isLeaving) this.#client.end(true);
    this.#resolveClosed(reason);
  }
}

function propertiesOf({ expiryS, correlationData }: PublishOptions): IClientPublishOptions['properties'] {
  if (expiryS === undefined && correlationData === undefined) return undefined;
  return {
    ...(expiryS === undefined ? {} : { messageExpiryInterval: Math.ceil(expiryS) }),
    ...(correlationData === undefined ? {} : { correlationData: Buffer.from(correlationData) }),
  };
}

/** Resolves when `start` calls back, or after `timeoutMs`. */
function callbackOrTimeout(timeoutMs: number, start: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    start(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
