import type { Topics } from '../topics.ts';
import type { Session } from './session.ts';

/** The subscriptions of a device. Both resolve with the reason of a refusal, or with null. */
export const subscribeToCommands = (session: Session, topics: Topics): Promise<string | null> =>
  session.subscribe(topics.commands, { retained: false, own: false });

/** The retained status shows whether another agent has this identity. */
export const subscribeToStatus = (session: Session, topics: Topics): Promise<string | null> =>
  session.subscribe(topics.status, { retained: true, own: true });
