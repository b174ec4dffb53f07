import type { Health } from '../contract/health.ts';
import type { BeforeUpdate } from './types.ts';

/** What the version on trial has shown so far. */
export interface TrialFacts {
  /** Time since the start of this process, ms, by the monotonic clock. */
  readonly elapsedMs: number;
  /** Stored observations with a frame of a camera: measured or rejected. */
  readonly observations: number;
  /** The model has reproduced its golden outputs and waits for frames. */
  readonly visionReady: boolean;
  readonly storeWritable: boolean;
  readonly connected: boolean;
  readonly degraded: readonly string[];
}

export interface TrialLimits {
  readonly observations: number;
  readonly minutes: number;
}

/**
 * Codes that the surroundings of the device cause, never a version of the agent: the clock, the network between the
 * device and the broker, heat, power, wear, and certificates. `link_down` is here because the broker is a criterion of
 * its own, the reconnect of the restart itself counts in `link_flapping`, and the writes of a day cannot be estimated
 * within minutes.
 */
const CODES_OF_SURROUNDINGS: ReadonlySet<string> = new Set([
  ...['clock_unsynced', 'clock_offset', 'certificate_expiring:device', 'certificate_expiring:broker'],
  ...['link_down', 'link_flapping', 'link_contested', 'outbox_backlog'],
  ...['temperature_high', 'throttled', 'under_voltage', 'hot_surface', 'over_current', 'capture_slowed'],
  ...['disk_worn', 'writes_high', 'state_volatile'],
]);

/**
 * What is missing for the confirmation of the version on trial; empty when it can be confirmed. `before` is null when
 * the snapshot of the former version is lost: then only the version itself is judged, not its surroundings.
 */
export function missingCriteria(
  facts: TrialFacts,
  before: BeforeUpdate | null,
  limits: TrialLimits,
): readonly string[] {
  const missing: string[] = [];
  const require = (isMet: boolean, name: string): void => {
    if (!isMet) missing.push(name);
  };
  require(facts.elapsedMs >= limits.minutes * 60_000, 'time');
  // Without a working camera before the update, none can be demanded after it.
  require(before?.camera_up !== true || facts.observations >= limits.observations, 'observations');
  require(facts.visionReady, 'vision');
  require(facts.storeWritable, 'store');
  // The broker may be down for both versions: it counts only if it was connected before.
  require(before?.connected !== true || facts.connected, 'broker');
  if (before !== null) {
    for (const code of facts.degraded)
      require(before.degraded.includes(code) || CODES_OF_SURROUNDINGS.has(code), code);
  }
  return missing;
}

/** The snapshot of the device before an update. */
export const snapshotBefore = (id: string, { degraded, cameras, link }: Health): BeforeUpdate => ({
  format: 1,
  id,
  degraded: [...degraded],
  connected: link.connected_since !== null,
  camera_up: cameras.some(({ state }) => state === 'up'),
});
