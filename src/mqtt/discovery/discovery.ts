import type { Clock } from '../../base/clock.ts';
import type { HomeAssistantDevice } from '../../contract/home-assistant.ts';
import { asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { KeyValue } from '../../store/types.ts';
import type { DiscoveryInput } from './drafts.ts';
import { describeForHomeAssistant, discoveryNode } from './entities.ts';
import type { Topics } from '../topics.ts';
import type { Link } from '../types.ts';

export interface DiscoveryOptions {
  /** As they are now: a change is taken up by `refresh`. */
  readonly settings: () => { readonly enabled: boolean; readonly prefix: string };
  readonly describe: () => DiscoveryInput;
  /** How long it is said of an entity that it is gone, while there is a link. */
  readonly farewellMs?: number;
}

export interface DiscoveryDeps {
  readonly topics: Topics;
  readonly link: Link;
  readonly memory: KeyValue;
  readonly clock: Clock;
  readonly log: Log;
}

/** What the broker may still hold of us; kept across restarts. */
interface Published {
  /** The topic that describes the device, and the platform of every component that it named. */
  readonly topic: string | null;
  readonly components: Readonly<Record<string, string>>;
  /** Topics to be emptied: of another prefix or name, or from a time when discovery was wanted. */
  readonly stale: readonly string[];
}

const MEMORY_KEY = 'home_assistant.published';
const NOTHING: Published = { topic: null, components: {}, stale: [] };
const FAREWELL_MS = 60_000;

/**
 * Announces the device to Home Assistant by one retained message, and takes back what is no longer true: an entity that
 * is gone is named once more with its platform alone and then left out, and the whole device is forgotten by an empty
 * message. Retained, it need not be said again when Home Assistant starts.
 */
export class Discovery {
  readonly #options: DiscoveryOptions;
  readonly #deps: DiscoveryDeps;
  #published: Published;
  /** Components that are gone and still named as such. */
  #gone: ReadonlyMap<string, string> = new Map();
  #shown: { readonly topic: string; readonly text: string } | null = null;
  /** Topics that the link publishes at each birth. */
  readonly #stated = new Set<string>();
  #settling = false;
  #signal: AbortSignal | null = null;

  constructor(options: DiscoveryOptions, deps: DiscoveryDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#published = readPublished(deps.memory);
  }

  /** Tells of the device at the next birth, and takes back what an earlier run left behind. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    this.refresh();
  }

  /** Cameras, settings or the device may have changed. Costs nothing when they did not. */
  refresh(): void {
    const { topics, link } = this.#deps;
    const { enabled, prefix } = this.#options.settings();
    const input = this.#options.describe();
    const before = this.#published;
    const topic = enabled ? `${prefix}/device/${discoveryNode(input, topics)}/config` : null;
    const moved = before.topic !== null && before.topic !== topic;
    const stale = [...before.stale, ...(moved ? [before.topic] : [])];
    if (topic === null) {
      this.#shown = null;
      this.#gone = new Map();
      this.#remember({ ...NOTHING, stale });
      this.#forgetStale();
      return;
    }
    const payload = describeForHomeAssistant(input, topics);
    const known = moved ? {} : before.components;
    this.#gone = new Map(Object.entries(known).filter(([id]) => !(id in payload.components)));
    // Before it is said: what the broker may hold must be known after a power cut.
    this.#remember({
      topic,
      components: { ...known, ...platforms(payload) },
      stale: stale.filter((one) => one !== topic),
    });
    this.#show(topic, withGone(payload, this.#gone));
    if (link.connected) this.linkUp();
  }

  /** The birth is complete, and the announcement with it. */
  linkUp(): void {
    this.#forgetStale();
    if (this.#gone.size > 0 && !this.#settling) void this.#settle();
  }

  #show(topic: string, payload: HomeAssistantDevice): void {
    const text = JSON.stringify(payload);
    if (this.#shown?.topic === topic && this.#shown.text === text) return;
    this.#shown = { topic, text };
    this.#stated.add(topic);
    this.#deps.link.setState(topic, payload, { absolute: true });
  }

  /** After the word that entities are gone has been out for a while, leaves them out. */
  async #settle(): Promise<void> {
    const { clock, link } = this.#deps;
    this.#settling = true;
    try {
      await clock.sleep(this.#options.farewellMs ?? FAREWELL_MS, this.#signal ?? undefined);
    } catch {
      return;
    } finally {
      this.#settling = false;
    }
    const { topic, stale } = this.#published;
    // Without a link the next birth says it again, and waits again.
    if (topic === null || !link.connected) return;
    this.#gone = new Map();
    const payload = describeForHomeAssistant(this.#options.describe(), this.#deps.topics);
    this.#show(topic, payload);
    this.#remember({ topic, components: platforms(payload), stale });
  }

  /** Empties the topics that are no longer ours. What fails is tried again at the next birth. */
  #forgetStale(): void {
    const { link } = this.#deps;
    for (const topic of this.#published.stale) {
      if (this.#stated.delete(topic)) link.setState(topic, null, { absolute: true });
      if (link.connected) void this.#forget(topic);
    }
  }

  async #forget(topic: string): Promise<void> {
    const { link, log } = this.#deps;
    try {
      await link.publish(topic, '', { qos: 1, retain: true, absolute: true });
    } catch (thrown) {
      log.debug({ topic, code: asAgentError(thrown).code }, 'discovery not taken back yet');
      return;
    }
    // It may be ours again by now.
    const { stale } = this.#published;
    if (stale.includes(topic))
      this.#remember({ ...this.#published, stale: stale.filter((one) => one !== topic) });
  }

  #remember(published: Published): void {
    const { memory } = this.#deps;
    this.#published = published;
    const nothing = published.topic === null && published.stale.length === 0;
    try {
      if (!nothing || memory.get(MEMORY_KEY) !== null) memory.set(MEMORY_KEY, JSON.stringify(published));
    } catch (thrown) {
      this.#deps.log.warn({ code: asAgentError(thrown).code }, 'discovery not remembered');
    }
  }
}

function platforms({ components }: HomeAssistantDevice): Record<string, string> {
  return Object.fromEntries(Object.entries(components).map(([id, { platform }]) => [id, platform]));
}

function withGone(payload: HomeAssistantDevice, gone: ReadonlyMap<string, string>): HomeAssistantDevice {
  const farewells = [...gone].map(([id, platform]) => [id, { platform }] as const);
  return { ...payload, components: { ...payload.components, ...Object.fromEntries(farewells) } };
}

function readPublished(memory: KeyValue): Published {
  try {
    const text = memory.get(MEMORY_KEY);
    return text === null ? NOTHING : (JSON.parse(text) as Published);
  } catch {
    return NOTHING;
  }
}
