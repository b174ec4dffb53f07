import type { Bundle } from '../../model/manifest.ts';

/** One provider with one thread count: what a session is opened with. */
export interface Plan {
  /** onnxruntime's name: cpu, cuda, tensorrt, webgpu, coreml, dml, … */
  readonly provider: string;
  /** Intra-op threads, 1 or more. */
  readonly threads: number;
}

export interface TrialRequest extends Plan {
  readonly bundle: Bundle;
  /** Timed runs at most; a slow provider gets fewer. */
  readonly runs: number;
}

/** The request as the trial process gets it. */
export interface TrialOrder extends TrialRequest {
  /** Resident size at which the process ends itself, MiB: where nobody else can watch it. */
  readonly hardRssMb: number;
}

/** What the installed onnxruntime is. */
export interface Runtime {
  readonly version: string;
  /** The providers that it was built with; their libraries may still be missing. */
  readonly backends: readonly string[];
}

/** How one attempt ended. Every `reason` is one line without paths. */
export type TrialOutcome =
  | {
      readonly type: 'right';
      /** Median of the timed runs of all stages, ms. */
      readonly medianMs: number;
      readonly runs: number;
      /** Opening the session, ms. */
      readonly openMs: number;
      /** The first run, which compiles kernels on a GPU, ms. */
      readonly firstRunMs: number;
    }
  | { readonly type: 'not_built_in'; readonly reason: string }
  /** Libraries, driver or device are missing; or the provider refuses the model. */
  | { readonly type: 'unavailable'; readonly reason: string }
  /** It ran, but not to the golden outputs. */
  | { readonly type: 'wrong'; readonly reason: string }
  | { readonly type: 'crashed'; readonly reason: string }
  | { readonly type: 'hung'; readonly reason: string }
  | { readonly type: 'too_big'; readonly reason: string };

/** Messages of the trial process: the runtime first, since what follows may kill it. */
export type TrialMessage =
  | { readonly type: 'runtime'; readonly runtime: Runtime }
  | { readonly type: 'outcome'; readonly outcome: TrialOutcome };

export interface TrialResult {
  readonly outcome: TrialOutcome;
  /** Null when the process died before it could say. */
  readonly runtime: Runtime | null;
}

/** Rejects only with the AbortError of the signal: every other end is an outcome. */
export type TrialRunner = (request: TrialRequest, signal: AbortSignal) => Promise<TrialResult>;
