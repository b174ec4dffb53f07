import { ERROR_CODES, type ErrorCode } from '../base/errors.ts';
import { isFinalUpdatePhase, type UpdatePhase } from '../contract/agent-update.ts';
import type { EventDraft } from '../contract/states.ts';
import type { UpdaterState } from '../contract/update-files.ts';
import type { UpdateReason, UpdateRecord, WantedUpdate } from './types.ts';

/* The transitions of the record of an update, as pure functions. */

export function beginUpdate(wanted: WantedUpdate, id: string, nowMs: number): UpdateRecord {
  const { action, automatic, version, digest, source, ids } = wanted;
  return {
    format: 1,
    id,
    action,
    automatic,
    version,
    digest,
    source,
    commandId: ids?.commandId ?? null,
    phase: 'requested',
    reason: null,
    startedAtMs: nowMs,
    phaseAtMs: nowMs,
    bytes: 0,
    totalBytes: null,
  };
}

export function toPhase(
  record: UpdateRecord,
  phase: UpdatePhase,
  nowMs: number,
  change: Partial<UpdateRecord> = {},
): UpdateRecord {
  return { ...record, ...change, phase, phaseAtMs: record.phase === phase ? record.phaseAtMs : nowMs };
}

export const isUnderWay = (record: UpdateRecord | null): record is UpdateRecord =>
  record !== null && !isFinalUpdatePhase(record.phase);

/**
 * The record after what the updater reports about it; the same object when nothing changed. A record that the agent
 * itself still works on does not change.
 */
export function followUpdater(record: UpdateRecord, state: UpdaterState, nowMs: number): UpdateRecord {
  if (record.phase !== 'installing' && record.phase !== 'trial') return record;
  const { last_result: result, trial, last_request: lastRequest } = state;
  const { action, digest } = record;
  // A rollback that ends a trial has no result of its own: the result is the one of the trial.
  const isReturned = action === 'rollback' && lastRequest === record.id && state.running.digest === digest;
  if (isReturned && trial === null && result?.status === 'returned')
    return toPhase(record, 'committed', nowMs);
  if (result?.id === record.id) {
    if (result.status === 'committed') return toPhase(record, 'committed', nowMs);
    const reason = { code: toErrorCode(result.code), message: result.message };
    return toPhase(record, result.status === 'returned' ? 'returned' : 'failed', nowMs, { reason });
  }
  if (trial?.id === record.id) return record.phase === 'trial' ? record : toPhase(record, 'trial', nowMs);
  // The updater handled the request, and its result was replaced by the result of another request.
  const isLost = record.phase === 'trial' || lastRequest === record.id;
  if (!isLost || state.working?.id === record.id) return record;
  const reason = { code: 'command_interrupted', message: 'the result of the update is lost' } as const;
  return toPhase(record, 'failed', nowMs, { reason });
}

/** The end of an update during whose trial somebody asked for a rollback. */
export const toReplaced = (record: UpdateRecord, nowMs: number): UpdateRecord =>
  toPhase(record, 'returned', nowMs, {
    reason: { code: 'command_interrupted', message: 'a rollback replaced the update' },
  });

/** True when the updater knows nothing of the request, so that it must be written again. */
export const isUnknownToUpdater = ({ id }: UpdateRecord, state: UpdaterState): boolean =>
  state.last_request !== id &&
  state.working?.id !== id &&
  state.trial?.id !== id &&
  state.last_result?.id !== id;

/** The updater may be newer than the agent and have other codes. */
const toErrorCode = (code: string | null): ErrorCode =>
  code !== null && Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'update_rejected';

const contextOf = ({ id, version, digest, action }: UpdateRecord): Record<string, unknown> => ({
  update_id: id,
  version,
  digest: digest === null ? null : `sha256:${digest}`,
  action,
});

export const startedEvent = (record: UpdateRecord): EventDraft => ({
  type: 'agent_update_started',
  severity: 'info',
  code: 'agent_update_started',
  message:
    record.action === 'rollback'
      ? `The agent returns to version ${record.version}.`
      : `Version ${record.version} of the agent is being installed.`,
  context: { ...contextOf(record), automatic: record.automatic },
});

/** The event of an update that ended. `before`: the record before its end, which names the phase that failed. */
export function endEvent(record: UpdateRecord, before: UpdateRecord): EventDraft {
  if (record.phase === 'committed')
    return {
      type: 'agent_update_committed',
      severity: 'info',
      code: 'agent_update_committed',
      message: `Version ${record.version} of the agent is confirmed.`,
      context: contextOf(record),
    };
  const { code, message }: UpdateReason = record.reason ?? {
    code: 'update_rejected',
    message: 'the update failed',
  };
  const common = { code, message, context: { ...contextOf(record), phase: before.phase } };
  return record.phase === 'returned'
    ? { type: 'agent_update_returned', severity: 'error', ...common }
    : { type: 'agent_update_failed', severity: 'error', ...common };
}
