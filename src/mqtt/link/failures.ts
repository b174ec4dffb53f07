import { portOrDefault } from '../../base/default-port.ts';
import { AgentError } from '../../base/errors.ts';
import { QOS_NOT_SUPPORTED } from './broker-features.ts';

/** Why a broker ended a connection. Contains only the distinctions on which the next step of the link depends. */
export type DisconnectReason =
  /** Another client connected with this client id. */
  | 'taken_over'
  /** The broker does not permit this device: a quick retry does not help. */
  | 'refused'
  /** The broker is busy, or a quota or a rate limit is reached. */
  | 'busy'
  /** The broker redirects its clients to another server. */
  | 'moved'
  /** Any other reason: the link waits as usual. */
  | 'unreachable';

const TAKEN_OVER = 142;
const DISCONNECT_REFUSED = new Set([135, 138, 140, 144, 152, 154, 155]);
const DISCONNECT_BUSY = new Set([137, 147, 150, 151, 159]);
const DISCONNECT_MOVED = new Set([156, 157]);

/**
 * The reason behind the code of a DISCONNECT, or of a CONNACK above 127. Source: MQTT 5.0 sections 3.14.2.1, 3.2.2.2.
 */
export function disconnectReason(code: number): DisconnectReason {
  if (code === TAKEN_OVER) return 'taken_over';
  if (DISCONNECT_REFUSED.has(code)) return 'refused';
  if (DISCONNECT_BUSY.has(code)) return 'busy';
  return DISCONNECT_MOVED.has(code) ? 'moved' : 'unreachable';
}

/** A failed connection attempt. The link's next step depends on `kind`. */
export interface ConnectFailure {
  readonly kind:
    | Exclude<DisconnectReason, 'taken_over'>
    /** The broker does not support this version of MQTT. */
    | 'version'
    /**
     * The broker closed the connection before CONNACK, or refused it without a useful reason: it may not support this
     * version of MQTT, or a feature.
     */
    | 'hung_up';
  /** The reason code of the CONNACK packet. */
  readonly reasonCode: number | null;
  readonly error: AgentError;
}

/**
 * Codes of CONNACK packets: those below 128 are of MQTT 3.1.1, the others of MQTT 5. Source: MQTT 5.0 section 3.2.2.2,
 * MQTT 3.1.1 section 3.2.2.3.
 */
const CONNACK_REFUSED = new Set([2, 4, 5, 133, 134]);
const CONNACK_CLIENT_ID = new Set([2, 133]);
const CONNACK_VERSION = new Set([1, 132]);
/** Unspecified error, malformed packet, protocol error, implementation specific error. */
const CONNACK_WITHOUT_REASON = new Set([128, 129, 130, 131]);

/**
 * Failures of the certificate check. CERT_NOT_YET_VALID is not among them: the clock of the device may still be wrong.
 */
const CERTIFICATE_CODES =
  /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|CERT_(HAS_EXPIRED|REVOKED|UNTRUSTED|REJECTED|SIGNATURE_FAILURE)|ERR_TLS_CERT_ALTNAME_INVALID|INVALID_CA|ERR_SSL_TLSV1_ALERT_UNKNOWN_CA|ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED|ERR_SSL_SSLV3_ALERT_)/;

/** Classifies the error of a failed connection attempt to the broker at `url`. */
export function connectFailure(thrown: unknown, url: string): ConnectFailure {
  if (thrown instanceof AgentError)
    return {
      kind: thrown.code === 'mqtt_refused' ? 'refused' : 'unreachable',
      reasonCode: null,
      error: thrown,
    };
  const { code, reason } = readError(thrown);
  const context = {
    broker: brokerName(url),
    reason,
    ...(code === null ? {} : { reason_code: code }),
  };
  const reasonCode = typeof code === 'number' ? code : null;
  if (code === QOS_NOT_SUPPORTED) return { kind: 'refused', reasonCode, error: qosRefusal(context.broker) };
  const { kind, message, hint } = classifyConnectCode(code);
  const errorCode = kind === 'refused' ? 'mqtt_refused' : 'mqtt_unreachable';
  const details = { context, cause: thrown, ...(hint === undefined ? {} : { hint }) };
  return { kind, reasonCode, error: new AgentError(errorCode, message, details) };
}

/** The agent cannot use a broker with QoS 0 only: it would not know which records have arrived. */
export const qosRefusal = (broker: string): AgentError =>
  new AgentError(
    'mqtt_refused',
    'the broker supports QoS 0 only, and records would be lost: the agent needs QoS 1',
    { context: { broker }, hint: 'use a broker that supports QoS 1' },
  );

/** `limitBytes`: the largest packet that the broker accepts. */
export const sizeRefusal = (broker: string, limitBytes: number): AgentError =>
  new AgentError('mqtt_refused', 'the size limit of the broker is too low for a record', {
    context: { broker, limit_bytes: limitBytes, reason: `at most ${String(limitBytes)} bytes in a packet` },
    hint: 'raise the packet size limit of the broker to 32 KiB or more (mosquitto: max_packet_size)',
  });

const CERTIFICATE_HINT =
  'set mqtt.ca (--ca) to the certificate of the authority that signed that of the broker; check its host name and dates';

const HINTS = {
  refusedPort: 'check the port in mqtt.url (--broker), and that the broker runs',
  unknownHost: 'check the host name in mqtt.url (--broker), and the name server (DNS) of this machine',
  hungUp:
    'check the scheme and the port in mqtt.url (--broker): mqtt:// and mqtts:// (TLS) have ports of their own; the log of the broker may name the cause',
  clientId: 'set mqtt.clientId to an id that the broker accepts for this device',
  version: 'set mqtt.protocolVersion to a version that the broker supports',
  busy: 'wait, or raise the limits of the broker for connections and messages',
  moved: 'set mqtt.url to the address that the operator of the broker names',
} as const;
const HINT_OF_CODE: Readonly<Record<string, string>> = {
  ECONNREFUSED: HINTS.refusedPort,
  ENOTFOUND: HINTS.unknownHost,
  EAI_AGAIN: HINTS.unknownHost,
};

function classifyConnectCode(code: unknown): {
  readonly kind: ConnectFailure['kind'];
  readonly message: string;
  readonly hint?: string | undefined;
} {
  if (typeof code === 'string' && CERTIFICATE_CODES.test(code))
    return { kind: 'refused', message: 'the certificate was not accepted', hint: CERTIFICATE_HINT };
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'hung_up')
    return {
      kind: 'hung_up',
      message: 'the broker closed the connection without an answer',
      hint: HINTS.hungUp,
    };
  if (typeof code !== 'number')
    return {
      kind: 'unreachable',
      message: 'the broker is unreachable',
      // Without a code: what arrived is not MQTT.
      hint: typeof code === 'string' ? HINT_OF_CODE[code] : HINTS.hungUp,
    };
  if (CONNACK_WITHOUT_REASON.has(code))
    return {
      kind: 'hung_up',
      message: 'the broker refused the connection without a useful reason',
      hint: 'read the log of the broker',
    };
  if (CONNACK_VERSION.has(code))
    return {
      kind: 'version',
      message: 'the broker does not support this version of MQTT',
      hint: HINTS.version,
    };
  const reason = CONNACK_REFUSED.has(code) ? 'refused' : disconnectReason(code);
  switch (reason) {
    case 'refused':
      return {
        kind: reason,
        message: 'the broker refused the connection',
        hint: CONNACK_CLIENT_ID.has(code) ? HINTS.clientId : undefined,
      };
    case 'busy':
      return { kind: reason, message: 'the broker is busy', hint: HINTS.busy };
    case 'moved':
      return {
        kind: reason,
        message: 'the broker redirects its clients to another server',
        hint: HINTS.moved,
      };
    case 'taken_over':
    case 'unreachable':
      return { kind: 'unreachable', message: 'the broker accepts no connections now' };
  }
}

/**
 * PUBACK codes of a temporary refusal. All other codes from 128 on mean a final refusal. Source: MQTT 5.0 section
 * 3.4.2.1.
 */
const PUBACK_TEMPORARY = new Set([128, 131, 147, 150, 151]);
const PUBACK_TOO_LARGE = 149;

/** The failure of one publish, from the reason code of its PUBACK, or from the loss of the link. */
export function publishFailure(thrown: unknown, topic: string): AgentError {
  const { code, reason } = readError(thrown);
  const details = { context: { topic, reason }, cause: thrown };
  if (typeof code !== 'number')
    return new AgentError('mqtt_unreachable', 'the connection to the broker was lost', details);
  if (PUBACK_TEMPORARY.has(code))
    return new AgentError('mqtt_busy', 'the broker refused the message for now', details);
  if (code === PUBACK_TOO_LARGE)
    return new AgentError('mqtt_too_large', 'the broker refused the message because of its size', details);
  return new AgentError('mqtt_publish_refused', 'the broker refused the message', details);
}

/** The broker sent a packet above the size limit. */
export class OversizedPacketError extends Error {
  constructor() {
    super('the broker sent a packet that is too large');
  }
}

/** The broker closed the connection before it sent CONNACK. */
export class HungUpError extends Error {
  readonly code = 'hung_up';
}

/** host:port of a broker's URL, without credentials; `?` for a part that cannot be parsed. */
export function brokerName(url: string): string {
  try {
    const parsed = new URL(url);
    return `${parsed.hostname}:${portOrDefault(parsed) ?? '?'}`;
  } catch {
    return '?';
  }
}

function readError(thrown: unknown): { readonly code: unknown; readonly reason: string } {
  const code: unknown = thrown instanceof Error && 'code' in thrown ? thrown.code : null;
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  // The advice of Node concerns its own command line.
  return { code, reason: reason.replace(/; if the root CA is installed locally.*$/, '').slice(0, 200) };
}
