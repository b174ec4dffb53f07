import type { Clock } from '../base/clock.ts';
import type { Settings } from '../config/schema.ts';
import type { ModelRef } from '../contract/observation.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { openBundle } from '../model/bundle/bundle.ts';
import type { Bundle } from '../model/manifest.ts';
import type { Candidate, LiveFrame, ModelHost, Outcome } from '../model/types.ts';
import { Backoff } from '../base/retry.ts';
import { Boot } from './boot.ts';
import type { Slots } from './boot-choice.ts';
import { ProvedCandidate, proveCandidate, type ProofStep } from './candidate.ts';
import { CurrentModel } from './current-model.ts';
import { makeServed } from './make-served.ts';
import { memoryForCandidate } from './memory-budget.ts';
import { Outcomes } from './outcomes.ts';
import { refOf, type ChosenBundle } from './served-model.ts';
import type { KeyValue, RaiseEvent } from '../store/types.ts';
import type { PlanSource } from '../vision/client-options.ts';
import type { Hardware } from '../vision/hardware/hardware.ts';
import { ProviderLadder } from '../vision/providers/select-provider.ts';
import type {
  FrameOptions,
  FrameResult,
  HeldVision,
  ProviderReport,
  RenderOptions,
  VisionClient,
  VisionStats,
} from '../vision/protocol.ts';

export interface ModelServerOptions {
  readonly model: Settings['model'];
  readonly inference: Settings['inference'];
  /** Folder of the bundles that ship with the agent. */
  readonly shippedDir: string;
  /** Folders of bundles that were laid there by hand, `name/version` below each. */
  readonly installedDirs: readonly string[];
}

export interface ModelServerDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly memory: KeyValue;
  readonly raise: RaiseEvent;
  readonly hardware: Promise<Hardware>;
  /** What was installed; without it the shipped model serves, or the pinned one. */
  readonly slots?: Slots;
  /** Told, between two frames, when another bundle takes the place of the one that was opened. */
  readonly onBundle: () => void;
  /** Waited for before another bundle takes the place: what is to be ready with it. */
  readonly beforeBundle?: (bundle: Bundle) => Promise<void>;
  /** An installed model could not be opened or started at boot. `fellBack`: another one serves now. */
  readonly onStartFailed?: (error: AgentError, fellBack: boolean) => void;
  readonly freeMemoryMb?: () => Promise<number>;
}

/** A bundle that fails to start so often, and runs nowhere, gives way to the next one. */
const MAX_FAILED_STARTS = 2;
const RETRY = { minMs: 2_000, maxMs: 300_000, resetAfterMs: 60_000 };
/**
 * The model that serves: which bundle, on which provider, in which process. The port stays while those change.
 *
 * INVARIANTS
 * - The frames of one observation are answered by one model, which lives until the observation has ended.
 * - A model becomes current only when it runs and has proved itself, in one step together with `onBundle`.
 * - Swaps happen one after another; one that fails changes nothing.
 */
export class ModelServer implements VisionClient, ModelHost {
  readonly #options: ModelServerOptions;
  readonly #deps: ModelServerDeps;
  readonly #outcomes: Outcomes;
  readonly #boot: Boot;
  readonly #current: CurrentModel;
  readonly #stop = new AbortController();
  /** Opened, though it may not serve yet. */
  #chosen: ChosenBundle | null = null;
  /** Everything that has a process, and must not outlive this. */
  readonly #open = new Set<{ close(): Promise<void> }>();
  #swapping: Promise<unknown> = Promise.resolve();

  constructor(options: ModelServerOptions, deps: ModelServerDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#outcomes = new Outcomes(deps);
    this.#current = new CurrentModel(options.inference, {
      clock: deps.clock,
      outcomes: this.#outcomes,
      opened: () => this.bundle,
    });
    this.#boot = new Boot(options, deps);
  }

  /** Opens the bundle that is to serve, or the next best. Throws only when not even the shipped one can be read. */
  async open(signal: AbortSignal): Promise<void> {
    this.#chosen = await this.#boot.open(signal);
  }

  /**
   * Resolves when a model serves; tries for ever, for a board that is overloaded at boot must not stay blind. A bundle
   * that is wrong here, or that failed twice, gives way to the next one.
   */
  async start(signal: AbortSignal): Promise<void> {
    const { clock, log, raise } = this.#deps;
    const backoff = new Backoff(RETRY, { clock });
    for (let failedStarts = 1; this.#current.model === null; failedStarts += 1) {
      const chosen = this.#chosen;
      if (!chosen) throw new AgentError('model_not_found', 'no bundle is open');
      try {
        const plans = await this.#plansFor(chosen.bundle);
        await this.#inTurn(async () => {
          if (this.#current.model === null) await this.#replace(chosen, plans, signal);
        });
      } catch (thrown) {
        signal.throwIfAborted();
        const failure = asAgentError(thrown);
        const { code, message } = failure;
        if (this.#current.failure?.code !== code)
          raise({ type: 'vision_start_failed', severity: 'error', code, message, context: {} });
        const hopeless = !failure.retryable || failedStarts >= MAX_FAILED_STARTS;
        // Providers that are missing are missing for any model.
        if (!this.#boot.isLast && hopeless && code !== 'provider_unavailable') {
          this.#boot.giveUp(failure);
          this.#chosen = await this.#boot.next(signal);
          this.#deps.onBundle();
          failedStarts = 0;
          continue;
        }
        this.#boot.failed(failure);
        this.#current.fails(failure);
        const retryInMs = backoff.nextMs();
        log.error({ err: failure, retry_in_ms: Math.round(retryInMs) }, 'the model does not start');
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
    this.#open.add(candidate);
    return candidate;
  }

  async adopt(candidate: Candidate, slot: 'active' | 'factory', trusted: boolean): Promise<void> {
    if (!(candidate instanceof ProvedCandidate))
      throw new AgentError('internal', 'only what was proved here can serve');
    // Its process stands behind others for good: one of full rank takes over. There is memory for two, not for three.
    await candidate.close();
    this.#open.delete(candidate);
    const { bundle, plans } = candidate;
    await this.#swap({ bundle, slot, trusted }, plans, this.#stop.signal);
  }

  /** The same model from a new process, read anew from the disk. Rejects, and changes nothing, when that fails. */
  async reload(signal: AbortSignal): Promise<ModelRef> {
    const before = this.#chosen;
    if (!before) throw new AgentError('model_not_found', 'no bundle is open');
    const bundle = await openBundle(before.bundle.dir, { signal });
    if (bundle.digest !== before.bundle.digest)
      throw new AgentError('model_digest_mismatch', 'the model on the disk is not the one that serves');
    await memoryForCandidate(bundle, this.#deps.freeMemoryMb);
    await this.#swap({ ...before, bundle }, await this.#plansFor(bundle), signal);
    return refOf(bundle);
  }

  /** Resolves when the former model's process has gone. */
  async #swap(chosen: ChosenBundle, plans: PlanSource, signal: AbortSignal): Promise<void> {
    const former = await this.#inTurn(() => this.#replace(chosen, plans, signal));
    await former.retired;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#swapping.then(work);
    this.#swapping = mine.catch(() => undefined);
    return mine;
  }

  /** Starts a process, proves it, and makes it the current one. `retired` resolves when the former one has gone. */
  async #replace(
    chosen: ChosenBundle,
    plans: PlanSource,
    signal: AbortSignal,
  ): Promise<{ readonly retired: Promise<void> }> {
    const { beforeBundle, onBundle, log } = this.#deps;
    const { bundle } = chosen;
    const next = makeServed(chosen, plans, this.#options.inference, {
      ...this.#deps,
      beside: this.#current.model !== null,
      // Between frames; during one, the frame tells.
      onExit: (error) => {
        if (!this.#current.isAsked) this.#outcomes.failed(bundle.digest, error);
      },
    });
    this.#open.add(next.process);
    try {
      await next.process.start(AbortSignal.any([signal, this.#stop.signal]));
    } catch (thrown) {
      this.#open.delete(next.process);
      throw thrown;
    }
    const another = this.#chosen?.bundle.digest !== bundle.digest;
    if (another)
      await beforeBundle?.(bundle).catch((thrown: unknown) =>
        log.error({ err: asAgentError(thrown) }, 'not all is ready for the new model'),
      );
    const former = this.#current.switchTo(next);
    this.#chosen = chosen;
    if (another) onBundle();
    const retired = former?.retire().finally(() => this.#open.delete(former.process));
    return { retired: retired ?? Promise.resolve() };
  }

  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult> {
    return this.#current.analyze(bytes, options, signal);
  }

  render(bytes: Uint8Array, options: RenderOptions, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#current.render(bytes, options, signal);
  }

  /** The frames of one observation, for one model. Must be released. */
  hold(): HeldVision {
    return this.#current.hold();
  }

  onOutcome(listener: (outcome: Outcome) => void): () => void {
    return this.#outcomes.onOutcome(listener);
  }

  onLiveFrame(listener: (frame: LiveFrame) => void): () => void {
    return this.#outcomes.onLiveFrame(listener);
  }

  errorRate01(): number {
    return this.#outcomes.errorRate01();
  }

  get lastProgressMonoMs(): number | null {
    return this.#current.lastProgressMonoMs;
  }

  /** False when it serves only because `model.allowUnsigned` is set. */
  get trusted(): boolean {
    return this.#chosen?.trusted ?? true;
  }

  get bundle(): Bundle | null {
    return this.#chosen?.bundle ?? null;
  }

  get model(): ModelRef | null {
    return this.bundle && refOf(this.bundle);
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
    await Promise.all([...this.#open].map((one) => one.close()));
    await this.#swapping;
  }
}
