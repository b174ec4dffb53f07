import { matchesHost, parseHostPattern } from '../base/host-pattern.ts';
import { hostAndPort, isSameAddress } from './address.ts';
import type { Layer } from './layers.ts';
import { indexCameras, type Overlay } from './overlay.ts';
import type { Settings } from './schema.ts';

/** Most cameras that remote commands may add. */
const MAX_REMOTE_CAMERAS = 8;

const TOO_MANY = `remote commands may add ${String(MAX_REMOTE_CAMERAS)} cameras at most`;

/** Remote settings of a camera that the local configuration does not allow. */
export interface RefusedCamera {
  readonly id: string;
  readonly code: 'config_locked' | 'config_invalid';
  readonly reason: string;
}

/**
 * The cameras of an overlay that the local configuration does not allow. Privacy masks hold for a view. Another address may
 * show the same view under another name, through a proxy, turned or cropped, so that no mask of it fits. As long as a local
 * camera has masks, remote commands therefore set only addresses that the local configuration names.
 */
export function findRefusedCameras(overlay: Overlay, local: Settings): readonly RefusedCamera[] {
  const refused: RefusedCamera[] = [];
  let addedCount = 0;
  for (const [id, over] of indexCameras(overlay['cameras'])) {
    if (!local.cameras.some((camera) => camera.id === id) && over['kind'] !== undefined) addedCount += 1;
    const reason = whyRefused(id, over, local);
    if (reason !== null) refused.push({ id, code: 'config_locked', reason });
    else if (addedCount > MAX_REMOTE_CAMERAS) refused.push({ id, code: 'config_invalid', reason: TOO_MANY });
  }
  return refused;
}

function whyRefused(id: string, { kind, url }: Layer, { cameras, remote }: Settings): string | null {
  const masked = cameras.filter(({ privacyMasks }) => privacyMasks.length > 0);
  const own = masked.find((camera) => camera.id === id);
  const isMoved = url !== undefined && !isSameAddress(url, own?.url);
  if (own && (isMoved || (kind !== undefined && kind !== own.kind)))
    return 'only the device itself may change the kind and the url of a camera with privacy masks';
  if (url === undefined || masked.length === 0) return null;
  const patterns = remote.cameraHosts.map(parseHostPattern).filter((pattern) => pattern !== null);
  const isAllowed =
    cameras.some((camera) => isSameAddress(url, camera.url)) || matchesHost(hostAndPort(url) ?? '', patterns);
  return isAllowed
    ? null
    : 'a local camera has privacy masks, and this url may show its view: only the device itself may set it, or name its host in remote.cameraHosts';
}

/** The overlay without the settings of some cameras. */
export function withoutCameras(overlay: Overlay, refused: readonly RefusedCamera[]): Overlay {
  const { cameras, ...rest } = overlay;
  const ids = new Set(refused.map(({ id }) => id));
  const kept = [...indexCameras(cameras)].filter(([id]) => !ids.has(id)).map(([, camera]) => camera);
  return kept.length === 0 ? rest : { ...rest, cameras: kept };
}
