import { ERROR_CODES, type ErrorCode } from '../../base/errors.ts';
import type { BackoffOptions } from '../../base/retry.ts';
import type { FetchOptions, FetchProgress } from '../types.ts';

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
   * file that came over MQTT with the announced digest. `verify`: turns the part file into a verified bundle.
   */
  readonly kind: 'download' | 'check' | 'verify';
  /** The models directory. */
  readonly dir: string;
  readonly options: FetchOptions;
  readonly limits: FetchLimits;
}

/** The bundle that a verification has stored. */
export interface VerifiedBundle {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly trusted: boolean;
}

/** A message from a fetch process to the agent. */
export type FetchReport =
  | { readonly type: 'alive'; readonly rssMb: number }
  | ({ readonly type: 'progress' } & FetchProgress)
  | { readonly type: 'waiting'; readonly reason: string; readonly retryInMs: number }
  | { readonly type: 'done'; readonly bundle: VerifiedBundle | null }
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly message: string };

export const MAX_REPORT_TEXT_CHARS = 500;

/**
 * Validates a report; returns null for an invalid one. The fetch process has parsed untrusted data, so the agent trusts
 * nothing that it sends.
 */
export function parseReport(value: unknown): FetchReport | null {
  if (typeof value !== 'object' || value === null) return null;
  const { type, ...fields } = value as Record<string, unknown>;
  switch (type) {
    case 'alive':
      return isCount(fields['rssMb']) ? { type, rssMb: fields['rssMb'] } : null;
    case 'progress': {
      const { bytes, totalBytes } = fields;
      return isCount(bytes) && (totalBytes === null || isCount(totalBytes))
        ? { type, bytes, totalBytes }
        : null;
    }
    case 'waiting': {
      const { reason, retryInMs } = fields;
      return isText(reason) && isCount(retryInMs) ? { type, reason, retryInMs } : null;
    }
    case 'done': {
      const bundle = fields['bundle'] === null ? null : parseBundle(fields['bundle']);
      return bundle === undefined ? null : { type, bundle };
    }
    case 'failed': {
      const { code, message } = fields;
      return isErrorCode(code) && isText(message) ? { type, code, message } : null;
    }
    default:
      return null;
  }
}

function parseBundle(value: unknown): VerifiedBundle | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, version, digest, trusted } = value as Record<string, unknown>;
  const isValid =
    isText(name) &&
    isText(version) &&
    typeof digest === 'string' &&
    /^sha256:[0-9a-f]{64}$/.test(digest) &&
    typeof trusted === 'boolean';
  return isValid ? { name, version, digest, trusted } : undefined;
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0;

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= MAX_REPORT_TEXT_CHARS;

const isErrorCode = (value: unknown): value is ErrorCode =>
  typeof value === 'string' && Object.hasOwn(ERROR_CODES, value);
