import type { IClientOptions } from 'mqtt';
import { ForgetfulStore } from './forgetful-store.ts';
import type { Credentials } from './files.ts';

export interface SessionOptions {
  readonly url: string;
  readonly protocolVersion: 4 | 5;
  readonly clientId: string;
  readonly credentials: Credentials;
  /** Retained, QoS 1, sent by the broker when this connection is lost. */
  readonly will: { readonly topic: string; readonly payload: string };
  readonly keepAliveS: number;
  readonly connectTimeoutMs: number;
  /** Longest wait for an acknowledgement; then the connection is given up. */
  readonly ackTimeoutMs: number;
  /** Unacknowledged messages at a time, at most; the broker may allow fewer. */
  readonly window: number;
  readonly maxPayloadBytes: number;
  /** The broker is to forget the session: a message in it cannot be read. */
  readonly clean?: boolean;
}

/** How long the broker keeps commands for an absent device, seconds. */
export const SESSION_EXPIRY_S = 86_400;
/** Asked of the broker, so that no sender can fill the memory of the device. */
const MAX_INCOMING_BYTES = 262_144;
const RECEIVE_MAXIMUM = 20;

/** What one connection is asked for. */
export function clientOptions(options: SessionOptions): IClientOptions {
  const five = options.protocolVersion === 5;
  const { username, password, ca, cert, key } = options.credentials;
  const given = Object.entries({ username, password, ca, cert, key }).filter(([, value]) => value !== null);
  return {
    ...(Object.fromEntries(given) as IClientOptions),
    clientId: options.clientId,
    // Its own lines are written for nobody, and cost as much as a message does.
    log: () => undefined,
    outgoingStore: new ForgetfulStore(),
    protocolVersion: options.protocolVersion,
    clean: options.clean ?? false,
    keepalive: options.keepAliveS,
    // A ping when the link is idle in either direction: only an answer proves it alive.
    reschedulePings: false,
    connectTimeout: options.connectTimeoutMs * 2,
    // The link has its own series of attempts, with jitter.
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    will: {
      topic: options.will.topic,
      payload: Buffer.from(options.will.payload),
      qos: 1,
      retain: true,
      ...(five ? { properties: { willDelayInterval: 0 } } : {}),
    },
    ...(five
      ? {
          properties: {
            sessionExpiryInterval: SESSION_EXPIRY_S,
            receiveMaximum: RECEIVE_MAXIMUM,
            maximumPacketSize: MAX_INCOMING_BYTES,
          },
        }
      : {}),
  };
}
