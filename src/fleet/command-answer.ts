import { parseJsonObject } from '../base/json-object.ts';
import type { DeviceReport } from './device-progress.ts';

/** A report of diagnostics has 64 KiB. */
const MAX_ANSWER_BYTES = 262_144;
const MAX_TEXT_CHARS = 500;
/** Rejections that are temporary. `expired`: the clock of the device is ahead, or the command arrived late. */
const TEMPORARY_REASONS = new Set(['busy', 'stopping', 'clock_unsynced', 'expired']);

/** Reads the answer of a device to a command. Anybody may have published it. Returns null when it reports nothing. */
export function readCommandAnswer(
  payload: Uint8Array,
): { readonly id: string; readonly report: DeviceReport } | null {
  if (payload.length > MAX_ANSWER_BYTES) return null;
  const answer = (parseJsonObject(payload) ?? {}) as Answer;
  const { id } = answer;
  const report = toReport(answer);
  return typeof id === 'string' && report !== null ? { id, report } : null;
}

function toReport({ status, reason, error, result, duplicate }: Answer): DeviceReport | null {
  const isOld = duplicate === true;
  const failed = (code: unknown, message: unknown): DeviceReport => ({
    kind: 'failed',
    code: toText(code) ?? String(status),
    message: toText(message),
    isOld,
  });
  switch (status) {
    case 'accepted':
      return { kind: 'accepted' };
    case 'succeeded':
      return { kind: 'succeeded', result, isOld };
    case 'rejected': {
      // `bad_args: what is wrong`
      const [, code = '', detail] = /^([^:]*)(?:: (.*))?$/s.exec(toText(reason) ?? '') ?? [];
      return TEMPORARY_REASONS.has(code) ? { kind: 'deferred', reason: code } : failed(code || null, detail);
    }
    case 'failed':
    case 'expired':
      return failed(error?.code, error?.message);
    default:
      return null;
  }
}

const toText = (value: unknown): string | null =>
  typeof value === 'string' ? value.slice(0, MAX_TEXT_CHARS) : null;

interface Answer {
  readonly id?: unknown;
  readonly status?: unknown;
  readonly reason?: unknown;
  readonly error?: { readonly code?: unknown; readonly message?: unknown } | null;
  readonly result?: unknown;
  readonly duplicate?: unknown;
}
