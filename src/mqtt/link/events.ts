import { isoTime } from '../../base/clock.ts';
import type { AgentError } from '../../base/errors.ts';
import type { EventDraft } from '../../store/types.ts';
import type { Validity } from './validity.ts';

export const connectionRefused = ({ code, message, context }: AgentError): EventDraft => ({
  type: 'mqtt_refused',
  severity: 'error',
  code,
  message,
  context: { ...context },
});

export const subscriptionRefused = (reason: string): EventDraft => ({
  type: 'mqtt_subscribe_refused',
  severity: 'error',
  code: 'mqtt_refused',
  message: 'The broker refuses the subscription to commands; measurements are published all the same.',
  context: { reason },
});

export const takenOver = (clientId: string, sign: string, foreignSession: string | null): EventDraft => ({
  type: 'mqtt_taken_over',
  severity: 'error',
  code: 'mqtt_taken_over',
  message: 'Another agent uses the identity of this device. Give each device its own name.',
  context: { client_id: clientId, sign, other_session: foreignSession },
});

export const moved = (context: AgentError['context'], reference: string | null): EventDraft => ({
  type: 'mqtt_moved',
  severity: 'warning',
  code: 'mqtt_unreachable',
  message: 'The broker sends its clients elsewhere. It is not followed: set mqtt.url.',
  context: { ...context, server_reference: reference },
});

export const certificateExpiring = (
  whose: 'device' | 'broker',
  { untilMs, fingerprint }: Validity,
  nowMs: number,
): EventDraft => ({
  type: 'mqtt_certificate_expiring',
  severity: untilMs < nowMs ? 'error' : 'warning',
  code: 'mqtt_certificate_expiring',
  message: `The certificate of the ${whose} ${untilMs < nowMs ? 'has expired' : 'expires soon'}.`,
  context: { whose, expires_at: isoTime(untilMs), fingerprint },
});

export const credentialsUnusable = ({ message, context }: AgentError): EventDraft => ({
  type: 'mqtt_credentials_unusable',
  severity: 'warning',
  code: 'mqtt_credentials_unusable',
  message: `New credentials are not used: ${message}. The ones before are.`,
  context: { ...context },
});

export const stateLeftOut = (topic: string, sizeBytes: number): EventDraft => ({
  type: 'mqtt_state_left_out',
  severity: 'error',
  code: 'mqtt_publish_refused',
  message: 'The link was lost each time that this state was published. It is left out.',
  context: { topic, size_bytes: sizeBytes },
});

export const sessionForgotten = (context: AgentError['context']): EventDraft => ({
  type: 'mqtt_session_forgotten',
  severity: 'warning',
  code: 'mqtt_too_large',
  message:
    'A message for this device was too large to be read. Its session is begun anew; commands that waited are lost.',
  context: { ...context },
});
