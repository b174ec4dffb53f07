import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { BackoffOptions } from '../../base/retry.ts';
import type { Settings } from '../../config/schema.ts';
import type { KeyValue, RaiseEvent } from '../../store/types.ts';
import type { CredentialSources } from './credential-files.ts';
import type { Topics } from '../topics.ts';
import type { CommandPacket } from '../types.ts';

export interface LinkOptions {
  readonly mqtt: Pick<Settings['mqtt'], 'url' | 'protocolVersion' | 'clientId'> & CredentialSources;
  /** Identifies one run of the agent. */
  readonly session: string;
  readonly tuning?: Partial<LinkTuning>;
}

export interface LinkDeps {
  readonly topics: Topics;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
  readonly raise: RaiseEvent;
  /** For the topics on which brokers retain messages of the device; see RetainedTopics. */
  readonly memory?: KeyValue;
  readonly store?: { readonly id: string };
  /** Called once for each connection, after `online` was published: the forwarder may send now. */
  readonly onConnected?: () => void;
  readonly onCommand?: (name: string, packet: CommandPacket) => void;
}

/** Times and sizes of the link; tests shorten them. */
export interface LinkTuning {
  readonly keepAliveS: number;
  readonly connectTimeoutMs: number;
  /** Longest wait for an acknowledgement. After this time, the session closes the connection. */
  readonly ackTimeoutMs: number;
  /** `stop` takes at most this time. */
  readonly stopTimeoutMs: number;
  /** Maximum number of unacknowledged messages; the broker may allow fewer. */
  readonly window: number;
  readonly maxPayloadBytes: number;
  readonly backoff: BackoffOptions;
  /** Delays after the broker refused the credentials, or a certificate was not accepted. */
  readonly refusedBackoff: BackoffOptions;
  /** Delays after the broker reported that it is busy, or redirected the device. */
  readonly busyBackoff: BackoffOptions;
  /** Delays while another agent uses this identity: two agents must not disconnect each other in a fast loop. */
  readonly conflictBackoff: BackoffOptions;
  /** Interval between two checks of the certificates on a connected link. */
  readonly checkEveryMs: number;
}

export const DEFAULT_TUNING: LinkTuning = {
  keepAliveS: 30,
  connectTimeoutMs: 15_000,
  ackTimeoutMs: 20_000,
  stopTimeoutMs: 6000,
  window: 20,
  maxPayloadBytes: 1_048_576,
  backoff: { minMs: 1000, maxMs: 60_000, resetAfterMs: 60_000 },
  refusedBackoff: { minMs: 60_000, maxMs: 600_000, resetAfterMs: 60_000 },
  busyBackoff: { minMs: 10_000, maxMs: 300_000, resetAfterMs: 300_000 },
  conflictBackoff: { minMs: 30_000, maxMs: 600_000, resetAfterMs: 3_600_000 },
  checkEveryMs: 30_000,
};
