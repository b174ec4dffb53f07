import type { AgentError } from '../../base/errors.ts';
import { type ErrorCode } from '../../base/errors.ts';
import type { InstallReason } from '../types.ts';

/**
 * Failures that lie in the bundle's bytes, so that the same bytes would fail again. Not among them: network, disk, trust
 * metadata (a new timestamp mends them), missing providers and hardware, and an operator's abort.
 */
const OF_THE_MODEL: ReadonlySet<ErrorCode> = new Set([
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

/** Whether the bundle is to be refused from now on. */
export const blamesModel = (code: ErrorCode): boolean => OF_THE_MODEL.has(code);

export const reasonOf = ({ code, message }: AgentError): InstallReason => ({ code, message });

/** A failure on one frame, and what it says of the model that failed. */
export type FrameFault =
  /** One is enough to send a model back. */
  | 'fatal'
  /** Counts against it. */
  | 'error'
  /** Of the picture, or of an end of the agent. */
  | 'none';

export function faultOf({ code }: AgentError): FrameFault {
  if (code.startsWith('image_') || code === 'vision_closed') return 'none';
  return code !== 'vision_busy' && blamesModel(code) ? 'fatal' : 'error';
}
