import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { classifyFrameFailure } from './failures.ts';
import type { ProbationLimits } from './types.ts';
import type { InstallRecord, ModelHost, FrameOutcome } from '../types.ts';

export type ProbationCounts = NonNullable<InstallRecord['probation']>;

export interface ProbationDeps {
  readonly host: ModelHost;
  readonly clock: Clock;
  /** Returns the configured limits, which may change during the probation. */
  readonly limits: () => ProbationLimits;
  /** Called at least every 30 s and at the end, so that a restart can resume the counts. Must not throw. */
  readonly onCounts: (counts: ProbationCounts) => void;
}

/** The error rate is compared only after this many frames, and only when this many frames have failed. */
const MIN_FRAMES = 10;
const MIN_FAILURES = 3;
/** Longest interval between two reports. A power cut loses at most this much of the elapsed time. */
const REPORT_INTERVAL_MS = 30_000;

/**
 * Watches the frames of a new model that serves on probation. The model passes after enough answered observations and
 * enough time on the monotonic clock. It fails on one crash, one timeout or one invalid output, and when its error rate
 * is higher than that of the former model.
 */
export class Probation {
  readonly #digest: string;
  readonly #deps: ProbationDeps;
  #counts: ProbationCounts;
  #sinceMonoMs: number;
  #failure: AgentError | null = null;
  #wakeUp = new AbortController();
  readonly #stopListening: () => void;

  /** Starts to count at once. */
  constructor(digest: string, counts: ProbationCounts, deps: ProbationDeps) {
    this.#digest = digest;
    this.#counts = counts;
    this.#deps = deps;
    this.#sinceMonoMs = deps.clock.monoMs();
    this.#stopListening = deps.host.onOutcome((outcome) => this.#count(outcome));
  }

  /** Resolves when the model has passed; rejects with `model_probation_failed`, or when the signal fires. Call it once. */
  async waitUntilPassed(signal: AbortSignal): Promise<void> {
    const { clock, limits } = this.#deps;
    try {
      for (;;) {
        signal.throwIfAborted();
        if (this.#failure !== null) throw this.#failure;
        this.#addElapsed();
        const { observations, minutes } = limits();
        const leftMs = minutes * 60_000 - (this.#counts.elapsedMs ?? 0);
        if (leftMs <= 0 && this.#counts.answers >= observations) return;
        this.#wakeUp = new AbortController();
        const wake = AbortSignal.any([signal, this.#wakeUp.signal]);
        await clock
          .sleep(leftMs > 0 ? Math.min(leftMs, REPORT_INTERVAL_MS) : REPORT_INTERVAL_MS, wake)
          .catch(() => undefined);
      }
    } finally {
      this.close();
    }
  }

  close(): void {
    this.#stopListening();
    this.#addElapsed();
  }

  /** Adds the time since the last call to the elapsed time, and reports the counts. */
  #addElapsed(): void {
    const nowMonoMs = this.#deps.clock.monoMs();
    const elapsedMs = (this.#counts.elapsedMs ?? 0) + nowMonoMs - this.#sinceMonoMs;
    this.#sinceMonoMs = nowMonoMs;
    this.#counts = { ...this.#counts, elapsedMs };
    this.#deps.onCounts(this.#counts);
  }

  #count(outcome: FrameOutcome): void {
    if (outcome.digest !== this.#digest || this.#failure !== null) return;
    if (outcome.ok) {
      this.#counts = { ...this.#counts, answers: this.#counts.answers + 1 };
      if (this.#counts.answers === this.#deps.limits().observations) this.#wakeUp.abort();
      return;
    }
    const { error } = outcome;
    const failure = classifyFrameFailure(error);
    if (failure === 'ignored') return;
    this.#counts = { ...this.#counts, failures: this.#counts.failures + 1 };
    const reason = failure === 'fatal' ? `${error.code}: ${error.message}` : this.#describeHighErrorRate();
    if (reason === null) return;
    this.#failure = new AgentError('model_probation_failed', `the new model failed on probation: ${reason}`, {
      context: { code: error.code, ...this.#counts },
      cause: error,
    });
    this.#wakeUp.abort();
  }

  /** Describes an error rate that is too high; null while the error rate is acceptable. */
  #describeHighErrorRate(): string | null {
    const { answers, failures, formerErrorRate01 = 0 } = this.#counts;
    const frames = answers + failures;
    if (frames < MIN_FRAMES || failures < MIN_FAILURES || failures / frames <= formerErrorRate01) return null;
    return `${String(failures)} of ${String(frames)} frames failed, a higher rate than with the former model`;
  }
}
