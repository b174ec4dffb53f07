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
  /** Libraries, driver or device are missing, or the provider refuses the model. */
  | { readonly type: 'unavailable'; readonly reason: string }
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

const MAX_REASON_CHARS = 200;

/**
 * Turns a message of a library into one line for operators: no paths, no control characters, no source positions, at
 * most `MAX_REASON_CHARS`. Messages of onnxruntime contain build directories, which must not leave the machine.
 */
export function toReasonLine(message: string): string {
  const line = message
    // Colour codes of native loggers.
    .replace(/\u001b\[[0-9;]*m/g, '')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    // An assertion of onnxruntime: source position, function and condition precede the message.
    .replace(/^.* was false\. /, '')
    // Keep the name of a library (libcudnn.so.9) and remove its directories.
    .replace(
      /(?:[A-Za-z]:\\|\\\\|\.{0,2}\/)(?:[^\s:'"()\\/]+[\\/])*([^\s:'"()\\/]*)/g,
      (_path, name: string) => (/\.(so|dylib|dll)\b/.test(name) ? name : '…'),
    )
    .replace(/…(:\d+)?(\s*…(:\d+)?)*/g, '…')
    .trim();
  if (line === '') return 'no reason given';
  return line.length <= MAX_REASON_CHARS ? line : `${line.slice(0, MAX_REASON_CHARS - 1)}…`;
}

/** The shared library that the dynamic loader did not find, from the output of the process. */
export function findMissingLibrary(stderr: string): string | null {
  const name = /([^\s/\\:]+\.so(?:\.\d+)*): cannot open shared object file/.exec(stderr)?.[1];
  return name === undefined ? null : `${name} is missing`;
}
