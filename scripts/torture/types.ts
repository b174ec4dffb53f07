import type { Counts } from './chaos.ts';
import type { Plant } from './planted.ts';
import type { Verdict } from './verdict.ts';
import type { Target } from './target.ts';

export interface TortureOptions {
  readonly seed: number;
  /** The run ends when the agent (without it, the device) has reached all three goals, or after `minutes`. */
  readonly kills: number;
  readonly partitions: number;
  readonly observations: number;
  readonly minutes: number;
  /** Cameras of the agent; 0: run without the agent. */
  readonly agentCameras: number;
  readonly plants: readonly Plant[];
  /** `durable`: acknowledged messages survive a kill of the broker; `plain`: mosquitto without this guarantee. */
  readonly broker: 'durable' | 'plain';
  /** Shorter network faults, and quick_check. */
  readonly brief: boolean;
  readonly namespace: 'auto' | 'no';
}

export interface TargetReport {
  readonly name: string;
  readonly kind: Target['kind'];
  readonly plant: Plant | null;
  readonly kills: number;
  readonly checks: number;
  readonly verdict: Verdict;
  /** Rows deleted from the outbox without an acknowledgement, counted in the database after each kill. */
  readonly deletedUnacknowledged: number;
  /** Messages that the device sent after a later one of the same topic on one connection, as recorded by the proxy. */
  readonly sentOutOfOrder: readonly string[];
  readonly faults: readonly string[];
}

export interface TortureReport {
  readonly seed: number;
  readonly network: string;
  readonly broker: TortureOptions['broker'];
  readonly seconds: number;
  readonly drainSeconds: number;
  readonly counts: Counts;
  readonly brokerKills: number;
  readonly brokerStops: number;
  readonly brokerSaves: number;
  readonly subscriberConnections: number;
  /** How often the broker restarted without the subscriber's session. */
  readonly sessionsForgotten: number;
  readonly deviceConnections: number;
  readonly targets: readonly TargetReport[];
  /** Goals that were not reached in time. */
  readonly missed: readonly string[];
}
