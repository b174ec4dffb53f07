import { asAgentError, type AgentError, type ErrorCode } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { LiveFrame, FrameOutcome } from '../model/types.ts';
import type { FrameResult } from '../vision/protocol.ts';

/** The error rate covers this many frames. */
const MAX_KEPT_OUTCOMES = 100;
/** Errors that the model or its process caused, not the image, the caller or a full queue. */
const MODEL_ERRORS: readonly ErrorCode[] = [
  'vision_crashed',
  'vision_timeout',
  'vision_output_invalid',
  'vision_start_failed',
  'internal',
];

/** The outcome of each frame, for listeners that judge a model by it (probation, shadow comparison). */
export class Outcomes {
  readonly #log: Log;
  readonly #outcomeListeners = new Set<(outcome: FrameOutcome) => void>();
  readonly #liveListeners = new Set<(frame: LiveFrame) => void>();
  #recentFailures: boolean[] = [];
  #digest: string | null = null;

  constructor(deps: { readonly log: Log }) {
    this.#log = deps.log;
  }

  onOutcome(listener: (outcome: FrameOutcome) => void): () => void {
    this.#outcomeListeners.add(listener);
    return () => this.#outcomeListeners.delete(listener);
  }

  onLiveFrame(listener: (frame: LiveFrame) => void): () => void {
    this.#liveListeners.add(listener);
    return () => this.#liveListeners.delete(listener);
  }

  /** Share of failures among the last frames of the current model, 0..1; 0 before the first frame. */
  errorRate01(): number {
    const recent = this.#recentFailures;
    return recent.length === 0 ? 0 : recent.filter((hasFailed) => hasFailed).length / recent.length;
  }

  /** Counts the error rate for this model from now on; keeps the count when only its process is new. */
  countFor(digest: string): void {
    if (this.#digest !== digest) this.#recentFailures = [];
    this.#digest = digest;
  }

  /** Ignores a frame that the quality gate rejected: the model never saw it. */
  frameAnalyzed(digest: string, { heads, timingMs }: FrameResult): void {
    if (heads !== null) this.#record({ ok: true, inferenceMs: timingMs.inference, digest });
  }

  frameFailed(digest: string, error: AgentError): void {
    if (MODEL_ERRORS.includes(error.code)) this.#record({ ok: false, error, digest });
  }

  liveFrame(frame: LiveFrame): void {
    for (const listener of this.#liveListeners) this.#callSafely(() => listener(frame));
  }

  #record(outcome: FrameOutcome): void {
    if (outcome.digest === this.#digest) {
      this.#recentFailures.push(!outcome.ok);
      if (this.#recentFailures.length > MAX_KEPT_OUTCOMES) this.#recentFailures.shift();
    }
    for (const listener of this.#outcomeListeners) this.#callSafely(() => listener(outcome));
  }

  /** A throwing listener must not fail the frame. */
  #callSafely(call: () => void): void {
    try {
      call();
    } catch (thrown) {
      this.#log.error({ err: asAgentError(thrown) }, 'frame listener failed');
    }
  }
}
