import type { Clock } from '../base/clock.ts';
import type { Info, ModelState } from '../contract/states.ts';
import type { Link } from './types.ts';

export interface StatePublisherDeps {
  readonly clock: Clock;
  readonly link: Link & { announce(): Promise<void> };
  readonly discovery: { refresh(): void };
  readonly info: { describe(): Info };
  readonly models: { state(): ModelState };
  /** Called for each transient message, with or without a connection. */
  readonly onPublished: (topic: string, payload: unknown) => void;
}

const MIN_ANNOUNCE_INTERVAL_MS = 1000;

/** Publishes what the device is and which model it has: on each change, and again on request. */
export class StatePublisher {
  readonly #deps: StatePublisherDeps;
  #lastAnnouncedMonoMs = -Infinity;
  #nextAnnouncement: Promise<void> | null = null;

  constructor(deps: StatePublisherDeps) {
    this.#deps = deps;
  }

  /** Sets `info`, the discovery message and `model/state`. The link sends only those that changed. */
  publish(): void {
    const { link, info, discovery, models } = this.#deps;
    link.setState('info', info.describe());
    discovery.refresh();
    link.setState('model/state', models.state(), { each: true });
  }

  /** Sends a message that is worthless later: QoS 0, not retained, dropped without a connection. */
  publishTransient(topic: string, payload: object): void {
    const { link, onPublished } = this.#deps;
    onPublished(topic, payload);
    if (!link.connected) return;
    link.publish(topic, JSON.stringify(payload), { qos: 0, retain: false }).catch(() => undefined);
  }

  /**
   * Publishes all states and `online` again, at most once a second; requests in between share the next announcement.
   * Resolves when what was true at the call is published. Rejects as the link does.
   */
  announce(): Promise<void> {
    this.#nextAnnouncement ??= this.#announceSoon();
    return this.#nextAnnouncement;
  }

  async #announceSoon(): Promise<void> {
    const { clock, link } = this.#deps;
    const waitMs = this.#lastAnnouncedMonoMs + MIN_ANNOUNCE_INTERVAL_MS - clock.monoMs();
    // Also without a wait this must run after `announce` has set `#nextAnnouncement`.
    await (waitMs > 0 ? clock.sleep(waitMs) : Promise.resolve());
    this.#lastAnnouncedMonoMs = clock.monoMs();
    this.#nextAnnouncement = null;
    this.publish();
    await link.announce();
  }
}
