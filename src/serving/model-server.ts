import { AgentError, asAgentError } from '../base/errors.ts';
import { Backoff } from '../base/retry.ts';
import { settleAll } from '../base/settle-all.ts';
import type { Settings } from '../config/schema.ts';
import type { ModelRef } from '../contract/observation.ts';
import { openBundle } from '../model/bundle/bundle.ts';
import type { Bundle } from '../model/manifest.ts';
import type { Candidate, LiveFrame, ModelHost, FrameOutcome } from '../model/types.ts';
import type { PlanSource } from '../vision/plan-choice.ts';
import type { ModelLease, ProviderReport, VisionStats } from '../vision/protocol.ts';
import { ProviderLadder } from '../vision/providers/select-provider.ts';
import { Boot, type BootDeps, type BootOptions } from './boot.ts';
import { memoryForCandidate } from './candidate-limits.ts';
import { ProvedCandidate, proveCandidate, type CandidateDeps, type ProofStep } from './candidate.ts';
import { CurrentModel } from './current-model.ts';
import { Outcomes } from './outcomes.ts';
import { modelRefOf, ServedModel, type ChosenBundle } from './served-model.ts';

export interface ModelServerOptions extends BootOptions {
  readonly model: Settings['model'];
  readonly inference: Settings['inference'];
}

export interface ModelServerDeps extends BootDeps, CandidateDeps {
  /** Called between two frames, after another bundle has replaced the current one. */
  readonly onBundle: () => void;
  /** Prepares for a new bundle. The server waits for it before the new bundle replaces the current one. */
  readonly beforeBundle?: (bundle: Bundle) => Promise<void>;
}

/** After this many failed starts in a row, the server tries the next bundle. */
const MAX_FAILED_STARTS = 2;
const START_RETRY = { minMs: 2_000, maxMs: 300_000, resetAfterMs: 60_000 };

/**
 * Decides which model serves (analyses the frames), on which execution provider and in which process, and replaces that
 * model by another one. Callers reach the model only through `lease()`.
 *
 * INVARIANTS
 * - One model per observation: a lease is the right of one observation to use a model, and the model runs until the
 *   lease ends.
 * - Swap only between observations: a model becomes the current one only after its process has started and has
 *   reproduced the golden outputs of the bundle. `onBundle` is called in the same step.
 * - Swaps run one after another; after a failed swap the former model continues to serve.
 */
export class ModelServer implements ModelHost {
  readonly #options: ModelServerOptions;
  readonly #deps: ModelServerDeps;
  readonly #outcomes: Outcomes;
  readonly #boot: Boot;
  readonly #current: CurrentModel;
  readonly #stop = new AbortController();
  /** The bundle that was opened to serve. Its process may not run yet. */
  #chosen: ChosenBundle | null = null;
  /** Every object that owns a vision process. `close` closes all of them. */
  readonly #processes = new Set<{ close(): Promise<void> }>();
  #lastSwap: Promise<unknown> = Promise.resolve();

  constructor(options: ModelServerOptions, deps: ModelServerDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#outcomes = new Outcomes(deps);
    this.#current = new CurrentModel(options.inference, {
      clock: deps.clock,
      outcomes: this.#outcomes,
      openedBundle: () => this.bundle,
    });
    this.#boot = new Boot(options, deps);
  }

  /**
   * Opens the bundle that should serve. If that fails, opens the next bundle of the order in `Boot`. Throws only when
   * even the shipped bundle cannot be opened.
   */
  async open(signal: AbortSignal): Promise<void> {
    this.#chosen = await this.#boot.openBest(signal);
  }

  /**
   * Resolves when a model serves. Retries without limit, because a board that is overloaded at boot must get a model in
   * the end. Tries the next bundle when a bundle cannot run on this device or has failed to start twice.
   */
  async start(signal: AbortSignal): Promise<void> {
    const { clock, log, raise } = this.#deps;
    const backoff = new Backoff(START_RETRY, { clock });
    for (let failedStarts = 1; this.#current.model === null; failedStarts += 1) {
      const chosen = this.#chosen;
      if (!chosen) throw new AgentError('model_not_found', 'no bundle is open');
      try {
        const plans = await this.#plansFor(chosen.bundle);
        await this.#afterLastSwap(async () => {
          if (this.#current.model === null) await this.#replace(chosen, plans, signal);
        });
      } catch (thrown) {
        signal.throwIfAborted();
        const failure = asAgentError(thrown);
        const { code, message } = failure;
        if (this.#current.failure?.code !== code)
          raise({ type: 'vision_start_failed', severity: 'error', code, message, context: {} });
        const isHopeless = !failure.retryable || failedStarts >= MAX_FAILED_STARTS;
        // When an execution provider is missing, every other bundle lacks it too.
        if (!this.#boot.isLast && isHopeless && code !== 'provider_unavailable') {
          this.#boot.giveUp(failure);
          this.#chosen = await this.#boot.openNext(signal);
          this.#deps.onBundle();
          failedStarts = 0;
          continue;
        }
        this.#boot.startFailed(failure);
        this.#current.startFailed(failure);
        const retryInMs = backoff.nextMs();
        log.error(
          { err: failure, retry_in_ms: Math.round(retryInMs) },
          'cannot start the model, trying again',
        );
        await clock.sleep(retryInMs, signal);
      }
    }
  }

  async #plansFor(bundle: Bundle): Promise<PlanSource> {
    const { clock, log, memory, hardware } = this.#deps;
    const { inference } = this.#options;
    return new ProviderLadder({ bundle, inference, hardware: await hardware }, { memory, clock, log });
  }

  async prove(
    bundle: Bundle,
    signal: AbortSignal,
    onStep?: (step: ProofStep) => void,
  ): Promise<ProvedCandidate> {
    const { inference } = this.#options;
    const either = AbortSignal.any([signal, this.#stop.signal]);
    const candidate = await proveCandidate(bundle, inference, this.#deps, either, onStep);
    this.#processes.add(candidate);
    return candidate;
  }

  async adopt(candidate: Candidate, slot: 'active' | 'factory', trusted: boolean): Promise<void> {
    if (!(candidate instanceof ProvedCandidate))
      throw new AgentError('internal', 'only a candidate that this server has tested can serve');
    // The process of the candidate has a low priority, which not every system allows to raise again. So this starts
    // another process with normal priority. It closes the candidate first, because there is memory for two processes,
    // not for three.
    await candidate.close();
    this.#processes.delete(candidate);
    const { bundle, plans } = candidate;
    await this.#swap({ bundle, slot, trusted }, plans, this.#stop.signal);
  }

  /**
   * Reads the bundle of the current model from the disk again and starts it in a new process. On failure, rejects, and
   * the old process continues to serve.
   */
  async reload(signal: AbortSignal): Promise<ModelRef> {
    const before = this.#chosen;
    if (!before) throw new AgentError('model_not_found', 'no bundle is open');
    const bundle = await openBundle(before.bundle.dir, { signal });
    if (bundle.digest !== before.bundle.digest)
      throw new AgentError('model_digest_mismatch', 'the model on the disk is not the one that serves');
    await memoryForCandidate(bundle, this.#deps.freeMemoryMb);
    await this.#swap({ ...before, bundle }, await this.#plansFor(bundle), signal);
    return modelRefOf(bundle);
  }

  /** Replaces the current model. Resolves when the process of the former model has exited. */
  async #swap(chosen: ChosenBundle, plans: PlanSource, signal: AbortSignal): Promise<void> {
    const former = await this.#afterLastSwap(() => this.#replace(chosen, plans, signal));
    await former.retired;
  }

  #afterLastSwap<T>(work: () => Promise<T>): Promise<T> {
    const swap = this.#lastSwap.then(work);
    this.#lastSwap = swap.catch(() => undefined);
    return swap;
  }

  /**
   * Starts a process for the bundle, tests the golden outputs in it, and makes its model the current one. The returned
   * promise `retired` resolves when the process of the former model has exited.
   */
  async #replace(
    chosen: ChosenBundle,
    plans: PlanSource,
    signal: AbortSignal,
  ): Promise<{ readonly retired: Promise<void> }> {
    const { beforeBundle, onBundle, clock, log, raise } = this.#deps;
    const { bundle } = chosen;
    const next = new ServedModel(
      { chosen, inference: this.#options.inference, startsBeside: this.#current.model !== null },
      {
        clock,
        log,
        raise,
        plans,
        // When a request is pending, that request also fails and counts as the failed frame: do not count the exit
        // twice.
        onExit: (error) => {
          if (!this.#current.hasPendingRequests) this.#outcomes.frameFailed(bundle.digest, error);
        },
      },
    );
    this.#processes.add(next.process);
    try {
      await next.process.start(AbortSignal.any([signal, this.#stop.signal]));
    } catch (thrown) {
      this.#processes.delete(next.process);
      throw thrown;
    }
    const isOtherBundle = this.#chosen?.bundle.digest !== bundle.digest;
    if (isOtherBundle)
      await beforeBundle?.(bundle).catch((thrown: unknown) =>
        log.error({ err: asAgentError(thrown) }, 'failed to prepare the agent for the new model'),
      );
    const former = this.#current.switchTo(next);
    this.#chosen = chosen;
    if (isOtherBundle) onBundle();
    const retired = former?.retire().finally(() => this.#processes.delete(former.process));
    return { retired: retired ?? Promise.resolve() };
  }

  /** A lease for one observation, or for a single image. The caller must dispose of it: `using lease = …`. */
  lease(): ModelLease {
    return this.#current.lease();
  }

  onOutcome(listener: (outcome: FrameOutcome) => void): () => void {
    return this.#outcomes.onOutcome(listener);
  }

  onLiveFrame(listener: (frame: LiveFrame) => void): () => void {
    return this.#outcomes.onLiveFrame(listener);
  }

  errorRate01(): number {
    return this.#outcomes.errorRate01();
  }

  /** Null while the vision process has no work or makes progress; see `CurrentModel`. */
  get unansweredSinceMonoMs(): number | null {
    return this.#current.unansweredSinceMonoMs;
  }

  /** False when the current model is unsigned and serves only because `model.allowUnsigned` is set. */
  get trusted(): boolean {
    return this.#chosen?.trusted ?? true;
  }

  get bundle(): Bundle | null {
    return this.#chosen?.bundle ?? null;
  }

  get model(): ModelRef | null {
    return this.bundle && modelRefOf(this.bundle);
  }

  get report(): ProviderReport | null {
    return this.#current.model?.process.report ?? null;
  }

  get pid(): number | null {
    return this.#current.model?.process.pid ?? null;
  }

  stats(): VisionStats {
    return this.#current.stats();
  }

  async close(): Promise<void> {
    this.#stop.abort(new AgentError('vision_closed', 'the agent is stopping'));
    await settleAll([...[...this.#processes].map((one) => one.close()), this.#lastSwap]);
  }
}
