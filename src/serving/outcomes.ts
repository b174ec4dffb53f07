import { asAgentError, type AgentError, type ErrorCode } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { LiveFrame, FrameOutcome } from '../model/types.ts';
import type { FrameResult } from '../vision/protocol.ts';

/** The error rate is computed over the last frames, at most this many. */
const MAX_KEPT_OUTCOMES = 100;
/**
 * Errors that the model or its process caused. Errors of the image, of the caller or of a full queue are not in this
 * list.
 */
const MODEL_ERRORS: readonly ErrorCode[] = [
  'vision_crashed',
  'vision_timeout',
  'vision_output_invalid',
  'vision_start_failed',
  'internal',
];

/**
 * Tells listeners the outcome of each frame. They use it to judge a model: on probation and when two models are
 * compared.
 */
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

  /**
   * Counts failures for this model from now on. Starts at zero for another model, but not when the same model only got
   * a new process.
   */
  countFor(digest: string): void {
    if (this.#digest !== digest) this.#recentFailures = [];
    this.#digest = digest;
  }

  /** Does not count a frame that the quality gate rejected, because the model never received that frame. */
  frameAnalyzed(digest: string, { heads, timingMs }: FrameResult): void {
    if (heads !== null) this.#record({ ok: true, inferenceMs: timingMs.inference, digest });
  }

  frameFailed(digest: string, error: AgentError): void {
    if (MODEL_ERRORS.includes(error.code)) this.#record({ ok: false, error, digest });
  }

  liveFrame(frame: LiveFrame): void {
    this.#notify(this.#liveListeners, frame);
  }

  #record(outcome: FrameOutcome): void {
    if (outcome.digest === this.#digest) {
      this.#recentFailures.push(!outcome.ok);
      if (this.#recentFailures.length > MAX_KEPT_OUTCOMES) this.#recentFailures.shift();
    }
    this.#notify(this.#outcomeListeners, outcome);
  }

  /** Logs the error of a listener, so that the error does not fail the frame. */
  #notify<T>(listeners: ReadonlySet<(value: T) => void>, value: T): void {
    for (const listener of listeners) {
      try {
        listener(value);
      } catch (thrown) {
        this.#log.error({ err: asAgentError(thrown) }, 'a listener for frame outcomes failed');
      }
    }
  }
}
