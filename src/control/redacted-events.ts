import { mapTexts, type Scrub } from '../base/redact.ts';
import type { EventDraft } from '../contract/states.ts';
import type { RaiseEvent } from '../store/types.ts';

/** Its texts are those of the sender of a command. A filter would tell the sender which of them is a secret. */
const OF_THE_SENDER = 'command_refused';

/** Raises events without the secrets of the settings: an event may carry the text of a camera, a broker or a program. */
export const redactedEvents =
  (raise: RaiseEvent, redact: Scrub): RaiseEvent =>
  (event) => {
    if (event.type === OF_THE_SENDER) {
      raise(event);
      return;
    }
    const context = mapTexts(event.context, redact) as EventDraft['context'];
    raise({ ...event, message: redact(event.message), context });
  };
