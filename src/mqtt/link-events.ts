import type { AgentError } from '../errors.ts';
import type { EventDraft } from '../store/types.ts';

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

export const takenOver = (clientId: string): EventDraft => ({
  type: 'mqtt_taken_over',
  severity: 'error',
  code: 'mqtt_refused',
  message: 'Another client connected with the client id of this device. Give each device its own name.',
  context: { client_id: clientId },
});
