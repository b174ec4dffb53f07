import type { AgentError } from '../../base/errors.ts';
import type { EventDraft, OutboxEntry } from '../../store/types.ts';

/** Tells of a message that was set aside, with its number: what never comes is known by it. */
export const rejectionEvent = (
  { topic, stream, seq, payload }: OutboxEntry,
  code: AgentError['code'],
  reason: string,
): EventDraft => ({
  type: 'outbox_rejected',
  severity: 'warning',
  code,
  message: 'The broker does not take a message. It was set aside.',
  context: { topic, stream, seq, reason, size_bytes: payload.length },
});
