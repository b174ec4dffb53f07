import { Readable } from 'node:stream';
import type { IClientOptions } from 'mqtt';
import { brokerLogin } from '../broker-login.ts';
import type { Credentials } from './credential-files.ts';
import type { LinkTuning } from './options.ts';
import type { BrokerAddress } from './reconnect.ts';
import '../disable-packet-id-cache.ts';

export interface SessionOptions
  extends
    BrokerAddress,
    Pick<LinkTuning, 'keepAliveS' | 'connectTimeoutMs' | 'ackTimeoutMs' | 'window' | 'maxPayloadBytes'> {
  readonly clientId: string;
  readonly credentials: Credentials;
  /** The will message, QoS 1, retained unless `retain` is omitted. The broker publishes it when it loses this connection. Null: none. */
  readonly will: { readonly topic: string; readonly payload: string } | null;
  /** True: the broker must discard the old session, for example because it contains a message that is too large. */
  readonly clean?: boolean;
  /**
   * True: leaves with DISCONNECT when the broker accepts the connection, but this device cannot use it. By default, the socket
   * is closed, and the broker publishes the will message `offline`.
   */
  readonly leavesWhenUnusable?: boolean;
  /** False for a message that must stay in the session at the broker, although it arrives here. Default: all are acknowledged. */
  readonly acknowledges?: (topic: string) => boolean;
}

/** How long the broker keeps commands for a disconnected device, seconds. */
export const SESSION_EXPIRY_S = 86_400;
/** Limit that the device announces to the broker, so that no sender can exhaust the memory of the device. */
const MAX_INCOMING_PACKET_BYTES = 262_144;
const RECEIVE_MAXIMUM = 20;

/** Address without login, and options of mqtt.js, for one connection. */
export function clientOptions(options: SessionOptions): {
  readonly url: string;
  readonly options: IClientOptions;
} {
  const { ca, cert, key } = options.credentials;
  const keepsSession = !options.omitted.has('session');
  const { url, username, password } = brokerLogin(options.url, options.credentials);
  const present = Object.entries({ username, password, ca, cert, key }).filter(([, value]) => value !== null);
  const clientOptions: IClientOptions = {
    ...(Object.fromEntries(present) as IClientOptions),
    clientId: options.clientId,
    // Nobody reads the log of mqtt.js, and each of its log lines costs as much time as a message.
    log: () => undefined,
    outgoingStore: new NullPacketStore(),
    protocolVersion: options.protocolVersion,
    clean: options.clean === true || !keepsSession,
    keepalive: options.keepAliveS,
    // Send pings even while the device sends other packets: only an answer shows that the connection works.
    reschedulePings: false,
    connectTimeout: options.connectTimeoutMs * 2,
    // MqttLink reconnects, with its own delays and jitter.
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    ...(options.will === null
      ? {}
      : {
          will: {
            topic: options.will.topic,
            payload: Buffer.from(options.will.payload),
            qos: 1 as const,
            retain: !options.omitted.has('retain'),
          },
        }),
    ...(options.protocolVersion === 5
      ? {
          properties: {
            ...(keepsSession ? { sessionExpiryInterval: SESSION_EXPIRY_S } : {}),
            receiveMaximum: RECEIVE_MAXIMUM,
            maximumPacketSize: MAX_INCOMING_PACKET_BYTES,
          },
        }
      : {}),
  };
  return { url, options: clientOptions };
}

type PacketStore = NonNullable<IClientOptions['outgoingStore']>;

/**
 * Stores nothing of what mqtt.js sends, because a connection is never resumed: unacknowledged records are in the
 * outbox, and the link publishes the retained states after each connect.
 */
class NullPacketStore implements PacketStore {
  put(...[, done]: Parameters<PacketStore['put']>): this {
    done();
    return this;
  }

  del(...[, done]: Parameters<PacketStore['del']>): this {
    done();
    return this;
  }

  get(...[, done]: Parameters<PacketStore['get']>): this {
    done(new Error('the store is always empty'));
    return this;
  }

  createStream(): ReturnType<PacketStore['createStream']> {
    return Readable.from([]) as unknown as ReturnType<PacketStore['createStream']>;
  }

  close(...[done]: Parameters<PacketStore['close']>): void {
    done();
  }
}
