import { asAgentError, type AgentError, type ErrorCode } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { LiveFrame, Outcome } from '../model/types.ts';
import type { FrameResult } from '../vision/protocol.ts';

/** Answers that the error rate is of. */
const KEPT = 100;
/** The model or its process is at fault; not the picture, the caller or a full queue. */
const AT_FAULT: readonly ErrorCode[] = [
  'vision_crashed',
  'vision_timeout',
  'vision_output_invalid',
  'vision_start_failed',
  'internal',
];

/** What became of the frames, told to whoever judges a model by it. */
export class Outcomes {
  readonly #log: Log;
  readonly #ended = new Set<(outcome: Outcome) => void>();
  readonly #live = new Set<(frame: LiveFrame) => void>();
  #last: boolean[] = [];
  #digest: string | null = null;

  constructor(deps: { readonly log: Log }) {
    this.#log = deps.log;
  }

  onOutcome(listener: (outcome: Outcome) => void): () => void {
    this.#ended.add(listener);
    return () => this.#ended.delete(listener);
  }

  onLiveFrame(listener: (frame: LiveFrame) => void): () => void {
    this.#live.add(listener);
    return () => this.#live.delete(listener);
  }

  /** Failures among the last answers of the model that serves, 0..1; 0 before the first. */
  errorRate01(): number {
    return this.#last.length === 0 ? 0 : this.#last.filter((failed) => failed).length / this.#last.length;
  }

  /** From now on the rate is that of this model; it goes on where the same model serves from another process. */
  serves(digest: string): void {
    if (this.#digest !== digest) this.#last = [];
    this.#digest = digest;
  }

  /** A frame that the gate rejected never reached the model, and says nothing of it. */
  answered(digest: string, { heads, timingMs }: FrameResult): void {
    if (heads !== null) this.#tell(digest, { ok: true, inferenceMs: timingMs.inference, digest });
  }

  failed(digest: string, error: AgentError): void {
    if (AT_FAULT.includes(error.code)) this.#tell(digest, { ok: false, error, digest });
  }

  live(frame: LiveFrame): void {
    for (const listener of this.#live) this.#guarded(() => listener(frame));
  }

  #tell(digest: string, outcome: Outcome): void {
    if (digest === this.#digest) {
      this.#last.push(!outcome.ok);
      if (this.#last.length > KEPT) this.#last.shift();
    }
    for (const listener of this.#ended) this.#guarded(() => listener(outcome));
  }

  /** Who listens must not cost the frame its answer. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      this.#log.error({ err: asAgentError(thrown) }, 'a listener to the frames failed');
    }
  }
}
