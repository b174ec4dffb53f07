import { AgentError } from '../../base/errors.ts';
import { isFinalPhase } from '../../contract/model.ts';
import type { ModelRef } from '../../contract/observation.ts';
import { isBundleFault } from './failures.ts';
import type { InstallRecord, InstallRequest, RefusedDigest, SlotRef, SlotsState } from '../types.ts';

/*
 * The transitions of the install state machine, as pure functions of the stored state. Each returns one complete state:
 * after a power cut the disk has either the state before the transition or the state after it. install-run.ts decides
 * which transition comes next.
 */

/** The install that has not ended yet; null without one. */
export function currentInstall({ install }: SlotsState): InstallRecord | null {
  return install === null || isFinalPhase(install.phase) ? null : install;
}

/** Starts an install in phase `requested`. `clearFailed` deletes an earlier refusal of the same bundle. */
export function beginInstall(
  state: SlotsState,
  request: InstallRequest,
  { clearFailed, nowMs }: { readonly clearFailed: boolean; readonly nowMs: number },
): SlotsState {
  const { updateId, name, version, digest, source } = request;
  return {
    ...state,
    candidate: null,
    install: {
      updateId,
      name,
      version,
      digest,
      source,
      phase: 'requested',
      reason: null,
      startedAtMs: nowMs,
      phaseAtMs: nowMs,
      bytes: 0,
      totalBytes: null,
      candidate: null,
      trusted: false,
      shadow: null,
      probation: null,
      attempts: 1,
      former: null,
    },
    refused: clearFailed ? state.refused.filter((refused) => !isRefusalOf(refused, request)) : state.refused,
  };
}

/**
 * Finds the stored refusal of the requested bundle: by its digest, or by name and version when the request has no
 * digest.
 */
export function findRefusal(state: SlotsState, request: InstallRequest): RefusedDigest | null {
  return state.refused.find((refused) => isRefusalOf(refused, request)) ?? null;
}

function isRefusalOf(refused: RefusedDigest, { name, version, digest }: InstallRequest): boolean {
  return digest === null ? refused.name === name && refused.version === version : refused.digest === digest;
}

/** Changes the record of the current install. A new phase starts with attempt 1. Throws `model_install_none`. */
export function updateInstall(state: SlotsState, change: Partial<InstallRecord>, nowMs: number): SlotsState {
  const install = requireCurrent(state);
  const next = { ...install, ...change };
  if (next.phase !== install.phase) return { ...state, install: { ...next, phaseAtMs: nowMs, attempts: 1 } };
  return { ...state, install: next };
}

/** `verifying` -> `testing`: puts the verified bundle into the candidate slot. */
export function beginTesting(state: SlotsState, ref: SlotRef, nowMs: number): SlotsState {
  const { trusted } = ref;
  const next = updateInstall(state, { phase: 'testing', candidate: plainRef(ref), trusted }, nowMs);
  return { ...next, candidate: ref };
}

/**
 * `shadow` -> `probation`, the swap: the candidate becomes active, and the active model becomes previous. `former`
 * keeps the slots as they were before the swap.
 */
export function beginProbation(
  state: SlotsState,
  options: { readonly factory: ModelRef; readonly formerErrorRate01: number; readonly nowMs: number },
): SlotsState {
  const { active, previous, candidate } = state;
  if (candidate === null) throw new AgentError('internal', 'no candidate to swap in');
  const { factory, formerErrorRate01, nowMs } = options;
  const probation = { answers: 0, failures: 0, failedStarts: 0, elapsedMs: 0, formerErrorRate01 };
  const next = updateInstall(state, { phase: 'probation', probation, former: { active, previous } }, nowMs);
  // The candidate may already be the active model: a model that could not be started may be installed again.
  if (active?.digest === candidate.digest) return { ...next, active: candidate, candidate: null };
  return { ...next, active: candidate, previous: active ?? factorySlot(factory), candidate: null };
}

/** Ends the install with success: its model continues to serve. */
export function commitInstall(state: SlotsState, nowMs: number): SlotsState {
  return { ...updateInstall(state, { phase: 'committed', former: null }, nowMs), candidate: null };
}

/**
 * Ends an install that failed before the swap. The active and previous slots do not change. If the bundle caused the
 * failure, later installs of it are refused.
 */
export function failInstall(state: SlotsState, error: AgentError, nowMs: number): SlotsState {
  return endInstall(state, 'failed', error, nowMs);
}

/**
 * Ends an install that failed after the swap: the active and previous slots become as they were before the swap.
 * Refuses the bundle as `failInstall` does.
 */
export function rollBackInstall(state: SlotsState, error: AgentError, nowMs: number): SlotsState {
  const former = requireCurrent(state).former ?? { active: state.previous, previous: null };
  return { ...endInstall(state, 'rolled_back', error, nowMs), ...former };
}

function endInstall(
  state: SlotsState,
  phase: 'failed' | 'rolled_back',
  error: AgentError,
  nowMs: number,
): SlotsState {
  const reason = { code: error.code, message: error.message };
  const next = updateInstall(state, { phase, reason, former: null }, nowMs);
  const refused = refusedAfter(state, error, nowMs);
  return { ...next, candidate: null, refused };
}

/** The list of refused bundles. Adds the bundle of the current install if its bytes caused `error`. */
function refusedAfter(state: SlotsState, error: AgentError, nowMs: number): readonly RefusedDigest[] {
  const install = requireCurrent(state);
  const digest = install.candidate?.digest ?? install.digest;
  if (digest === null || !isBundleFault(error.code)) return state.refused;
  const { name, version } = install.candidate ?? install;
  const others = state.refused.filter((refused) => refused.digest !== digest);
  return [...others, { name, version, digest, code: error.code, atMs: nowMs }];
}

/**
 * A rollback by the operator: `to` becomes the active model. The model that it leaves is not wanted, so it does not become
 * the previous one: a second rollback never returns to it.
 */
export const returnTo = (state: SlotsState, to: SlotRef, factory: ModelRef): SlotsState => ({
  ...state,
  active: to.digest === factory.digest ? null : to,
  previous: null,
});

/** The factory bundle as content of a slot. Only the active slot stores null for it instead. */
export const factorySlot = (factory: ModelRef): SlotRef => ({ ...plainRef(factory), trusted: true });

/** Name, version and digest, without further properties. */
export const plainRef = ({ name, version, digest }: ModelRef): ModelRef => ({ name, version, digest });

function requireCurrent(state: SlotsState): InstallRecord {
  const install = currentInstall(state);
  if (install === null) throw new AgentError('model_install_none', 'there is no current install');
  return install;
}
