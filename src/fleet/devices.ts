import {
  DEVICE_TOPICS,
  readDeviceMessage,
  type DeviceMessages,
  type DeviceTopic,
} from './device-messages.ts';

/** A device, as its retained messages describe it. */
export interface Device {
  /** `site/device`. */
  readonly name: string;
  /** First levels of its topics, with a slash at the end. */
  readonly topic: string;
  readonly state: DeviceMessages['status']['state'] | null;
  readonly health: DeviceMessages['health'] | null;
  readonly model: DeviceMessages['model/state'] | null;
  readonly agent: DeviceMessages['agent/state'] | null;
  /** Topics whose newest message does not match the contract; it is not used. */
  readonly invalid: readonly DeviceTopic[];
}

const UNKNOWN = { state: null, health: null, model: null, agent: null, invalid: [] };
/** Anybody may publish for invented devices: more would fill the memory. */
const MAX_DEVICES = 5000;
/** A site and a device, 64 characters each, and the slash. */
const MAX_NAME_CHARS = 129;

/** The devices of one base topic, collected from their messages. */
export class Devices {
  readonly #base: string;
  readonly #pattern: RegExp;
  readonly #byName = new Map<string, Device>();
  #isFull = false;

  /** `pattern`: `site/device` with `*` or `+` for any text, `?` for one character; a site alone: all of its devices. */
  constructor(base: string, pattern: string) {
    this.#base = `${base.replace(/\/+$/, '')}/`;
    this.#pattern = toRegExp(pattern);
  }

  get filters(): string[] {
    return DEVICE_TOPICS.map((topic) => `${this.#base}+/+/${topic}`);
  }

  /** True when messages of further devices were left out. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Handles one message. Returns its device, or null for topics and devices that do not match or were left out. */
  receive(topic: string, payload: Uint8Array): Device | null {
    const parsed = this.parseTopic(topic);
    if (parsed === null) return null;
    const { name, rest, device } = parsed;
    const known = this.#byName.get(name);
    const watched = DEVICE_TOPICS.find((one) => one === rest);
    if (watched === undefined) return known ?? null;
    if (known === undefined && (this.#byName.size >= MAX_DEVICES || name.length > MAX_NAME_CHARS)) {
      this.#isFull = true;
      return null;
    }
    const before = known ?? { ...UNKNOWN, name, topic: device };
    const fields = readFields(watched, payload);
    // An empty payload clears a retained topic.
    const isInvalid = payload.length > 0 && Object.values(fields).includes(null);
    const invalid = before.invalid.filter((one) => one !== watched);
    const after = { ...before, ...fields, invalid: isInvalid ? [...invalid, watched] : invalid };
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

function readFields(topic: DeviceTopic, payload: Uint8Array): Partial<Device> {
  switch (topic) {
    case 'status':
      return { state: readDeviceMessage(topic, payload)?.state ?? null };
    case 'health':
      return { health: readDeviceMessage(topic, payload) };
    case 'model/state':
      return { model: readDeviceMessage(topic, payload) };
    case 'agent/state':
      return { agent: readDeviceMessage(topic, payload) };
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
