import { getValue, isObject, mergeValues, omitKeys, type Layer } from './layers.ts';

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
 * local cameras, and a null replaces each local value that contradicts the overlay. Local credentials are not sent to a
 * host that the local configuration does not name.
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
  const localUrls = toList(getValue(local, 'url'));
  const isOtherBroker =
    over['url'] !== undefined &&
    !toList(over['url']).every((url) => localUrls.some((known) => canShareLogin(url, known)));
  if (isOtherBroker) return { username: null, password: null, password_file: null, ...over };
  return over['password'] === undefined ? over : { password_file: null, ...over };
}

function applyCameras(over: readonly unknown[], local: unknown): readonly unknown[] {
  if (!Array.isArray(local)) return over;
  const changes = indexCameras(over);
  const cameras = (local as readonly unknown[]).map((camera) => {
    const change = isObject(camera) ? changes.get(String(camera['id'])) : undefined;
    if (!change || !isObject(camera)) return camera;
    changes.delete(String(camera['id']));
    return applyCamera(change, camera);
  });
  // A change to a camera that the local configuration has removed has no effect until the camera is added again.
  return [...cameras, ...[...changes.values()].filter((camera) => camera['kind'] !== undefined)];
}

function applyCamera(over: Layer, local: Layer): Layer {
  const dropped: string[] = [];
  const { kind, url, password, tls, schedule, privacyMasks } = over;
  if (kind !== undefined && kind !== local['kind']) dropped.push(...SOURCE_KEYS);
  if (url !== undefined && (hasLogin(url) || !canShareLogin(url, local['url']))) dropped.push(...LOGIN_KEYS);
  // Another certificate may be that of another server.
  if (tls !== undefined) dropped.push(...LOGIN_KEYS);
  if (password !== undefined) dropped.push('password_file');
  const base = omitKeys(local, dropped);
  const camera = mergeValues({ ...base, ...dropOtherSchedule(base, schedule) }, over) as Layer;
  const localMasks = local['privacyMasks'];
  // A remote command can add masks, but never remove a local mask.
  if (!Array.isArray(privacyMasks) || !Array.isArray(localMasks)) return camera;
  return {
    ...camera,
    privacyMasks: [...(localMasks as readonly unknown[]), ...(privacyMasks as readonly unknown[])],
  };
}

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

const hasLogin = (url: unknown): boolean =>
  typeof url === 'string' && (URL.parse(url)?.username ?? '') !== '';

const ENCRYPTED = /^(mqtts|wss|https|rtsps):$/;

/** Whether credentials for `known` may be sent to `url`: the same host, and not less encrypted. */
function canShareLogin(url: unknown, known: unknown): boolean {
  const [to, from] = [url, known].map((value) => (typeof value === 'string' ? URL.parse(value) : null));
  if (!to || !from || to.hostname === '' || to.hostname !== from.hostname) return false;
  return ENCRYPTED.test(to.protocol) || !ENCRYPTED.test(from.protocol);
}
