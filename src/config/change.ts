import type { Camera, Settings } from './schema.ts';

/** How settings become others: while everything runs, by a new link, or by a new start of all parts. */
export interface Change {
  readonly from: Settings;
  readonly to: Settings;
  /** Dotted keys, a camera's under its id: `heartbeat.intervalS`, `cameras.north.schedule`. */
  readonly keys: readonly string[];
  readonly live: readonly string[];
  readonly link: readonly string[];
  readonly restart: readonly string[];
}

const LIVE =
  /^(logLevel$|cameras\.|heartbeat\.|store\.|model\.(maxKbPerS$|probation\.)|mqtt\.homeAssistant\.)/;
const LINK = /^mqtt\.(url|protocolVersion|clientId|username|password|passwordFile|ca|cert|key)$/;

export function changeBetween(from: Settings, to: Settings): Change {
  const keys = [
    ...changedKeys(withoutCameras(from), withoutCameras(to), ''),
    ...changedCameras(from.cameras, to.cameras),
  ];
  // The embedded broker comes and goes with the agent.
  const broker = from.mqtt.url.length === 0 || to.mqtt.url.length === 0;
  const live = keys.filter((key) => LIVE.test(key));
  const link = broker ? [] : keys.filter((key) => LINK.test(key));
  const restart = keys.filter((key) => !live.includes(key) && !link.includes(key));
  return { from, to, keys, live, link, restart };
}

/** They are compared one by one. */
const withoutCameras = (settings: Settings): object => ({ ...settings, cameras: null });

function changedKeys(from: object, to: object, prefix: string): string[] {
  return Object.entries(to).flatMap(([name, value]) => {
    const before = (from as Record<string, unknown>)[name];
    if (same(before, value)) return [];
    const key = `${prefix}${name}`;
    return isGroup(before) && isGroup(value) ? changedKeys(before, value, `${key}.`) : [key];
  });
}

function changedCameras(from: readonly Camera[], to: readonly Camera[]): string[] {
  const before = new Map(from.map((camera) => [camera.id, camera]));
  const keys = to.flatMap((camera) => {
    const known = before.get(camera.id);
    before.delete(camera.id);
    if (!known) return [`cameras.${camera.id}`];
    return Object.entries(camera)
      .filter(([name, value]) => !same(known[name as keyof Camera], value))
      .map(([name]) => `cameras.${camera.id}.${name}`);
  });
  return [...keys, ...[...before.keys()].map((id) => `cameras.${id}`)];
}

const isGroup = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Equal by value, whatever the order of the keys. */
export function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [Object.entries(a), Object.entries(b)];
  return (
    left.length === right.length &&
    left.every(([key, value]) => Object.hasOwn(b, key) && same(value, (b as Record<string, unknown>)[key]))
  );
}
