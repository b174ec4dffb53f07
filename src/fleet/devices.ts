import { parseJsonObject } from '../base/json-object.ts';
import {
  DEVICE_TOPICS,
  readDeviceMessage,
  type DeviceMessages,
  type DeviceTopic,
} from './device-messages.ts';
import type { DeviceFilter } from './selection.ts';

/** A device, as its retained messages describe it. */
export interface Device {
  /** `site/device`. */
  readonly name: string;
  /** First levels of its topics, with a slash at the end. */
  readonly topic: string;
  readonly state: DeviceMessages['status']['state'] | null;
  readonly status: DeviceMessages['status'] | null;
  readonly health: DeviceMessages['health'] | null;
  readonly model: DeviceMessages['model/state'] | null;
  readonly agent: DeviceMessages['agent/state'] | null;
  readonly timeZone: string | null;
  /** When its newest record was published, ms since the epoch; null without one, or when records are not read. */
  readonly lastRecordMs: number | null;
  /** Topics whose newest message does not match the contract; it is not used. */
  readonly invalid: readonly DeviceTopic[];
}

const UNKNOWN = {
  state: null,
  status: null,
  health: null,
  model: null,
  agent: null,
  timeZone: null,
  lastRecordMs: null,
  invalid: [],
};
const LATEST_TOPIC = /^camera\/[^/]+\/latest$/;
/** Anybody may publish for invented devices: more would fill the memory. */
const MAX_DEVICES = 5000;
/** A site and a device, 64 characters each, and the slash. */
const MAX_NAME_CHARS = 129;
const MAX_RECORD_BYTES = 65_536;

/** The devices of one base topic, collected from their messages. */
export class Devices {
  readonly #base: string;
  readonly #isSelected: DeviceFilter;
  readonly #byName = new Map<string, Device>();
  #isFull = false;

  constructor(base: string, isSelected: DeviceFilter) {
    this.#base = `${base.replace(/\/+$/, '')}/`;
    this.#isSelected = isSelected;
  }

  /** Subscriptions to topics of all devices. */
  filters(topics: readonly string[] = DEVICE_TOPICS): string[] {
    return topics.map((topic) => `${this.#base}+/+/${topic}`);
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
    if (known !== undefined && LATEST_TOPIC.test(rest)) return this.#noteRecord(known, payload);
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

  #noteRecord(device: Device, payload: Uint8Array): Device {
    const text = payload.length > MAX_RECORD_BYTES ? null : parseJsonObject(payload);
    const { published_at: at } = (text ?? {}) as { readonly published_at?: unknown };
    const atMs = typeof at === 'string' ? Date.parse(at) : NaN;
    if (Number.isNaN(atMs)) return device;
    const after = { ...device, lastRecordMs: Math.max(atMs, device.lastRecordMs ?? 0) };
    this.#byName.set(device.name, after);
    return after;
  }

  /** Splits a topic into device and rest. Returns null for other topics, and for devices that do not match. */
  parseTopic(
    topic: string,
  ): { readonly name: string; readonly device: string; readonly rest: string } | null {
    if (!topic.startsWith(this.#base)) return null;
    const [site = '', device = '', ...rest] = topic.slice(this.#base.length).split('/');
    const name = `${site}/${device}`;
    if (rest.length === 0 || !this.#isSelected(name)) return null;
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
    case 'status': {
      const status = readDeviceMessage(topic, payload);
      return { state: status?.state ?? null, status };
    }
    case 'health':
      return { health: readDeviceMessage(topic, payload) };
    case 'model/state':
      return { model: readDeviceMessage(topic, payload) };
    case 'agent/state':
      return { agent: readDeviceMessage(topic, payload) };
    case 'info':
      return { timeZone: readDeviceMessage(topic, payload)?.time_zone ?? null };
  }
}
