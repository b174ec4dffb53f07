import { AgentError } from '../../base/errors.ts';
import { goodbye } from './disconnect-reason.ts';

/** Why a connection could not be made; the link's next step follows from it. */
export type ConnectFailure =
  /** Credentials or certificate: trying again soon will not help. */
  | { readonly kind: 'refused'; readonly error: AgentError }
  /** The broker does not speak this version of MQTT. */
  | { readonly kind: 'version'; readonly error: AgentError }
  /** The other side hung up before it answered: perhaps it does not know this version. */
  | { readonly kind: 'hung_up'; readonly error: AgentError }
  /** The broker has too much to do. */
  | { readonly kind: 'pressed'; readonly error: AgentError }
  /** The broker sends its clients elsewhere. */
  | { readonly kind: 'moved'; readonly error: AgentError }
  | { readonly kind: 'unreachable'; readonly error: AgentError };

/** CONNACK codes of MQTT 5 and, below 128, of 3.1.1. Source: MQTT 5.0 section 3.2.2.2, MQTT 3.1.1 section 3.2.2.3. */
const REFUSED_CODES = new Set([2, 4, 5, 133, 134]);
const VERSION_CODES = new Set([1, 132]);

/** Errors of the certificate check. One that is not valid yet is left out: the clock may still be wrong. */
const CERTIFICATE_CODES =
  /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|CERT_(HAS_EXPIRED|REVOKED|UNTRUSTED|REJECTED|SIGNATURE_FAILURE)|ERR_TLS_CERT_ALTNAME_INVALID|INVALID_CA|ERR_SSL_TLSV1_ALERT_UNKNOWN_CA|ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED|ERR_SSL_SSLV3_ALERT_)/;

/** Sorts what a failed connection attempt threw. `broker` is host:port. */
export function connectFailure(thrown: unknown, broker: string): ConnectFailure {
  if (thrown instanceof AgentError)
    return { kind: thrown.code === 'mqtt_refused' ? 'refused' : 'unreachable', error: thrown };
  const code: unknown = thrown instanceof Error && 'code' in thrown ? thrown.code : null;
  const detail = thrown instanceof Error ? thrown.message : String(thrown);
  const context = { broker, reason: detail.slice(0, 200), ...(code === null ? {} : { reason_code: code }) };
  const failure = (kind: ConnectFailure['kind'], message: string): ConnectFailure => ({
    kind,
    error: new AgentError(kind === 'refused' ? 'mqtt_refused' : 'mqtt_unreachable', message, {
      context,
      cause: thrown,
    }),
  });
  if (typeof code === 'number') return failure(...refusal(code));
  if (typeof code === 'string' && CERTIFICATE_CODES.test(code))
    return failure('refused', 'the certificate was not accepted');
  if (code === 'ECONNRESET' || code === 'hung_up')
    return failure('hung_up', 'the broker hung up without an answer');
  return failure('unreachable', 'the broker cannot be reached');
}

/** What a CONNACK other than 0 means. */
function refusal(code: number): [ConnectFailure['kind'], string] {
  if (REFUSED_CODES.has(code)) return ['refused', 'the broker refused the connection'];
  if (VERSION_CODES.has(code)) return ['version', 'the broker does not speak this version of MQTT'];
  switch (goodbye(code)) {
    case 'refused':
      return ['refused', 'the broker refused the connection'];
    case 'pressed':
      return ['pressed', 'the broker has too much to do'];
    case 'moved':
      return ['moved', 'the broker sends its clients elsewhere'];
    case 'taken_over':
    case 'unreachable':
      return ['unreachable', 'the broker does not take connections now'];
  }
}

/** Stands for a packet that is larger than anything a broker should send. */
export class Overlong extends Error {
  constructor() {
    super('the broker sent a packet that is too large');
  }
}

/** Stands for a connection that was closed before any answer. */
export class HungUp extends Error {
  readonly code = 'hung_up';
}

/** PUBACK codes that say "not now". Every other one from 128 on is final. Source: MQTT 5.0 section 3.4.2.1. */
const NOT_NOW = new Set([128, 131, 147, 150, 151]);

/** The failure of one publish, from the reason code of its PUBACK. */
export function publishFailure(thrown: unknown, topic: string): AgentError {
  const code: unknown = thrown instanceof Error && 'code' in thrown ? thrown.code : null;
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  const details = { context: { topic, reason: reason.slice(0, 200) }, cause: thrown };
  if (typeof code !== 'number') return new AgentError('mqtt_unreachable', 'the link was lost', details);
  if (NOT_NOW.has(code))
    return new AgentError('mqtt_busy', 'the broker refused the message for now', details);
  if (code === 149)
    return new AgentError('mqtt_too_large', 'the broker refused the message for its size', details);
  return new AgentError('mqtt_publish_refused', 'the broker refused the message', details);
}
