import type { BackoffOptions } from '../retry.ts';

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
}

export const DEFAULT_TUNING: LinkTuning = {
  keepAliveS: 30,
  connectTimeoutMs: 15_000,
  ackTimeoutMs: 20_000,
  stopTimeoutMs: 3000,
  window: 20,
  maxPayloadBytes: 1_048_576,
  backoff: { minMs: 1000, maxMs: 60_000, resetAfterMs: 60_000 },
  refusedBackoff: { minMs: 60_000, maxMs: 600_000, resetAfterMs: 60_000 },
};
