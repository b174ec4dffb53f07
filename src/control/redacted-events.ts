import { mapTexts, type Scrub } from '../base/redact.ts';
import type { EventDraft } from '../contract/states.ts';
import type { RaiseEvent } from '../store/types.ts';

/** Raises events without the secrets of the settings: an event may carry the text of a camera, a broker or a program. */
export const redactedEvents =
  (raise: RaiseEvent, redact: Scrub): RaiseEvent =>
  (event) => {
    const context = mapTexts(event.context, redact) as EventDraft['context'];
    raise({ ...event, message: redact(event.message), context });
  };
