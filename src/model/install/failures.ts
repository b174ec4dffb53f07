import type { AgentError, ErrorCode } from '../../base/errors.ts';
import type { EventDraft } from '../../contract/states.ts';
import type { InstallRecord } from '../types.ts';

/**
 * Failures that the bytes of the bundle cause: another install of the same bytes would fail again. Failures with
 * another cause are not in this list, because a later attempt may succeed: network, disk, trust metadata (a new
 * timestamp corrects them), missing execution providers or hardware, and an abort.
 */
const BUNDLE_FAULTS: ReadonlySet<ErrorCode> = new Set([
  'model_manifest_invalid',
  'model_bundle_refused',
  'model_golden_mismatch',
  'model_out_of_memory',
  'model_candidate_failed',
  'model_probation_failed',
  'vision_crashed',
  'vision_timeout',
  'vision_start_failed',
  'vision_output_invalid',
]);

/** True when a bundle that failed with this code is refused in later installs. */
export const isBundleFault = (code: ErrorCode): boolean => BUNDLE_FAULTS.has(code);

/** What the failure of one frame means for the model that failed. */
export type FrameFailure =
  /** One such failure is enough: the model fails its probation. */
  | 'fatal'
  /** The failure is counted in the error rate of the model. */
  | 'counted'
  /** The image or the stop of the agent caused the failure, not the model. */
  | 'ignored';

export function classifyFrameFailure({ code }: AgentError): FrameFailure {
  if (code.startsWith('image_') || code === 'vision_closed') return 'ignored';
  return code !== 'vision_busy' && isBundleFault(code) ? 'fatal' : 'counted';
}

/** The fields that every event and every log line about an install has. */
export const installContext = (install: InstallRecord): Record<string, unknown> => ({
  update_id: install.updateId,
  name: install.name,
  version: install.version,
  digest: install.candidate?.digest ?? install.digest,
  phase: install.phase,
});

export type FailedEnd = 'failed' | 'rolled_back';

/**
 * The event of an install that failed. `install` is the record before the failure was stored, so that the event names
 * the phase that failed.
 */
export const failureEvent = (end: FailedEnd, install: InstallRecord, error: AgentError): EventDraft => ({
  type: `model_install_${end}`,
  severity: error.code === 'model_install_aborted' ? 'info' : 'error',
  code: error.code,
  message: error.message,
  context: { ...(error.code.startsWith('model_') ? error.context : {}), ...installContext(install) },
});
