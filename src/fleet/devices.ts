import type { Health } from '../contract/health.ts';
import type { ModelState, Status } from '../contract/states.ts';

/** A device as its retained messages tell of it. */
export interface Device {
  /** `site/device`. */
  readonly name: string;
  /** Its topic, with the slash at the end. */
  readonly topic: string;
  readonly state: Status['state'] | null;
  readonly health: Health | null;
  readonly model: ModelState | null;
}

/** Of a device: below its topic. */
export const WATCHED = ['status', 'health', 'model/state'] as const;

/** The devices below one base topic, gathered from their messages. */
export class Devices {
  readonly #base: string;
  readonly #pattern: RegExp;
  readonly #byName = new Map<string, Device>();

  /** `pattern`: `site/device` with `*` or `+` for anything, `?` for one character; a site alone is all of its devices. */
  constructor(base: string, pattern: string) {
    this.#base = `${base.replace(/\/+$/, '')}/`;
    this.#pattern = asPattern(pattern);
  }

  get filters(): string[] {
    return WATCHED.map((topic) => `${this.#base}+/+/${topic}`);
  }

  /** Takes one message; the device that it changed, or null when it concerns none that is wanted. */
  receive(topic: string, payload: Uint8Array): Device | null {
    const place = this.place(topic);
    if (place === null) return null;
    const { name, rest, device } = place;
    const before = this.#byName.get(name) ?? { name, topic: device, state: null, health: null, model: null };
    const value = parse(payload);
    let after: Device;
    if (rest === 'status') after = { ...before, state: (value as Status | null)?.state ?? null };
    else if (rest === 'health') after = { ...before, health: value as Health | null };
    else if (rest === 'model/state') after = { ...before, model: value as ModelState | null };
    else return this.#byName.get(name) ?? null;
    this.#byName.set(name, after);
    return after;
  }

  /** Which device a topic is of, and what below it; null for any other topic, and for devices that are not wanted. */
  place(topic: string): { readonly name: string; readonly device: string; readonly rest: string } | null {
    if (!topic.startsWith(this.#base)) return null;
    const [site = '', device = '', ...rest] = topic.slice(this.#base.length).split('/');
    const name = `${site}/${device}`;
    if (rest.length === 0 || !this.#pattern.test(name)) return null;
    return { name, device: `${this.#base}${name}/`, rest: rest.join('/') };
  }

  find(name: string): Device | null {
    return this.#byName.get(name) ?? null;
  }

  /** By name. */
  list(): readonly Device[] {
    return [...this.#byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }
}

function asPattern(text: string): RegExp {
  const whole = text.includes('/') ? text : `${text}/*`;
  const parts = whole
    .replace(/[.^${}()|[\]\\]/g, '\\$&')
    // No name has a plus: it is MQTT's sign for any.
    .replace(/[*+]/g, '[^/]*')
    .replace(/\?/g, '[^/]');
  return new RegExp(`^${parts}$`);
}

/** Null for what is no JSON object: anyone may publish anything. */
function parse(payload: Uint8Array): object | null {
  try {
    const value = JSON.parse(Buffer.from(payload).toString('utf8')) as unknown;
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}
