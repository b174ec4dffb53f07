import type { Clock } from '../../base/clock.ts';
import { asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { HomeAssistantDevice } from '../../contract/home-assistant.ts';
import type { KeyValue } from '../../store/types.ts';
import type { Topics } from '../topics.ts';
import type { Link } from '../types.ts';
import { createDiscoveryMessage, createNodeId } from './discovery-message.ts';
import type { DiscoveryInput } from './entities.ts';

export interface DiscoveryOptions {
  /** Returns the current settings. Call `refresh` after a change. */
  readonly settings: () => { readonly enabled: boolean; readonly prefix: string };
  readonly describe: () => DiscoveryInput;
  /** How long the discovery message contains the note that an entity was removed, ms. */
  readonly removalNoticeMs?: number;
}

export interface DiscoveryDeps {
  readonly topics: Topics;
  readonly link: Link;
  readonly memory: KeyValue;
  readonly clock: Clock;
  readonly log: Log;
}

/** The discovery messages of this device that the broker may retain. Stored, so that a later run can delete them. */
interface PublishedDiscovery {
  /** Topic of the discovery message; null when discovery is disabled. */
  readonly topic: string | null;
  /** Platform of each component in the message, by component id. */
  readonly components: Readonly<Record<string, string>>;
  /** Topics to clear: those with another prefix or node id, or the topic of a discovery that is now disabled. */
  readonly stale: readonly string[];
}

const MEMORY_KEY = 'home_assistant.published';
const NOTHING_PUBLISHED: PublishedDiscovery = { topic: null, components: {}, stale: [] };
const DEFAULT_REMOVAL_NOTICE_MS = 60_000;

/**
 * Publishes the device to Home Assistant in one retained discovery message, and removes outdated entities and messages.
 * To remove an entity, the message first contains only its platform for some time, and then no longer the entity. To
 * remove the device, an empty message clears the topic. Because the message is retained, it is not published again when
 * Home Assistant starts.
 */
export class Discovery {
  readonly #options: DiscoveryOptions;
  readonly #deps: DiscoveryDeps;
  #published: PublishedDiscovery;
  /** Components that the message marks as removed: platform by component id. */
  #removed: ReadonlyMap<string, string> = new Map();
  #lastMessage: { readonly topic: string; readonly text: string } | null = null;
  /** Topics set with `link.setState`: the link publishes them after each connect. */
  readonly #stateTopics = new Set<string>();
  /** True while a timer for the end of the removal notice runs. */
  #isNoticeRunning = false;
  #signal: AbortSignal | null = null;

  constructor(options: DiscoveryOptions, deps: DiscoveryDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#published = readPublished(deps.memory);
  }

  /** Sets the message that the link publishes after each connect, and removes what an earlier run published. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    this.refresh();
  }

  /** Call it when cameras, settings or the device may have changed. Publishes the message only if it changed. */
  refresh(): void {
    const { topics, link } = this.#deps;
    const { enabled, prefix } = this.#options.settings();
    const input = this.#options.describe();
    const before = this.#published;
    const topic = enabled ? `${prefix}/device/${createNodeId(input, topics)}/config` : null;
    const hasMoved = before.topic !== null && before.topic !== topic;
    const stale = [...before.stale, ...(hasMoved ? [before.topic] : [])];
    if (topic === null) {
      this.#lastMessage = null;
      this.#removed = new Map();
      this.#savePublished({ ...NOTHING_PUBLISHED, stale });
      this.#clearStaleTopics();
      return;
    }
    const message = createDiscoveryMessage(input, topics);
    const known = hasMoved ? {} : before.components;
    this.#removed = new Map(Object.entries(known).filter(([id]) => !(id in message.components)));
    // Save before publishing: after a power cut, the next run must know everything that the broker may retain.
    this.#savePublished({
      topic,
      components: { ...known, ...platformsOf(message) },
      stale: stale.filter((one) => one !== topic),
    });
    this.#setMessage(topic, withRemoved(message, this.#removed));
    if (link.connected) this.linkUp();
  }

  /** Call it after each connect, when the link has published the discovery message. */
  linkUp(): void {
    this.#clearStaleTopics();
    if (this.#removed.size > 0 && !this.#isNoticeRunning) void this.#endRemovalNotice();
  }

  #setMessage(topic: string, message: HomeAssistantDevice): void {
    const text = JSON.stringify(message);
    if (this.#lastMessage?.topic === topic && this.#lastMessage.text === text) return;
    this.#lastMessage = { topic, text };
    this.#stateTopics.add(topic);
    this.#deps.link.setState(topic, message, { absolute: true });
  }

  /** Waits until Home Assistant has had time to remove the entities, then publishes the message without them. */
  async #endRemovalNotice(): Promise<void> {
    const { clock, link } = this.#deps;
    this.#isNoticeRunning = true;
    try {
      await clock.sleep(
        this.#options.removalNoticeMs ?? DEFAULT_REMOVAL_NOTICE_MS,
        this.#signal ?? undefined,
      );
    } catch {
      return;
    } finally {
      this.#isNoticeRunning = false;
    }
    const { topic, stale } = this.#published;
    // Without a connection, this wait starts again after the next connect.
    if (topic === null || !link.connected) return;
    this.#removed = new Map();
    const message = createDiscoveryMessage(this.#options.describe(), this.#deps.topics);
    this.#setMessage(topic, message);
    this.#savePublished({ topic, components: platformsOf(message), stale });
  }

  /** Clears the stale topics. After the next connect, clears those again whose attempt failed. */
  #clearStaleTopics(): void {
    const { link } = this.#deps;
    for (const topic of this.#published.stale) {
      if (this.#stateTopics.delete(topic)) link.setState(topic, null, { absolute: true });
      if (link.connected) void this.#clearTopic(topic);
    }
  }

  async #clearTopic(topic: string): Promise<void> {
    const { link, log } = this.#deps;
    try {
      await link.publish(topic, '', { qos: 1, retain: true, absolute: true });
    } catch (thrown) {
      log.debug(
        { topic, code: asAgentError(thrown).code },
        'cannot clear an old Home Assistant discovery topic yet',
      );
      return;
    }
    // A change of the settings may have made the topic current again.
    const { stale } = this.#published;
    if (stale.includes(topic))
      this.#savePublished({ ...this.#published, stale: stale.filter((one) => one !== topic) });
  }

  #savePublished(published: PublishedDiscovery): void {
    const { memory, log } = this.#deps;
    this.#published = published;
    const isEmpty = published.topic === null && published.stale.length === 0;
    try {
      if (!isEmpty || memory.get(MEMORY_KEY) !== null) memory.set(MEMORY_KEY, JSON.stringify(published));
    } catch (thrown) {
      log.warn(
        { code: asAgentError(thrown).code },
        'cannot store which Home Assistant discovery messages are published',
      );
    }
  }
}

function platformsOf({ components }: HomeAssistantDevice): Record<string, string> {
  return Object.fromEntries(Object.entries(components).map(([id, { platform }]) => [id, platform]));
}

/** Adds the removed components with their platform only, which tells Home Assistant to remove them. */
function withRemoved(
  message: HomeAssistantDevice,
  removed: ReadonlyMap<string, string>,
): HomeAssistantDevice {
  const notices = [...removed].map(([id, platform]) => [id, { platform }] as const);
  return { ...message, components: { ...message.components, ...Object.fromEntries(notices) } };
}

function readPublished(memory: KeyValue): PublishedDiscovery {
  try {
    const text = memory.get(MEMORY_KEY);
    return text === null ? NOTHING_PUBLISHED : (JSON.parse(text) as PublishedDiscovery);
  } catch {
    return NOTHING_PUBLISHED;
  }
}
