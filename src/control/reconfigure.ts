import { asAgentError } from '../base/errors.ts';
import type { LevelledLog, Log } from '../base/log.ts';
import type { SettingsHost } from '../config/settings-host.ts';
import type { Change } from '../config/change.ts';
import type { Settings } from '../config/schema.ts';
import type { Heartbeat } from '../health/heartbeat.ts';
import type { ReplaceableLink } from '../mqtt/link/replaceable-link.ts';
import type { StatePublisher } from '../mqtt/state-publisher.ts';
import type { CameraSet } from '../observation/cameras.ts';
import type { Store } from '../store/store.ts';
import type { AgentState } from './agent-types.ts';

export interface ReconfigurableParts {
  readonly log: Log;
  readonly levels: LevelledLog;
  readonly state: AgentState;
  readonly cameras: CameraSet;
  readonly heartbeat: Heartbeat;
  readonly store: Store;
  readonly link: ReplaceableLink<Settings['mqtt']>;
  readonly states: StatePublisher;
}

/**
 * What the configuration needs of the running parts. `apply` applies changes of settings that need no restart. A change reaches
 * the parts that it concerns; the others are not interrupted. `frameMs` is that of the last heartbeat.
 */
export function createReconfigure(parts: ReconfigurableParts): Pick<SettingsHost, 'apply' | 'frameMs'> {
  /** Each change is the difference to the one before: the next one waits for its end. */
  let applied: Promise<unknown> = Promise.resolve();
  return {
    frameMs: () => parts.heartbeat.current().inference.p50_ms,
    apply: (change) => {
      const applying = applied.then(() => applyChange(change, parts));
      applied = applying.catch(() => undefined);
      return applying;
    },
  };
}

async function applyChange(change: Change, parts: ReconfigurableParts): Promise<void> {
  const { to, keys } = change;
  const concerns = (prefix: string): boolean => keys.some((key) => key.startsWith(prefix));
  parts.log.info({ keys }, 'configuration changes');
  if (concerns('logLevel')) parts.levels.level = to.logLevel;
  if (concerns('heartbeat.')) parts.heartbeat.setInterval(to.heartbeat.intervalS);
  if (concerns('store.')) parts.store.setBounds(to.store);
  try {
    if (concerns('cameras.')) await parts.cameras.update(to.cameras);
    if (change.link.length > 0) await parts.link.replace(to.mqtt, () => parts.cameras.stoppedStates());
  } catch (thrown) {
    parts.log.error({ err: asAgentError(thrown), keys }, 'cannot apply the change of the configuration');
    throw thrown;
  }
  parts.state.settings = to;
  parts.states.publish();
  parts.heartbeat.nudge();
}
