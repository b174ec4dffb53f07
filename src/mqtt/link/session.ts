import type { IClientPublishOptions, IConnackPacket, MqttClient } from 'mqtt';
import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { brokerName } from './broker-url.ts';
import type { SessionOptions } from './client-options.ts';
import { Overlong, publishFailure } from './connect-failure.ts';
import type { Validity } from './validity.ts';
import { InFlight } from '../forward/in-flight.ts';
import { SendWindow } from './send-window.ts';
import type { Inbox, Received } from './session-inbox.ts';
import { answer, openClient, validityOfPeer } from './session-opening.ts';
import type { PublishOptions } from '../types.ts';

/** A request to the broker that waits for its answer. */
interface Request {
  readonly what: string;
  readonly sinceMs: number;
  readonly fail: (error: Error) => void;
  place: number;
}

/** Room for topic, header and properties beside the payload of a packet, bytes. */
const PACKET_OVERHEAD = 512;
/** Smaller than any record. */
const USEFUL_BYTES = 1024;
const FORCED_END_MS = 500;

/**
 * One connection to a broker, from CONNACK to its end. It is never revived: the link makes a new one.
 * Every promise settles: on an answer, on a deadline, or when the connection ends.
 */
export class Session {
  readonly broker: string;
  readonly protocolVersion: 4 | 5;
  readonly maxPayloadBytes: number;
  /** Resolves with the reason when the connection is over. */
  readonly closed: Promise<string>;
  rttMs: number | null = null;
  /** Of the broker's certificate; null without TLS, and over WebSocket, where it cannot be seen. */
  readonly brokerValidity: Validity | null;
  /** What the broker said when it ended the connection; MQTT 5 only. */
  farewell: { readonly code: number; readonly serverReference: string | null } | null = null;
  /** The broker sent a packet that was too large to be read, and will send it again in the same session. */
  overlong = false;
  readonly #client: MqttClient;
  readonly #options: SessionOptions;
  readonly #clock: Clock;
  readonly #window: SendWindow;
  readonly #mayRetain: boolean;
  readonly #inbox: Inbox;
  /** What the broker has not answered yet, oldest first. */
  readonly #requests = new InFlight<Request>();
  #deadline: NodeJS.Timeout | null = null;
  #over: string | null = null;
  #leaving = false;
  #close: (reason: string) => void = () => undefined;

  /** Rejects with what went wrong, to be sorted by `connectFailure`; nothing is left open then. */
  static async connect(options: SessionOptions, clock: Clock, signal: AbortSignal): Promise<Session> {
    signal.throwIfAborted();
    const { client, inbox } = openClient(options);
    try {
      const session = await answer(
        client,
        options,
        signal,
        // At once: what happens before the next turn of the event loop must not be missed.
        (connack) => new Session(client, connack, inbox, options, clock),
      );
      // Else every record would be set aside as too large, over a slip in a configuration.
      if (session.maxPayloadBytes < Math.min(USEFUL_BYTES, options.maxPayloadBytes))
        throw new AgentError('mqtt_refused', 'the broker takes no messages of a useful size', {
          context: { broker: session.broker, limit_bytes: session.maxPayloadBytes },
        });
      return session;
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
    this.#inbox = inbox;
    const { receiveMaximum, maximumPacketSize, retainAvailable } = connack.properties ?? {};
    this.#client = client;
    this.#options = options;
    this.#clock = clock;
    this.#window = new SendWindow(Math.max(1, Math.min(options.window, receiveMaximum ?? options.window)));
    this.#mayRetain = retainAvailable ?? true;
    this.broker = brokerName(options.url);
    this.brokerValidity = validityOfPeer(client);
    this.protocolVersion = options.protocolVersion;
    this.maxPayloadBytes = Math.max(
      0,
      Math.min(options.maxPayloadBytes, (maximumPacketSize ?? Infinity) - PACKET_OVERHEAD),
    );
    this.closed = new Promise((resolve) => (this.#close = resolve));
    client.on('close', () => this.#end('connection lost'));
    client.on('error', (error) => {
      this.overlong = error instanceof Overlong;
      this.#end(error.message);
    });
    client.on('disconnect', ({ reasonCode = 0, properties }) => {
      this.farewell = { code: reasonCode, serverReference: properties?.serverReference ?? null };
      this.#end(`broker said goodbye, reason ${reasonCode}`);
    });
  }

  /** Hands on every message, also those that came before. */
  listen(listener: (message: Received) => void): void {
    this.#inbox.listen(listener);
  }

  /** As `Link.publish`, with an absolute topic. */
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> {
    const sizeBytes = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.byteLength;
    if (sizeBytes > this.maxPayloadBytes)
      return Promise.reject(
        new AgentError('mqtt_too_large', 'the message is larger than this link takes', {
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
   * Subscribes with QoS 1. With MQTT 5, `retained: false` leaves out what the broker kept, and `own: false` what this
   * client published, its will included. Resolves with the reason when the broker refuses, null when it grants.
   */
  subscribe(
    topic: string,
    options: { readonly retained: boolean; readonly own: boolean },
  ): Promise<string | null> {
    return this.#answered('subscription', (done) => {
      this.#client.subscribe(
        topic,
        // Retain as published: a command that someone published as retained must be known as such.
        { qos: 1, nl: !options.own, rap: !options.retained, rh: options.retained ? 0 : 2 },
        (error, granted) => {
          const code = granted?.[0]?.qos ?? 0;
          // A refusal comes as an error in some versions of the protocol, as a code in others.
          const refused = error?.message ?? (code >= 128 ? `reason ${code}` : null);
          if (refused !== null && this.#over !== null) done(new AgentError('mqtt_unreachable', refused));
          else done(null, refused);
        },
      );
    });
  }

  /** Says goodbye, so that the broker forgets the will, within the time given; then ends the connection by force. */
  async leave(withinMs: number): Promise<void> {
    this.#leaving = true;
    if (this.#over === null) {
      // What is not acknowledged stays in the outbox; waiting for it could last for ever.
      for (const id of Object.keys(this.#client.outgoing)) this.#client.removeOutgoingMessage(Number(id));
      await within(withinMs, (done) => this.#client.end(false, {}, done));
    }
    this.#end('left');
    await within(FORCED_END_MS, (done) => this.#client.end(true, {}, done));
  }

  /** False from the goodbye on, and from the moment when the connection is over, before `closed` tells. */
  get open(): boolean {
    return this.#over === null && !this.#leaving;
  }

  /** Requests that wait for the broker's answer. */
  get pending(): number {
    return this.#requests.size;
  }

  /** Ends the connection at once; the broker sends the will. */
  drop(reason: string): void {
    this.#end(reason);
  }

  /** Sends, and gives the turn in the window back when the answer has come, or the wait for it is over. */
  #send(topic: string, payload: string | Buffer, options: PublishOptions): Promise<void> {
    const { qos } = options;
    const retain = options.retain && this.#mayRetain;
    const properties = this.protocolVersion === 5 ? propertiesOf(options) : undefined;
    const settled = qos === 0 ? undefined : this.#leaveWindow;
    return this.#answered(
      'acknowledgement',
      (done) => {
        this.#client.publish(
          topic,
          payload,
          properties ? { qos, retain, properties } : { qos, retain },
          (error) => (error ? done(publishFailure(error, topic)) : done(null, undefined)),
        );
      },
      settled,
    );
  }

  readonly #leaveWindow = (roundTripMs: number | null): void => {
    this.rttMs = roundTripMs ?? this.rttMs;
    this.#window.release();
  };

  /** Runs a request to the broker; rejects when the connection ends first, or ends it when no answer comes. */
  #answered<T>(
    what: string,
    ask: (done: (error: Error | null, value?: T) => void) => void,
    onSettled?: (roundTripMs: number | null) => void,
  ): Promise<T> {
    if (this.#over !== null) {
      onSettled?.(null);
      return Promise.reject(
        new AgentError('mqtt_unreachable', 'there is no link', { context: { reason: this.#over } }),
      );
    }
    return new Promise<T>((resolve, reject) => {
      const sinceMs = this.#clock.monoMs();
      const request: Request = {
        what,
        sinceMs,
        place: -1,
        fail: (error) => {
          if (!this.#requests.delete(request)) return;
          onSettled?.(null);
          reject(error);
        },
      };
      this.#requests.add(request);
      this.#deadline ??= setTimeout(this.#lookForLate, this.#options.ackTimeoutMs);
      ask((error, value) => {
        if (!this.#requests.delete(request)) return;
        onSettled?.(error ? null : this.#clock.monoMs() - sinceMs);
        if (error) reject(error);
        else resolve(value as T);
      });
    });
  }

  /** One timer for all requests, for each may wait equally long: the first of them is the oldest. */
  readonly #lookForLate = (): void => {
    this.#deadline = null;
    const oldest = this.#requests
      .all()
      .reduce<Request | null>((a, b) => (a && a.sinceMs <= b.sinceMs ? a : b), null);
    if (!oldest) return;
    const leftMs = oldest.sinceMs + this.#options.ackTimeoutMs - this.#clock.monoMs();
    if (leftMs > 0) {
      this.#deadline = setTimeout(this.#lookForLate, Math.ceil(leftMs));
      return;
    }
    const reason = `no ${oldest.what} in time`;
    oldest.fail(new AgentError('mqtt_timeout', reason, { context: { broker: this.broker } }));
    this.#end(reason);
  };

  #end(reason: string): void {
    if (this.#over !== null) return;
    this.#over = reason;
    this.#window.close(new AgentError('mqtt_unreachable', 'the link was lost', { context: { reason } }));
    if (this.#deadline) clearTimeout(this.#deadline);
    for (const { fail } of this.#requests.all())
      fail(new AgentError('mqtt_unreachable', 'the link was lost', { context: { reason } }));
    // Ends the socket too; a second `end` after a goodbye does no harm.
    if (reason !== 'left') this.#client.end(true);
    this.#close(reason);
  }
}

function propertiesOf({ expiryS, correlationData }: PublishOptions): IClientPublishOptions['properties'] {
  if (expiryS === undefined && correlationData === undefined) return undefined;
  return {
    ...(expiryS === undefined ? {} : { messageExpiryInterval: Math.ceil(expiryS) }),
    ...(correlationData === undefined ? {} : { correlationData: Buffer.from(correlationData) }),
  };
}

/** Waits for a callback, but not longer than `ms`. */
function within(ms: number, start: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    start(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
