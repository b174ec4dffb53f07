import type { IConnackPacket, ISubscriptionGrant } from 'mqtt';
import type { ISubackPacket } from 'mqtt-packet';
import { SESSION_EXPIRY_S, type SessionOptions } from './client-options.ts';
import type { BrokerLimit } from '../types.ts';

/** Below these limits of the broker, something is lost: states and answers of some kilobytes, or the speed of a backlog. */
const MIN_PACKET_BYTES = 32_768;
const MIN_RECEIVE_MAXIMUM = 5;

/** What the broker announces not to support in its CONNACK, and what the link omits for this broker. */
export function limitsOf(
  { properties }: IConnackPacket,
  { omitted, window }: SessionOptions,
): Set<BrokerLimit> {
  const found: readonly (readonly [boolean, BrokerLimit])[] = [
    [properties?.retainAvailable === false || omitted.has('retain'), 'retain'],
    [
      (properties?.sessionExpiryInterval ?? Infinity) < SESSION_EXPIRY_S || omitted.has('session'),
      'session_expiry',
    ],
    [properties?.wildcardSubscriptionAvailable === false || omitted.has('wildcards'), 'wildcards'],
    [properties?.maximumQoS === 0, 'qos'],
    [(properties?.receiveMaximum ?? Infinity) < Math.min(MIN_RECEIVE_MAXIMUM, window), 'receive_maximum'],
    [(properties?.maximumPacketSize ?? Infinity) < MIN_PACKET_BYTES, 'packet_size'],
  ];
  return new Set(found.filter(([isLimited]) => isLimited).map(([, limit]) => limit));
}

/** A SUBACK with a failure code. */
export interface SubscribeRefusal {
  readonly reason: string;
  readonly code: number;
}

/** The lowest code of a refusal, and the only one of MQTT 3.1.1. Source: MQTT 3.1.1 section 3.9.3. */
const REFUSED = 128;

/** The refusal in the answer to one subscription; null when the broker accepted it. */
export function subscribeRefusal(
  error: Error | null,
  granted: readonly ISubscriptionGrant[] | undefined,
): SubscribeRefusal | null {
  // mqtt.js reports a refusal as an error with one version of MQTT, and as a code with the other version.
  const code = Number(subackOf(error)?.granted[0] ?? granted?.[0]?.qos ?? REFUSED);
  if (error) return { reason: error.message, code };
  return code >= REFUSED ? { reason: `reason ${String(code)}`, code } : null;
}

function subackOf(error: unknown): Pick<ISubackPacket, 'granted'> | null {
  const packet: unknown = error instanceof Error && 'packet' in error ? error.packet : null;
  return typeof packet === 'object' && packet !== null && 'granted' in packet
    ? (packet as Pick<ISubackPacket, 'granted'>)
    : null;
}
