import type { BackoffOptions } from '../../base/retry.ts';

/** Times and sizes of a transfer; tests shorten them. */
export interface TransferTuning {
  /** From the first byte of the request to the last of the answer's header. */
  readonly headerMs: number;
  /** Longest pause between two pieces. */
  readonly idleMs: number;
  /** A connection that brings less than `leastBytes` in `windowMs` is given up. */
  readonly windowMs: number;
  readonly leastBytes: number;
  /** Without a new byte for so long, the transfer fails. */
  readonly patienceMs: number;
  /** However it goes on, it fails after so long; another install takes it up where it ended. */
  readonly overallMs: number;
  readonly backoff: BackoffOptions;
  readonly redirects: number;
}

export const DEFAULT_TRANSFER: TransferTuning = {
  headerMs: 60_000,
  idleMs: 30_000,
  windowMs: 60_000,
  leastBytes: 4096,
  patienceMs: 3_600_000,
  overallMs: 86_400_000,
  backoff: { minMs: 1000, maxMs: 60_000, resetAfterMs: 86_400_000 },
  redirects: 5,
};
