import type { OmittedFeatures } from './broker-features.ts';
import type { LinkFaults } from './faults.ts';
import type { Session } from './session.ts';
import { isTemporary, subscribeToCommands } from './subscriptions.ts';
import type { Topics } from '../topics.ts';

/** Keeps the device subscribed to commands, as far as the broker accepts that. */
export class CommandSubscription {
  readonly #topics: Topics;
  readonly #faults: LinkFaults;
  #isPostponed = false;

  constructor(topics: Topics, faults: LinkFaults) {
    this.#topics = topics;
    this.#faults = faults;
  }

  /** Reports a refusal to the faults. Rejects when the connection is lost. */
  async subscribe(session: Session, omitted: OmittedFeatures): Promise<void> {
    this.#isPostponed = false;
    if (omitted.has('commands')) {
      this.#faults.setCommandRefusal('the broker closes the connection for each subscription');
      return;
    }
    const refusal = await subscribeToCommands(session, this.#topics);
    this.#isPostponed = refusal !== null && isTemporary(refusal);
    this.#faults.setCommandRefusal(refusal?.reason ?? null);
  }

  /** Tries again after a temporary refusal. */
  repeatIfPostponed(session: Session): void {
    // This rejects only when the connection is lost. The link subscribes again after the next connect.
    if (this.#isPostponed) this.subscribe(session, new Set()).catch(() => undefined);
  }
}
