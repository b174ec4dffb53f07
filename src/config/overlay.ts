import { isSameAddress, isSameHost } from './address.ts';
import { getValue, isObject, mergeValues, omitKeys, type Layer } from './layers.ts';
import type { Camera } from './schema.ts';

/**
 * The settings that remote commands have set: a partial settings document. `cameras` is a list of partial cameras,
 * identified by `id`. It contains no null, and no key that only the local configuration may set.
 */
export type Overlay = Layer;

/** The source of a camera. A camera of another kind keeps none of these keys. */
const SOURCE_KEYS = [
  'url',
  'path',
  'command',
  'username',
  'password',
  'password_file',
  'headers',
  'headers_file',
  'tls',
  'replay',
  'simulation',
];
const LOGIN_KEYS = ['username', 'password', 'password_file', 'headers', 'headers_file'];
const BROKER_LOGIN_KEYS = ['username', 'password', 'password_file'];
/** What decides where a camera's login goes. A header may name another path, and another certificate another server. */
const TARGET_KEYS = ['kind', 'url', 'tls', 'headers'];

/** The cameras of a list by id; the first one for each id. Entries without an id are skipped. */
export function indexCameras(cameras: unknown): Map<string, Layer> {
  const found = new Map<string, Layer>();
  if (!Array.isArray(cameras)) return found;
  for (const camera of cameras as readonly unknown[])
    if (isObject(camera) && typeof camera['id'] === 'string' && !found.has(camera['id']))
      found.set(camera['id'], camera);
  return found;
}

/**
 * Converts the overlay to a layer over the local configuration (defaults, file, environment): cameras are merged with the
 * local cameras, and a null replaces each local value that contradicts the overlay. Local credentials are only sent where the
 * local configuration sends them.
 */
export function applyOverlay(overlay: Overlay, local: { cameras: unknown; mqtt: unknown }): Layer {
  const { cameras, mqtt } = overlay;
  return {
    ...overlay,
    ...(isObject(mqtt) ? { mqtt: applyMqtt(mqtt, local.mqtt) } : {}),
    ...(Array.isArray(cameras) ? { cameras: applyCameras(cameras, local.cameras) } : {}),
  };
}

function applyMqtt(over: Layer, local: unknown): Layer {
  if (over['url'] !== undefined && !areKnownBrokers(over['url'], getValue(local, 'url')))
    return { ...Object.fromEntries(BROKER_LOGIN_KEYS.map((key) => [key, null])), ...over };
  return over['password'] === undefined ? over : { password_file: null, ...over };
}

const areKnownBrokers = (urls: unknown, known: unknown): boolean =>
  toList(urls).every((url) => toList(known).some((one) => isSameAddress(url, one)));

function applyCameras(over: readonly unknown[], local: unknown): readonly unknown[] {
  if (!Array.isArray(local)) return over;
  const locals = local as readonly unknown[];
  const changes = indexCameras(over);
  const cameras = locals.map((camera) => {
    const change = isObject(camera) ? changes.get(String(camera['id'])) : undefined;
    if (!change || !isObject(camera)) return camera;
    changes.delete(String(camera['id']));
    return addMasks(applyCamera(change, camera), [...masksOf(camera), ...masksOfHost(change['url'], locals)]);
  });
  // A change to a camera that the local configuration has removed has no effect until the camera is added again.
  const added = [...changes.values()].filter((camera) => camera['kind'] !== undefined);
  return [...cameras, ...added.map((camera) => addMasks(camera, masksOfHost(camera['url'], locals)))];
}

/** A local camera with remote settings, without the masks. */
export function applyCamera(over: Layer, local: Layer): Layer {
  const dropped: string[] = [];
  const { kind, url, password, tls, headers, schedule } = over;
  if (kind !== undefined && kind !== local['kind']) dropped.push(...SOURCE_KEYS);
  if (url !== undefined && (hasLogin(url) || !isSameAddress(url, local['url']))) dropped.push(...LOGIN_KEYS);
  // The local address may contain a login as well: the change must give both.
  if (tls !== undefined || headers !== undefined) dropped.push('url', ...LOGIN_KEYS);
  if (password !== undefined) dropped.push('password_file');
  const base = omitKeys(local, dropped);
  return mergeValues({ ...base, ...dropOtherSchedule(base, schedule) }, over) as Layer;
}

/** The masks that a remotely set address gets: those of all local cameras on its host. */
const masksOfHost = (url: unknown, locals: readonly unknown[]): readonly unknown[] =>
  locals.flatMap((camera) =>
    url !== undefined && isObject(camera) && isSameHost(url, camera['url']) ? masksOf(camera) : [],
  );

/** The masks that a camera has whatever remote commands set: its own local ones, and those of its host. */
export const listLocalMasks = (
  { id, url, privacyMasks }: Camera,
  locals: readonly Camera[],
): Camera['privacyMasks'] => {
  const masks = locals
    .filter((camera) => camera.id === id || (url !== null && isSameHost(url, camera.url)))
    .flatMap((camera) => camera.privacyMasks.map((mask) => JSON.stringify(mask)));
  return privacyMasks.filter((mask) => masks.includes(JSON.stringify(mask)));
};

const masksOf = ({ privacyMasks }: Layer): readonly unknown[] =>
  Array.isArray(privacyMasks) ? (privacyMasks as readonly unknown[]) : [];

/** Adds local masks. A remote command can add masks, but never remove a local one. */
function addMasks(camera: Layer, masks: readonly unknown[]): Layer {
  const { privacyMasks = [] } = camera;
  if (masks.length === 0 || !Array.isArray(privacyMasks)) return camera;
  const all = [...masks, ...(privacyMasks as readonly unknown[])];
  return { ...camera, privacyMasks: [...new Map(all.map((mask) => [JSON.stringify(mask), mask])).values()] };
}

/**
 * Removes from the overlay the login of an earlier command that a change would send elsewhere. Otherwise a second command
 * could send the login of the first one to any server. `before` and `change` belong to one camera.
 */
export function dropCameraLogin(before: Layer, change: Layer): Layer {
  const isElsewhere = TARGET_KEYS.some(
    (key) =>
      change[key] !== undefined &&
      !isSameValue(change[key], before[key]) &&
      !(key === 'url' && isSameAddress(change[key], before[key])),
  );
  if (!isElsewhere) return before;
  // A login in the former address: the change must give the address again.
  return omitKeys(before, hasLogin(before['url']) ? [...LOGIN_KEYS, 'url'] : LOGIN_KEYS);
}

/** As `dropCameraLogin`, for the broker. `before` and `change` are the whole overlay and the whole change. */
export function dropBrokerLogin(before: Layer, change: Layer): Layer {
  const { mqtt } = before;
  const url = getValue(change, 'mqtt.url');
  if (!isObject(mqtt) || url === undefined) return before;
  const isElsewhere = !isSameValue(url, mqtt['url']) && !areKnownBrokers(url, mqtt['url']);
  return isElsewhere ? { ...before, mqtt: omitKeys(mqtt, BROKER_LOGIN_KEYS) } : before;
}

/** A null in a change and a missing value are the same. */
const isSameValue = (a: unknown, b: unknown): boolean =>
  JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

/** `cron` replaces `everyS`, and `everyS` replaces `cron`. */
function dropOtherSchedule(local: Layer, over: unknown): Layer {
  const schedule = local['schedule'];
  if (!isObject(schedule) || !isObject(over)) return {};
  const dropped = [
    ...(over['cron'] === undefined ? [] : ['everyS']),
    ...(over['everyS'] === undefined ? [] : ['cron']),
  ];
  return { schedule: omitKeys(schedule, dropped) };
}

const toList = (value: unknown): readonly unknown[] =>
  Array.isArray(value) ? (value as readonly unknown[]) : [value];

/** Whether an address has a user name or a password. */
function hasLogin(url: unknown): boolean {
  const parsed = typeof url === 'string' ? URL.parse(url) : null;
  return parsed !== null && `${parsed.username}${parsed.password}` !== '';
}
