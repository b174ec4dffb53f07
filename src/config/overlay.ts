import type { Layer } from './layers.ts';

/**
 * What remote commands have set: a partial settings document. `cameras` is a list of partial cameras, known by their
 * `id`. It never holds a null, nor a key that only the local configuration may set.
 */
export type Overlay = Layer;

/** The keys by which a camera is reached: another kind of camera takes none of them over. */
const ORIGIN_KEYS = [
  'url',
  'path',
  'command',
  'username',
  'password',
  'password_file',
  'replay',
  'simulation',
];
const LOGIN_KEYS = ['username', 'password', 'password_file'];

export const isObject = (value: unknown): value is Layer =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The value under a dotted key; undefined where there is none. */
export function valueAt(layer: unknown, key: string): unknown {
  let node = layer;
  for (const part of key.split('.'))
    node = isObject(node) && Object.hasOwn(node, part) ? node[part] : undefined;
  return node;
}

export const without = (layer: Layer, keys: readonly string[]): Layer =>
  Object.fromEntries(Object.entries(layer).filter(([key]) => !keys.includes(key)));

/** Objects are merged, anything else is replaced. */
export function merged(base: unknown, over: unknown): unknown {
  if (!isObject(base) || !isObject(over)) return over;
  const entries = new Map(Object.entries(base));
  for (const [key, value] of Object.entries(over)) entries.set(key, merged(entries.get(key), value));
  return Object.fromEntries(entries);
}

/** The cameras of a list that have an id; the first of each. */
export function camerasById(cameras: unknown): Map<string, Layer> {
  const found = new Map<string, Layer>();
  if (!Array.isArray(cameras)) return found;
  for (const camera of cameras as readonly unknown[])
    if (isObject(camera) && typeof camera['id'] === 'string' && !found.has(camera['id']))
      found.set(camera['id'], camera);
  return found;
}

/**
 * The overlay as a layer to lay over the local configuration (defaults, file, environment): cameras merged into the local
 * ones, and a null wherever a local value would contradict what was set. Local credentials go to no host that the local
 * configuration does not name.
 */
export function overlaid(overlay: Overlay, local: { cameras: unknown; mqtt: unknown }): Layer {
  const { cameras, mqtt } = overlay;
  return {
    ...overlay,
    ...(isObject(mqtt) ? { mqtt: overMqtt(mqtt, local.mqtt) } : {}),
    ...(Array.isArray(cameras) ? { cameras: overCameras(cameras, local.cameras) } : {}),
  };
}

function overMqtt(over: Layer, local: unknown): Layer {
  const foreign =
    over['url'] !== undefined &&
    !urls(over['url']).every((url) => urls(valueAt(local, 'url')).some((known) => sameHost(url, known)));
  if (foreign) return { username: null, password: null, password_file: null, ...over };
  return over['password'] === undefined ? over : { password_file: null, ...over };
}

function overCameras(over: readonly unknown[], local: unknown): readonly unknown[] {
  if (!Array.isArray(local)) return over;
  const left = camerasById(over);
  const kept = (local as readonly unknown[]).map((camera) => {
    const change = isObject(camera) ? left.get(String(camera['id'])) : undefined;
    if (!change || !isObject(camera)) return camera;
    left.delete(String(camera['id']));
    return overCamera(change, camera);
  });
  // A change of a camera that the local configuration no longer has rests until it has one again.
  return [...kept, ...[...left.values()].filter((camera) => camera['kind'] !== undefined)];
}

function overCamera(over: Layer, local: Layer): Layer {
  const displaced: string[] = [];
  const { kind, url, password, schedule, privacyMasks } = over;
  if (kind !== undefined && kind !== local['kind']) displaced.push(...ORIGIN_KEYS);
  if (url !== undefined && (hasLogin(url) || !sameHost(url, local['url']))) displaced.push(...LOGIN_KEYS);
  if (password !== undefined) displaced.push('password_file');
  const base = without(local, displaced);
  const camera = merged({ ...base, ...localSchedule(base, schedule) }, over) as Layer;
  const masks = local['privacyMasks'];
  // What is masked locally stays masked: a remote command can only mask more.
  if (!Array.isArray(privacyMasks) || !Array.isArray(masks)) return camera;
  return {
    ...camera,
    privacyMasks: [...(masks as readonly unknown[]), ...(privacyMasks as readonly unknown[])],
  };
}

/** Cron stands instead of everyS, and the other way round. */
function localSchedule(local: Layer, over: unknown): Layer {
  const schedule = local['schedule'];
  if (!isObject(schedule) || !isObject(over)) return {};
  const displaced = [
    ...(over['cron'] === undefined ? [] : ['everyS']),
    ...(over['everyS'] === undefined ? [] : ['cron']),
  ];
  return { schedule: without(schedule, displaced) };
}

const urls = (value: unknown): readonly unknown[] =>
  Array.isArray(value) ? (value as readonly unknown[]) : [value];

const hasLogin = (url: unknown): boolean =>
  typeof url === 'string' && (URL.parse(url)?.username ?? '') !== '';

const ENCRYPTED = /^(mqtts|wss|https|rtsps):$/;

/** Whether credentials for the one may go to the other: the same host, and no worse protected on the way. */
function sameHost(url: unknown, known: unknown): boolean {
  const [to, from] = [url, known].map((value) => (typeof value === 'string' ? URL.parse(value) : null));
  if (!to || !from || to.hostname === '' || to.hostname !== from.hostname) return false;
  return ENCRYPTED.test(to.protocol) || !ENCRYPTED.test(from.protocol);
}
