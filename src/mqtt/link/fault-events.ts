import { isoTime } from '../../base/clock.ts';
import type { AgentError } from '../../base/errors.ts';
import type { EventDraft } from '../../contract/states.ts';
import type { CertificateValidity } from './credential-files.ts';
import type { ConflictSign } from './status-watch.ts';
import type { BrokerLimit } from '../types.ts';

export const refusedEvent = ({ code, message, context }: AgentError): EventDraft => ({
  type: 'mqtt_refused',
  severity: 'error',
  code,
  message,
  context: { ...context },
});

export const subscriptionRefusedEvent = (reason: string): EventDraft => ({
  type: 'mqtt_subscribe_refused',
  severity: 'error',
  code: 'mqtt_refused',
  message: 'The broker refuses the subscription to commands. Measurements are still published.',
  context: { reason },
});

export const takenOverEvent = (
  clientId: string,
  sign: ConflictSign,
  otherSession: string | null,
): EventDraft => ({
  type: 'mqtt_taken_over',
  severity: 'error',
  code: 'mqtt_taken_over',
  message: 'Another agent uses the identity of this device. Give each device its own name.',
  context: { client_id: clientId, sign, other_session: otherSession },
});

export const movedEvent = (context: AgentError['context'], serverReference: string | null): EventDraft => ({
  type: 'mqtt_moved',
  severity: 'warning',
  code: 'mqtt_unreachable',
  message:
    'The broker redirects its clients to another server. The agent does not connect to that server: set mqtt.url.',
  context: { ...context, server_reference: serverReference },
});

export const certificateExpiringEvent = (
  owner: 'device' | 'broker',
  { untilMs, fingerprint }: CertificateValidity,
  nowMs: number,
): EventDraft => ({
  type: 'mqtt_certificate_expiring',
  severity: untilMs < nowMs ? 'error' : 'warning',
  code: 'mqtt_certificate_expiring',
  message: `The certificate of the ${owner} ${untilMs < nowMs ? 'has expired' : 'expires soon'}.`,
  context: { whose: owner, expires_at: isoTime(untilMs), fingerprint },
});

export const credentialsUnusableEvent = ({ message, context }: AgentError): EventDraft => ({
  type: 'mqtt_credentials_unusable',
  severity: 'warning',
  code: 'mqtt_credentials_unusable',
  message: `The credentials in the files are not used: ${message}. The previous ones, if there are any, stay in use.`,
  context: { ...context },
});

export const stateLeftOutEvent = (topic: string, sizeBytes: number): EventDraft => ({
  type: 'mqtt_state_left_out',
  severity: 'error',
  code: 'mqtt_publish_refused',
  message:
    'The connection was lost each time this state was published. The agent does not publish this state for one hour.',
  context: { topic, size_bytes: sizeBytes },
});

/** What is lost without each feature; docs/brokers.md explains more. */
const LOST: Readonly<Record<BrokerLimit, string>> = {
  retain: 'no retained messages: a new subscriber sees the states with the next heartbeat',
  session_expiry: 'no long session: commands to a disconnected device are lost',
  wildcards: 'no wildcards: an unknown command gets no answer',
  qos: 'QoS 0 for subscriptions: a command may be lost',
  receive_maximum: 'few unacknowledged messages: a backlog is sent slowly',
  packet_size: 'small packets: larger states, answers and images are not sent',
};

export const brokerLimitedEvent = (broker: string, limits: readonly BrokerLimit[]): EventDraft => ({
  type: 'mqtt_broker_limited',
  severity: 'warning',
  code: 'mqtt_broker_limited',
  message: `The broker does not support everything that the agent uses: ${limits.map((limit) => LOST[limit]).join('; ')}.`,
  context: { broker, limits: [...limits] },
});

export const sessionForgottenEvent = (context: AgentError['context']): EventDraft => ({
  type: 'mqtt_session_forgotten',
  severity: 'warning',
  code: 'mqtt_too_large',
  message:
    'The broker sent a message that is too large. The device starts a new session; commands that wait at the broker are lost.',
  context: { ...context },
});
