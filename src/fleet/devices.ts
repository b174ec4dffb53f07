import { parseJsonObject } from '../base/json-object.ts';
import type { AgentVersions } from '../contract/agent-update.ts';
import type { Health } from '../contract/health.ts';
import type { ModelState, Status } from '../contract/states.ts';

/** A device, as its retained messages describe it. */
export interface Device {
  /** `site/device`. */
  readonly name: string;
  /** First levels of its topics, with a slash at the end. */
  readonly topic: string;
  readonly state: Status['state'] | null;
  readonly health: Health | null;
  readonly model: ModelState | null;
  readonly agent: AgentVersions | null;
}

/** Topics of a device that are read. */
const WATCHED_TOPICS = ['status', 'health', 'model/state', 'agent/state'] as const;

const UNKNOWN = { state: null, health: null, model: null, agent: null };

/** The devices of one base topic, collected from their messages. */
export class Devices {
  readonly #base: string;
  readonly #pattern: RegExp;
  readonly #byName = new Map<string, Device>();

  /** `pattern`: `site/device` with `*` or `+` for any text, `?` for one character; a site alone: all of its devices. */
  constructor(base: string, pattern: string) {
    this.#base = `${base.replace(/\/+$/, '')}/`;
    this.#pattern = toRegExp(pattern);
  }

  get filters(): string[] {
    return WATCHED_TOPICS.map((topic) => `${this.#base}+/+/${topic}`);
  }

  /** Handles one message. Returns its device, or null for topics and devices that do not match. */
  receive(topic: string, payload: Uint8Array): Device | null {
    const parsed = this.parseTopic(topic);
    if (parsed === null) return null;
    const { name, rest, device } = parsed;
    const before = this.#byName.get(name) ?? { ...UNKNOWN, name, topic: device };
    const value = parseJsonObject(payload);
    let after: Device;
    if (rest === 'status') after = { ...before, state: (value as Status | null)?.state ?? null };
    else if (rest === 'health') after = { ...before, health: value as Health | null };
    else if (rest === 'model/state') after = { ...before, model: value as ModelState | null };
    else if (rest === 'agent/state') after = { ...before, agent: value as AgentVersions | null };
    else return this.#byName.get(name) ?? null;
    this.#byName.set(name, after);
    return after;
  }

  /** Splits a topic into device and rest. Returns null for other topics, and for devices that do not match. */
  parseTopic(
    topic: string,
  ): { readonly name: string; readonly device: string; readonly rest: string } | null {
    if (!topic.startsWith(this.#base)) return null;
    const [site = '', device = '', ...rest] = topic.slice(this.#base.length).split('/');
    const name = `${site}/${device}`;
    if (rest.length === 0 || !this.#pattern.test(name)) return null;
    return { name, device: `${this.#base}${name}/`, rest: rest.join('/') };
  }

  find(name: string): Device | null {
    return this.#byName.get(name) ?? null;
  }

  /** Sorted by name. */
  list(): readonly Device[] {
    return [...this.#byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }
}

function toRegExp(text: string): RegExp {
  const pattern = text.includes('/') ? text : `${text}/*`;
  const escaped = pattern
    .replace(/[.^${}()|[\]\\]/g, '\\$&')
    // MQTT names cannot contain a plus: it is a wildcard.
    .replace(/[*+]/g, '[^/]*')
    .replace(/\?/g, '[^/]');
  return new RegExp(`^${escaped}$`);
}
