import type { ErrorCode } from '../../base/errors.ts';
import type { Bundle } from '../../model/manifest.ts';

/** One provider with one thread count: the options of a session. */
export interface Plan {
  /** onnxruntime's name: cpu, cuda, tensorrt, webgpu, coreml, dml, … */
  readonly provider: string;
  /** Intra-op threads, 1 or more. */
  readonly threads: number;
}

export interface TrialRequest extends Plan {
  readonly bundle: Bundle;
  /** Maximum number of timed runs; a slow provider gets fewer. */
  readonly runs: number;
}

/** The request that the trial process receives. */
export interface TrialOrder extends TrialRequest {
  /** Resident memory at which the process kills itself, MiB; its parent cannot measure it on every platform. */
  readonly hardRssMb: number;
}

/** The installed onnxruntime. */
export interface Runtime {
  readonly version: string;
  /** The providers that this build contains; their libraries may still be missing. */
  readonly backends: readonly string[];
}

/** The result of one trial. Every `reason` is one line without paths. The agent stores `type`: do not rename a value. */
export type TrialOutcome =
  | {
      readonly type: 'right';
      /** Median time of the timed runs of all stages, ms. */
      readonly medianMs: number;
      readonly runs: number;
      /** Time to open the session, ms. */
      readonly openMs: number;
      /** Time of the golden runs, which compile kernels on a GPU, ms. */
      readonly firstRunMs: number;
    }
  | { readonly type: 'not_built_in'; readonly reason: string }
  /** Libraries, driver or device are missing, or the provider does not open or run the model, for the reason `code`. */
  | { readonly type: 'unavailable'; readonly reason: string; readonly code?: ErrorCode }
  /** It ran, but did not reproduce the golden outputs. */
  | { readonly type: 'wrong'; readonly reason: string }
  | { readonly type: 'crashed'; readonly reason: string }
  | { readonly type: 'hung'; readonly reason: string }
  | { readonly type: 'too_big'; readonly reason: string };

/** Messages of the trial process. It sends the runtime first, because the next step may crash the process. */
export type TrialMessage =
  | { readonly type: 'runtime'; readonly runtime: Runtime }
  | { readonly type: 'outcome'; readonly outcome: TrialOutcome };

export interface TrialResult {
  readonly outcome: TrialOutcome;
  /** Null if the process died before it sent its runtime. */
  readonly runtime: Runtime | null;
}

/** Runs one trial. Rejects only with the reason of the signal; a crash or hang is an outcome, not an error. */
export type TrialRunner = (request: TrialRequest, signal: AbortSignal) => Promise<TrialResult>;

/** The shared library that the dynamic loader did not find, from the output of the process. */
export function findMissingLibrary(stderr: string): string | null {
  const name = /([^\s/\\:]+\.so(?:\.\d+)*): cannot open shared object file/.exec(stderr)?.[1];
  return name === undefined ? null : `${name} is missing`;
}
