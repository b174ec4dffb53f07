import type { BackoffOptions } from '../../base/retry.ts';
import type { FetchOptions } from '../types.ts';

/** Time and size limits of an HTTP transfer. Tests use shorter ones. */
export interface TransferLimits {
  /** Longest time from the start of the request to the end of the response header. */
  readonly headerMs: number;
  /** Longest pause between two pieces of the body. */
  readonly idleMs: number;
  /** A connection that delivers less than `minWindowBytes` in `windowMs` is closed. */
  readonly windowMs: number;
  readonly minWindowBytes: number;
  /** The transfer fails when no new bytes have arrived for this time. */
  readonly patienceMs: number;
  /**
   * The transfer fails when all its attempts together take longer than this. A later install continues after the last
   * received byte.
   */
  readonly overallMs: number;
  readonly backoff: BackoffOptions;
  readonly maxRedirects: number;
}

export const DEFAULT_TRANSFER_LIMITS: TransferLimits = {
  headerMs: 60_000,
  idleMs: 30_000,
  windowMs: 60_000,
  minWindowBytes: 4096,
  patienceMs: 3_600_000,
  overallMs: 86_400_000,
  backoff: { minMs: 1000, maxMs: 60_000, resetAfterMs: 86_400_000 },
  maxRedirects: 5,
};

/** Limits of one fetched bundle and of the process that fetches it. */
export interface FetchLimits {
  /** Size limit of an archive, and of all files that are unpacked from it. */
  readonly maxBytes: number;
  /** Disk space that must stay free for observations. */
  readonly reserveBytes: number;
  /** Heap limit of V8, MiB. */
  readonly heapMb: number;
  /** The agent kills the fetch process when its resident memory is larger than this, MiB. */
  readonly rssMb: number;
  /** A fetch process that has sent no report for this time is considered hung. */
  readonly silenceMs: number;
  /** Longest duration of a verification. */
  readonly verifyMs: number;
  readonly transfer: TransferLimits;
}

export const DEFAULT_FETCH_LIMITS: FetchLimits = {
  // The largest allowed bundle, and 1 MiB for the headers of its archive.
  maxBytes: 1024 * 1024 * 1024 + 1024 * 1024,
  reserveBytes: 64 * 1024 * 1024,
  heapMb: 96,
  rssMb: 320,
  silenceMs: 60_000,
  verifyMs: 1_800_000,
  transfer: DEFAULT_TRANSFER_LIMITS,
};

/** The one message that the agent sends to a fetch process. */
export interface FetchJob {
  /**
   * `download`: downloads the archive from the web server into the part file. `check`: compares the digest of a part
   * file that came over MQTT with the announced digest. `verify`: turns the part file into a verified bundle or agent.
   * `newest`: finds the newest version of the agent.
   */
  readonly kind: 'download' | 'check' | 'verify' | 'newest';
  /** What is fetched: a model, or another version of the agent itself. */
  readonly product: 'model' | 'agent';
  /** The models directory, or the update directory of the agent. */
  readonly dir: string;
  readonly options: FetchOptions;
  readonly limits: FetchLimits;
}

export const MAX_REPORT_TEXT_CHARS = 500;
