import type { Camera, Settings } from './schema.ts';

/** The difference between two settings, and how each key takes effect: live, by a new connection, or by a restart. */
export interface Change {
  readonly from: Settings;
  readonly to: Settings;
  /** Dotted keys; keys of a camera under its id: `heartbeat.intervalS`, `cameras.north.schedule`. */
  readonly keys: readonly string[];
  readonly live: readonly string[];
  readonly link: readonly string[];
  readonly restart: readonly string[];
}

const LIVE =
  /^(logLevel$|cameras\.|heartbeat\.|health\.|store\.|model\.(maxKbPerS$|probation\.)|update\.(auto$|window\.|probation\.)|mqtt\.homeAssistant\.)/;
const LINK = /^mqtt\.(url|protocolVersion|clientId|username|password|passwordFile|ca|cert|key)$/;

/** `given`: keys that count as changed, also if their values are equal. */
export function compareSettings(from: Settings, to: Settings, given: readonly string[] = []): Change {
  const changed = [
    ...changedKeys({ ...from, cameras: null }, { ...to, cameras: null }, ''),
    ...changedCameras(from.cameras, to.cameras),
  ];
  // A new camera is one key, which stands for all keys of the camera.
  const isListed = (key: string): boolean => changed.some((one) => key === one || key.startsWith(`${one}.`));
  const keys = [...changed, ...given.filter((key) => !isListed(key))];
  // The embedded broker starts and stops with the agent.
  const isEmbedded = from.mqtt.url.length === 0 || to.mqtt.url.length === 0;
  const live = keys.filter((key) => LIVE.test(key));
  const link = isEmbedded ? [] : keys.filter((key) => LINK.test(key));
  const restart = keys.filter((key) => !live.includes(key) && !link.includes(key));
  return { from, to, keys, live, link, restart };
}

function changedKeys(from: object, to: object, prefix: string): string[] {
  return Object.entries(to).flatMap(([name, value]) => {
    const before = (from as Record<string, unknown>)[name];
    if (isEqual(before, value)) return [];
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
      .filter(([name, value]) => !isEqual(known[name as keyof Camera], value))
      .map(([name]) => `cameras.${camera.id}.${name}`);
  });
  return [...keys, ...[...before.keys()].map((id) => `cameras.${id}`)];
}

const isGroup = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const SOURCE_KEYS = [
  'kind',
  'url',
  'path',
  'command',
  'username',
  'password',
  'headers',
  'tls',
  'recursive',
  'replay',
  'simulation',
] as const;

/** Whether two cameras get their frames from the same source. */
export const isSameSource = (a: Camera, b: Camera): boolean =>
  SOURCE_KEYS.every((key) => isEqual(a[key], b[key]));

/** Whether a running camera can change from one of these settings to the other between two observations. */
export const isSameConnection = (a: Camera, b: Camera): boolean =>
  isSameSource(a, b) &&
  (['schedule', 'location', 'timeoutS', 'seaState', 'geometry'] as const).every((key) =>
    isEqual(a[key], b[key]),
  );

/** Deep equality; the order of object keys does not matter. */
function isEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [Object.entries(a), Object.entries(b)];
  return (
    left.length === right.length &&
    left.every(([key, value]) => Object.hasOwn(b, key) && isEqual(value, (b as Record<string, unknown>)[key]))
  );
}
