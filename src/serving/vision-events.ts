import type { EventDraft } from '../store/types.ts';
import type { VisionEvent } from '../vision/protocol.ts';

/** What an operator is told of an event of the vision process; null for nothing. */
export function visionEvent(event: VisionEvent): EventDraft | null {
  switch (event.type) {
    case 'started':
      return null;
    case 'recycled':
      return {
        type: 'vision_recycled',
        severity: 'warning',
        code: 'vision_recycled',
        message: 'The vision process reached its memory ceiling and was replaced.',
        context: { rss_mb: event.rssMb, limit_mb: event.limitMb },
      };
    case 'provider_demoted':
      return {
        type: 'provider_demoted',
        severity: 'warning',
        code: 'provider_demoted',
        message: 'The provider failed at work; another one serves.',
        context: { from: event.from, to: event.to, reason: event.reason },
      };
    case 'exited':
      return {
        type: 'vision_exited',
        severity: 'error',
        code: event.code,
        message: 'The vision process ended or was stopped, and is started again.',
        context: { detail: event.detail, restart_in_ms: Math.round(event.restartInMs) },
      };
  }
}
