import type { Counts } from './chaos.ts';
import type { Plant } from './planted.ts';
import type { Verdict } from './verdict.ts';
import type { Victim } from './victim.ts';

export interface TortureOptions {
  readonly seed: number;
  /** The run goes on until the real program, or without it the device, has all three, or the time is over. */
  readonly kills: number;
  readonly partitions: number;
  readonly observations: number;
  readonly minutes: number;
  /** Cameras of the real program; 0: without it. */
  readonly agentCameras: number;
  readonly plants: readonly Plant[];
  /** `durable`: what the broker has acknowledged it keeps when it is killed; `plain`: mosquitto by itself. */
  readonly broker: 'durable' | 'plain';
  /** Shorter storms, and quick_check. */
  readonly brief: boolean;
  readonly namespace: 'auto' | 'no';
}

export interface VictimReport {
  readonly name: string;
  readonly kind: Victim['kind'];
  readonly plant: Plant | null;
  readonly kills: number;
  readonly checks: number;
  readonly verdict: Verdict;
  /** Taken out of the outbox without an acknowledgement, as seen in the database after each kill. */
  readonly deletedUnacknowledged: number;
  /** Sent behind a later one of the same topic on one connection, as the witness saw it: the device's own disorder. */
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
  /** Times that the broker came back without the subscriber's session. */
  readonly sessionsForgotten: number;
  readonly deviceConnections: number;
  readonly victims: readonly VictimReport[];
  /** What was asked for and not reached in the time. */
  readonly missed: readonly string[];
}
