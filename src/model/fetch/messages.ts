import type { AgentError } from '../../base/errors.ts';
import { ERROR_CODES, type ErrorCode } from '../../base/errors.ts';
import type { FetchLimits } from './limits.ts';
import type { FetchOptions, Progress } from '../types.ts';

/** What the control process asks of a fetching process: one job, then it ends. */
export interface FetchJob {
  /**
   * `download`: the archive of a repository on a web server, into the part. `check`: a part that came by MQTT has the
   * promised digest. `verify`: from the part to a bundle in its place.
   */
  readonly kind: 'download' | 'check' | 'verify';
  /** Folder of the models. */
  readonly dir: string;
  readonly options: FetchOptions;
  readonly limits: FetchLimits;
}

/** The bundle that a verification laid down. */
export interface VerifiedBundle {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly trusted: boolean;
}

/** What a fetching process says. */
export type FetchReport =
  | { readonly type: 'alive'; readonly rssMb: number }
  | ({ readonly type: 'progress' } & Progress)
  | { readonly type: 'waiting'; readonly reason: string; readonly retryInMs: number }
  | { readonly type: 'done'; readonly bundle: VerifiedBundle | null }
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly message: string };

const MAX_TEXT = 500;

/**
 * A report as it must be; null for anything else. The process has read what strangers wrote: nothing of it is believed
 * that is not looked at.
 */
export function readReport(value: unknown): FetchReport | null {
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
      const bundle = fields['bundle'] === null ? null : readBundle(fields['bundle']);
      return bundle === undefined ? null : { type, bundle };
    }
    case 'failed': {
      const { code, message } = fields;
      return isCode(code) && isText(message) ? { type, code, message } : null;
    }
    default:
      return null;
  }
}

function readBundle(value: unknown): VerifiedBundle | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, version, digest, trusted } = value as Record<string, unknown>;
  const fits =
    isText(name) &&
    isText(version) &&
    typeof digest === 'string' &&
    /^sha256:[0-9a-f]{64}$/.test(digest) &&
    typeof trusted === 'boolean';
  return fits ? { name, version, digest, trusted } : undefined;
}

/** The report of a failure; messages are cut, and what was not foreseen stays in the process. */
export function failureReport({ code, message }: AgentError): FetchReport {
  return { type: 'failed', code, message: message.slice(0, MAX_TEXT) };
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0;

const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= MAX_TEXT;

const isCode = (value: unknown): value is ErrorCode =>
  typeof value === 'string' && Object.hasOwn(ERROR_CODES, value);
