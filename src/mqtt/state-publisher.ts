import type { Clock } from '../base/clock.ts';
import type { AgentVersions } from '../contract/agent-update.ts';
import type { Info, ModelState } from '../contract/states.ts';
import type { Link } from './types.ts';

export interface StatePublisherDeps {
  readonly clock: Clock;
  readonly link: Link & { announce(): Promise<void> };
  readonly discovery: { refresh(): void };
  /** Returns the same object until something but the time changed. */
  readonly info: { describe(): Info };
  readonly models: { state(): ModelState };
  readonly updates: { state(): AgentVersions };
  /** Called for each message that is not retained, with or without a connection. */
  readonly onPublished: (topic: string, payload: unknown) => void;
}

const MIN_ANNOUNCE_INTERVAL_MS = 1000;

/** Publishes the description of the device, the state of its models, and the versions of the agent: on each change, and again on request. */
export class StatePublisher {
  readonly #deps: StatePublisherDeps;
  /** The description of the device that was set last. */
  #info: Info | null = null;
  #lastAnnouncedMonoMs = -Infinity;
  #nextAnnouncement: Promise<void> | null = null;

  constructor(deps: StatePublisherDeps) {
    this.#deps = deps;
  }

  /**
   * Sets `info`, the discovery message, `model/state` and `agent/state`. `info` is set only when it changed.
   */
  publish(): void {
    const { link, discovery, models, updates } = this.#deps;
    this.publishInfo();
    discovery.refresh();
    link.setState('model/state', models.state(), { each: true });
    link.setState('agent/state', updates.state(), { each: true });
  }

  /** Sets `info` when it changed, for example the number of labels of a camera. */
  publishInfo(): void {
    const described = this.#deps.info.describe();
    if (described === this.#info) return;
    this.#info = described;
    this.#deps.link.setState('info', described);
  }

  /** Sends a message that is only useful now: QoS 0, not retained. Without a connection, the message is dropped. */
  publishTransient(topic: string, payload: object): void {
    const { link, onPublished } = this.#deps;
    onPublished(topic, payload);
    if (!link.connected) return;
    link.publish(topic, JSON.stringify(payload), { qos: 0, retain: false }).catch(() => undefined);
  }

  /**
   * Publishes all states and `online` again, at most once a second; calls within this second share the next
   * announcement. Resolves when the states at the time of the call are published. Rejects as `announce` of the link
   * does.
   */
  announce(): Promise<void> {
    this.#nextAnnouncement ??= this.#announceSoon();
    return this.#nextAnnouncement;
  }

  async #announceSoon(): Promise<void> {
    const { clock, link } = this.#deps;
    const waitMs = this.#lastAnnouncedMonoMs + MIN_ANNOUNCE_INTERVAL_MS - clock.monoMs();
    // Even without a wait, continue only after `announce` has set `#nextAnnouncement`.
    await (waitMs > 0 ? clock.sleep(waitMs) : Promise.resolve());
    this.#lastAnnouncedMonoMs = clock.monoMs();
    this.#nextAnnouncement = null;
    this.publish();
    await link.announce();
  }
}
