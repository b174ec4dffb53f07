import { matchesHost, parseHostPattern } from '../base/host-pattern.ts';
import { percentDecode } from '../base/redact.ts';
import { hostAndPort, isSameAddress } from './address.ts';
import type { ConfigFault } from './faults.ts';
import { MAX_CAMERAS } from './formats.ts';
import { isObject, type Layer } from './layers.ts';
import { applyCamera, indexCameras, type Overlay } from './overlay.ts';
import type { Camera, Settings } from './schema.ts';

/** Most cameras that remote commands may add. */
const MAX_REMOTE_CAMERAS = 8;

/** Remote settings of a camera that the local configuration does not allow. */
export interface RefusedCamera {
  readonly id: string;
  readonly code: 'config_locked' | 'config_invalid';
  readonly reason: string;
}

/**
 * The cameras of an overlay that the local configuration does not allow. Privacy masks hold for a view. Another address may
 * show the same view under another name, through a proxy, turned or cropped, so that no mask of it fits. As long as a local
 * camera has masks, remote commands therefore set only requests that the local configuration names: another login or header may
 * show another view at the same address.
 */
export function findRefusedCameras(overlay: Overlay, local: Settings): readonly RefusedCamera[] {
  const refused: RefusedCamera[] = [];
  const maxAdded = Math.max(0, Math.min(MAX_REMOTE_CAMERAS, MAX_CAMERAS - local.cameras.length));
  let addedCount = 0;
  for (const [id, over] of indexCameras(overlay['cameras'])) {
    const isAdded = over['kind'] !== undefined && !local.cameras.some((camera) => camera.id === id);
    if (isAdded) addedCount += 1;
    const reason = whyRefused(id, over, local);
    if (reason !== null) refused.push({ id, code: 'config_locked', reason });
    else if (isAdded && addedCount > maxAdded) {
      const tooMany = `remote commands may add ${String(maxAdded)} cameras at most`;
      refused.push({ id, code: 'config_invalid', reason: tooMany });
    }
  }
  return refused;
}

function whyRefused(id: string, over: Layer, { cameras, remote }: Settings): string | null {
  if (!cameras.some(isMasked)) return null;
  const own = cameras.find((camera) => camera.id === id);
  const next = own ? applyCamera(over, { ...own }) : over;
  if (own && isMasked(own)) {
    const isSame = isSameRequest(next, own) && VIEW_KEYS.every((key) => next[key] === own[key]);
    return isSame
      ? null
      : `only the device itself may change ${VIEW_KEYS.join(', ')}, url, username and headers of a camera with privacy masks`;
  }
  const { url } = next;
  // Without an address, the camera needs none, or loading it fails.
  if (typeof url !== 'string') return null;
  const patterns = remote.cameraHosts.map(parseHostPattern).filter((pattern) => pattern !== null);
  const isAllowed =
    matchesHost(hostAndPort(url) ?? '', patterns) || cameras.some((camera) => isSameRequest(next, camera));
  return isAllowed
    ? null
    : 'a local camera has privacy masks, and this url, username or headers may show its view: only the device itself may set them, or name the host in remote.cameraHosts';
}

/** What decides which pictures a camera with a given request takes. */
const VIEW_KEYS = ['kind', 'recursive', 'replay'] as const;

const isMasked = ({ privacyMasks }: Camera): boolean => privacyMasks.length > 0;

/** Whether two cameras ask for the same picture: address, user name and headers. The password does not matter. */
function isSameRequest(camera: Layer, local: Camera): boolean {
  const { url = null, headers } = camera;
  return (
    (url === local.url || isSameAddress(url, local.url)) &&
    userOf(camera) === userOf({ ...local }) &&
    listHeaders(headers) === listHeaders(local.headers)
  );
}

/** The user name of a camera, as written in its keys or in its address; null without a login. */
function userOf({ username, url }: Layer): string | null {
  if (typeof username === 'string') return username;
  const parsed = typeof url === 'string' ? URL.parse(url) : null;
  return parsed && `${parsed.username}${parsed.password}` !== '' ? percentDecode(parsed.username) : null;
}

const listHeaders = (headers: unknown): string =>
  JSON.stringify(
    Object.entries(isObject(headers) ? headers : {})
      .map(([name, value]) => [name.toLowerCase(), value])
      .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
  );

/** The cameras of an overlay that have one of the faults of `cameras[n]`, which loading the overlay has given. */
export function findMisfits(
  faults: readonly ConfigFault[],
  overlay: Overlay,
  local: Settings,
): readonly RefusedCamera[] {
  const over = indexCameras(overlay['cameras']);
  const localIds = local.cameras.map(({ id }) => id);
  // The order of `applyOverlay`.
  const added = [...over].filter(([id, { kind }]) => kind !== undefined && !localIds.includes(id));
  const ids = [...localIds, ...added.map(([id]) => id)];
  const misfits = new Map<string, RefusedCamera>();
  for (const { key, wanted } of faults) {
    const [, index, name = ''] = /^cameras\[(\d+)\]\.?(.*)$/.exec(key) ?? [];
    const id = index === undefined ? undefined : ids[Number(index)];
    if (id === undefined || !over.has(id) || misfits.has(id)) continue;
    misfits.set(id, { id, code: 'config_invalid', reason: `${name}: wanted ${wanted}` });
  }
  return [...misfits.values()];
}

/** The overlay without the settings of some cameras. */
export function withoutCameras(overlay: Overlay, refused: readonly RefusedCamera[]): Overlay {
  const { cameras, ...rest } = overlay;
  const ids = new Set(refused.map(({ id }) => id));
  const kept = [...indexCameras(cameras)].filter(([id]) => !ids.has(id)).map(([, camera]) => camera);
  return kept.length === 0 ? rest : { ...rest, cameras: kept };
}
