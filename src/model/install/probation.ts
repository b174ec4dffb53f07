import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { faultOf } from './faults.ts';
import type { ProbationOptions } from './types.ts';
import type { InstallRecord, ModelHost, Outcome } from '../types.ts';

export type ProbationCounts = NonNullable<InstallRecord['probation']>;

export interface ProbationDeps {
  readonly host: ModelHost;
  readonly clock: Clock;
  /** Told from time to time, and when the watch ends: what a restart goes on from. Must not throw. */
  readonly onCounts: (counts: ProbationCounts) => void;
}

/** An error rate is judged from so many frames, of which so many failed. */
const MIN_FRAMES = 10;
const MIN_ERRORS = 3;
/** What a power cut may take from the counts. */
const TELL_EVERY_MS = 30_000;

/**
 * Watches the frames of a new model at work. It passes when enough answers and enough time on the monotonic clock have
 * passed. One crash, time-out or unusable answer fails it, and so does an error rate above the former model's.
 */
export class Probation {
  readonly #digest: string;
  readonly #limits: () => ProbationOptions;
  readonly #deps: ProbationDeps;
  #counts: ProbationCounts;
  #formerHasGone = false;
  #sinceMonoMs: number;
  #failure: AgentError | null = null;
  #changed = new AbortController();
  readonly #stopListening: () => void;

  /** Listens from now on: the former model may still be finishing frames. */
  constructor(digest: string, counts: ProbationCounts, limits: () => ProbationOptions, deps: ProbationDeps) {
    this.#digest = digest;
    this.#counts = counts;
    this.#limits = limits;
    this.#deps = deps;
    this.#sinceMonoMs = deps.clock.monoMs();
    this.#stopListening = deps.host.onOutcome((outcome) => this.#count(outcome));
  }

  /** Every frame is the new model's from now on. */
  formerHasGone(): void {
    this.#formerHasGone = true;
  }

  /** Resolves when it has passed; rejects with `model_probation_failed`, or when the signal fires. Once. */
  async passed(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    try {
      for (;;) {
        signal.throwIfAborted();
        if (this.#failure !== null) throw this.#failure;
        this.#pass();
        const { observations, minutes } = this.#limits();
        const leftMs = minutes * 60_000 - (this.#counts.elapsedMs ?? 0);
        if (leftMs <= 0 && this.#counts.answers >= observations) return;
        this.#changed = new AbortController();
        const wake = AbortSignal.any([signal, this.#changed.signal]);
        await clock
          .sleep(leftMs > 0 ? Math.min(leftMs, TELL_EVERY_MS) : TELL_EVERY_MS, wake)
          .catch(() => undefined);
      }
    } finally {
      this.close();
    }
  }

  close(): void {
    this.#stopListening();
    this.#pass();
  }

  /** Time since the last look is counted and told. */
  #pass(): void {
    const nowMs = this.#deps.clock.monoMs();
    const elapsedMs = (this.#counts.elapsedMs ?? 0) + nowMs - this.#sinceMonoMs;
    this.#sinceMonoMs = nowMs;
    this.#counts = { ...this.#counts, elapsedMs };
    this.#deps.onCounts(this.#counts);
  }

  #count(outcome: Outcome): void {
    const isOurs = outcome.digest === undefined ? this.#formerHasGone : outcome.digest === this.#digest;
    if (!isOurs || this.#failure !== null) return;
    if (outcome.ok) {
      this.#counts = { ...this.#counts, answers: this.#counts.answers + 1 };
      if (this.#counts.answers === this.#limits().observations) this.#changed.abort();
      return;
    }
    const fault = faultOf(outcome.error);
    if (fault === 'none') return;
    this.#counts = { ...this.#counts, failures: this.#counts.failures + 1 };
    const why = fault === 'fatal' ? `${outcome.error.code}: ${outcome.error.message}` : this.#tooMany();
    if (why === null) return;
    this.#failure = new AgentError('model_probation_failed', `the new model failed at work: ${why}`, {
      context: { code: outcome.error.code, ...this.#counts },
      cause: outcome.error,
    });
    this.#changed.abort();
  }

  #tooMany(): string | null {
    const { answers, failures, formerErrorRate01 = 0 } = this.#counts;
    const frames = answers + failures;
    if (frames < MIN_FRAMES || failures < MIN_ERRORS || failures / frames <= formerErrorRate01) return null;
    return `${String(failures)} of ${String(frames)} frames failed, more than of the former model`;
  }
}
