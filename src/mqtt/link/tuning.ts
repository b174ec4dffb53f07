import type { BackoffOptions } from '../../base/retry.ts';

/** Times and sizes of the link; tests shorten them. */
export interface LinkTuning {
  readonly keepAliveS: number;
  readonly connectTimeoutMs: number;
  readonly ackTimeoutMs: number;
  /** Longest time that `stop` takes. */
  readonly stopTimeoutMs: number;
  readonly window: number;
  readonly maxPayloadBytes: number;
  readonly backoff: BackoffOptions;
  readonly refusedBackoff: BackoffOptions;
  /** The broker has too much to do, or sends us elsewhere. */
  readonly pressedBackoff: BackoffOptions;
  /** Another agent lives under this identity: two must not throw each other out in a fast loop. */
  readonly contestedBackoff: BackoffOptions;
  /** How often a link that is up looks at its certificates. */
  readonly lookEveryMs: number;
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
  pressedBackoff: { minMs: 10_000, maxMs: 300_000, resetAfterMs: 300_000 },
  contestedBackoff: { minMs: 30_000, maxMs: 600_000, resetAfterMs: 3_600_000 },
  lookEveryMs: 30_000,
};
