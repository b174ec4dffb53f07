import type { InstallPhase } from '../../contract/model.ts';
import type { ModelRef } from '../../contract/observation.ts';
import { AgentError } from '../../base/errors.ts';
import { blamesModel, reasonOf } from './faults.ts';
import type {
  InstallReason,
  InstallRecord,
  InstallRequest,
  RefusedDigest,
  ShadowReport,
  SlotRef,
  SlotsState,
} from '../types.ts';

/* Changes of the slots, each one a whole: what is stored is the state before or after it. */

const ENDS: readonly InstallPhase[] = ['committed', 'failed', 'rolled_back'];

/** The install that is not at its end, if there is one. */
export function inHand(state: SlotsState): InstallRecord | null {
  const { install } = state;
  return install === null || ENDS.includes(install.phase) ? null : install;
}

/** A new install, and what an operator clears by asking for it. */
export function begun(
  state: SlotsState,
  request: InstallRequest,
  options: { readonly clearFailed: boolean; readonly nowMs: number },
): SlotsState {
  const { updateId, name, version, digest, source } = request;
  const { clearFailed, nowMs } = options;
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
    refused: clearFailed ? state.refused.filter((one) => !isOf(one, request)) : state.refused,
  };
}

/** The bundle that failed here and that is asked for again: by its digest, or by its name where none was said. */
export function refusedBefore(state: SlotsState, request: InstallRequest): RefusedDigest | null {
  return state.refused.find((one) => isOf(one, request)) ?? null;
}

function isOf(refused: RefusedDigest, { name, version, digest }: InstallRequest): boolean {
  return digest === null ? refused.name === name && refused.version === version : refused.digest === digest;
}

/** The install in hand goes on; the phase's count of attempts begins anew with the phase. */
export function changed(state: SlotsState, change: Partial<InstallRecord>, nowMs: number): SlotsState {
  const install = mustBeInHand(state);
  const next = { ...install, ...change };
  if (next.phase !== install.phase) return { ...state, install: { ...next, phaseAtMs: nowMs, attempts: 1 } };
  return { ...state, install: next };
}

/** Verified: the bundle has its slot. */
export function verified(state: SlotsState, ref: SlotRef, nowMs: number): SlotsState {
  const { trusted } = ref;
  const next = changed(state, { phase: 'testing', candidate: plain(ref), trusted }, nowMs);
  return { ...next, candidate: ref };
}

/** The candidate takes the active slot, and is on probation. */
export function swapped(
  state: SlotsState,
  options: { readonly factory: ModelRef; readonly formerErrorRate01: number; readonly nowMs: number },
): SlotsState {
  const { active, previous, candidate } = state;
  if (candidate === null) throw new AgentError('internal', 'there is no candidate to swap in');
  const { formerErrorRate01, nowMs } = options;
  const probation = { answers: 0, failures: 0, failedStarts: 0, elapsedMs: 0, formerErrorRate01 };
  const next = changed(state, { phase: 'probation', probation, former: { active, previous } }, nowMs);
  // The active one may be installed anew, when it could not be started.
  if (active?.digest === candidate.digest) return { ...next, active: candidate, candidate: null };
  return { ...next, active: candidate, previous: active ?? shipped(options.factory), candidate: null };
}

/** A good end: of an install whose model serves. */
export function committed(state: SlotsState, nowMs: number): SlotsState {
  return { ...changed(state, { phase: 'committed', former: null }, nowMs), candidate: null };
}

/** A bad end before the swap. */
export function failed(state: SlotsState, reason: InstallReason, nowMs: number): SlotsState {
  return { ...changed(state, { phase: 'failed', reason, former: null }, nowMs), candidate: null };
}

/** A bad end after the swap: every slot is as it was before. */
function returned(state: SlotsState, reason: InstallReason, nowMs: number): SlotsState {
  const former = mustBeInHand(state).former ?? { active: state.previous, previous: null };
  const next = changed(state, { phase: 'rolled_back', reason, former: null }, nowMs);
  return { ...next, ...former, candidate: null };
}

/** The same, for a failure that the bundle may be to blame for. */
export const sentBack = (state: SlotsState, error: AgentError, nowMs: number): SlotsState =>
  returned(blaming(state, error, nowMs), reasonOf(error), nowMs);

/** Active and previous change places. `to` serves; null is the shipped one. */
export function rolledBack(state: SlotsState, to: SlotRef | null, factory: ModelRef): SlotsState {
  return { ...state, active: unlessShipped(to, factory), previous: state.active ?? shipped(factory) };
}

/** The bundle of the install is refused from now on, where it is to blame for the failure. */
export function blaming(state: SlotsState, error: AgentError, nowMs: number): SlotsState {
  const install = mustBeInHand(state);
  const digest = install.candidate?.digest ?? install.digest;
  if (digest === null || !blamesModel(error.code)) return state;
  const { name, version } = install.candidate ?? install;
  const others = state.refused.filter((one) => one.digest !== digest);
  return { ...state, refused: [...others, { name, version, digest, code: error.code, atMs: nowMs }] };
}

export function shadowed(
  state: SlotsState,
  shadow: ShadowReport,
  warning: InstallReason | null,
  nowMs: number,
): SlotsState {
  return changed(state, { shadow, reason: warning }, nowMs);
}

/** The shipped bundle as a slot's content. */
export const shipped = ({ name, version, digest }: ModelRef): SlotRef => ({
  name,
  version,
  digest,
  trusted: true,
});

/** In the active slot the shipped bundle is written as null. */
const unlessShipped = (ref: SlotRef | null, factory: ModelRef): SlotRef | null =>
  ref?.digest === factory.digest ? null : ref;

export const plain = ({ name, version, digest }: ModelRef): ModelRef => ({ name, version, digest });

function mustBeInHand(state: SlotsState): InstallRecord {
  const install = inHand(state);
  if (install === null) throw new AgentError('model_install_none', 'no install is in hand');
  return install;
}
