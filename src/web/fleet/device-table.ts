import { severityOf } from '../../contract/conditions.ts';
import { FleetDevice, type FleetMessage, type Judgement } from './device.ts';
import { isTopicName } from './device-parts.ts';

/** The topics of a device that the page subscribes to, below `{site}/{device}/`. */
const WATCHED_TOPICS = [
  'status',
  'health',
  'info',
  'model/state',
  'agent/state',
  'camera/+/state',
  'camera/+/latest',
  'event/+',
] as const;

/** Anybody may publish for invented devices: more would fill the memory. */
export const MAX_DEVICES = 5000;
/** A device that was away for longer has left: it is listed last. */
const LEFT_AFTER_MS = 7 * 86_400_000;

/** A device and how it is judged now. */
export interface Row extends Judgement {
  readonly device: FleetDevice;
  /** Away for more than a week. */
  readonly hasLeft: boolean;
}

/** The devices below one base topic. Nothing that a broker sends makes it throw, or grow without bound. */
export class DeviceTable {
  readonly #base: string;
  readonly #devices = new Map<string, FleetDevice>();
  #isFull = false;
  #generationMs = 0;

  constructor(base: string) {
    this.#base = `${base.replace(/\/+$/, '')}/`;
  }

  /** Subscriptions for all devices. */
  filters(): readonly string[] {
    return WATCHED_TOPICS.map((topic) => `${this.#base}+/+/${topic}`);
  }

  /** True when messages of further devices were left out. */
  get isFull(): boolean {
    return this.#isFull;
  }

  get size(): number {
    return this.#devices.size;
  }

  find(name: string): FleetDevice | null {
    return this.#devices.get(name) ?? null;
  }

  /** Call this at each connect: the broker sends all retained messages again. */
  beginGeneration(nowMs: number): void {
    this.#generationMs = nowMs;
  }

  /** Removes devices without a message since `beginGeneration`: their topics were cleared while the link was down. */
  endGeneration(): void {
    for (const [name, device] of this.#devices)
      if (device.lastHeardMs < this.#generationMs) this.#devices.delete(name);
  }

  /** Handles one message. Returns true when it may have changed the list. */
  receive(message: FleetMessage): boolean {
    const { topic } = message;
    if (!topic.startsWith(this.#base) || topic.length > 500) return false;
    const [site = '', name = '', ...rest] = topic.slice(this.#base.length).split('/');
    if (rest.length === 0 || !isTopicName(site) || !isTopicName(name)) return false;
    const known = this.#devices.get(`${site}/${name}`);
    if (known === undefined && (message.payload.length === 0 || !this.#hasRoom())) return false;
    const device = known ?? new FleetDevice(site, name, message.receivedMs);
    if (!device.receive(rest.join('/'), message)) return false;
    if (device.isForgotten) this.#devices.delete(device.name);
    else if (known === undefined) this.#devices.set(device.name, device);
    return true;
  }

  /** Makes room by removing a device without a status: a real one has it. */
  #hasRoom(): boolean {
    if (this.#devices.size < MAX_DEVICES) return true;
    this.#isFull = true;
    const invented = this.#devices.values().find(({ state }) => state === null);
    return invented !== undefined && this.#devices.delete(invented.name);
  }

  /** All devices, the worst first; among equals the one that changed last. */
  rows(nowMs: number): readonly Row[] {
    const rows = [...this.#devices.values()].map((device) => {
      const judgement = device.judge(nowMs);
      const { condition, sinceMs } = judgement;
      const isAway = condition === 'offline' || condition === 'stopped';
      return { device, ...judgement, hasLeft: isAway && nowMs - sinceMs > LEFT_AFTER_MS };
    });
    return rows.sort(
      (a, b) =>
        Number(a.hasLeft) - Number(b.hasLeft) ||
        severityOf(a.condition) - severityOf(b.condition) ||
        b.sinceMs - a.sinceMs ||
        (a.device.name < b.device.name ? -1 : 1),
    );
  }
}
