import type { CameraSet } from '../observation/cameras.ts';
import type { Change } from '../config/change.ts';
import type { Settings } from '../config/schema.ts';
import type { Heartbeat } from '../health/heartbeat.ts';
import type { LevelledLog } from '../base/log.ts';
import type { ReplaceableLink } from '../mqtt/link/replaceable-link.ts';
import type { Store } from '../store/store.ts';

export interface LiveParts {
  readonly levels: LevelledLog;
  readonly cameraSet: CameraSet;
  readonly heartbeat: Heartbeat;
  readonly store: Store;
  readonly link: ReplaceableLink<Settings['mqtt']>;
}

/** Makes the running parts take over a change that needs no restart; a part that it does not concern notices nothing. */
export async function reconfigure(change: Change, parts: LiveParts): Promise<void> {
  const { to, keys } = change;
  const concerns = (prefix: string): boolean => keys.some((key) => key.startsWith(prefix));
  if (concerns('logLevel')) parts.levels.level = to.logLevel;
  if (concerns('heartbeat.')) parts.heartbeat.setInterval(to.heartbeat.intervalS);
  if (concerns('store.')) parts.store.setBounds(to.store);
  if (concerns('cameras.')) await parts.cameraSet.update(to.cameras);
  if (change.link.length > 0) await parts.link.replace(to.mqtt);
}
