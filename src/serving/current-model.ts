import type { Clock } from '../base/clock.ts';
import { AgentError, asAgentError, type ErrorCode } from '../base/errors.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { Bundle } from '../model/manifest.ts';
import type {
  FrameOptions,
  FrameResult,
  ShrunkFrame,
  ModelLease,
  RenderOptions,
  ShrinkOptions,
  VisionStats,
} from '../vision/protocol.ts';
import { StatsCounter } from '../vision/vision-stats.ts';
import type { Outcomes } from './outcomes.ts';
import { modelRefOf, type ServedModel } from './served-model.ts';

/** With these errors a request ends although the vision process did not reply to it. */
const UNANSWERED_CODES: readonly ErrorCode[] = ['vision_crashed', 'vision_timeout', 'vision_start_failed'];

export interface CurrentModelOptions {
  /** How long a frame waits for the first model, seconds. */
  readonly timeoutS: number;
}

export interface CurrentModelDeps {
  readonly clock: Clock;
  readonly outcomes: Outcomes;
  /** The bundle that was opened to serve. Its process may not run yet. */
  readonly openedBundle: () => Bundle | null;
}

/**
 * Holds the model that serves (analyses the frames) now. It gives out leases (each is the right of one observation to
 * use one model), and every frame reaches a vision process through a lease.
 *
 * INVARIANTS
 * - Swap only between observations: `switchTo` changes the model of later leases, not the model of a lease that has
 *   already sent a frame.
 * - A frame that failed with `vision_closed` never reached the vision process. It is sent again to the model that
 *   serves now, unless the observation already has a result of the former model.
 */
export class CurrentModel {
  readonly #options: CurrentModelOptions;
  readonly #deps: CurrentModelDeps;
  /** Aborted when the first start has succeeded or failed. */
  readonly #firstStart = new AbortController();
  #model: ServedModel | null = null;
  #failure: AgentError | null = null;
  #restartsOfFormer = 0;
  #pendingRequests = 0;
  /** Start of the first request since the last one that the process answered, monotonic ms; null when there is none. */
  #unansweredSinceMs: number | null = null;

  constructor(options: CurrentModelOptions, deps: CurrentModelDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  get model(): ServedModel | null {
    return this.#model;
  }

  /** Why no model serves. Null while a model serves, and while the first model is still loading. */
  get failure(): AgentError | null {
    return this.#failure;
  }

  /** Call this when no model could be started: from now on frames fail at once with this error. */
  startFailed(failure: AgentError): void {
    this.#failure = failure;
    this.#firstStart.abort();
  }

  /** Makes this model the one that later leases use. Returns the former model. */
  switchTo(next: ServedModel): ServedModel | null {
    const former = this.#model;
    this.#restartsOfFormer += former?.process.stats().restarts ?? 0;
    this.#model = next;
    this.#failure = null;
    this.#deps.outcomes.countFor(next.digest);
    this.#firstStart.abort();
    return former;
  }

  lease(): ModelLease {
    return new ObservationLease(this, this.#deps);
  }

  /**
   * Returns the current model. While the first model is loading, waits for it, but not longer than the time limit of a
   * frame.
   */
  async whenServing(signal?: AbortSignal): Promise<ServedModel> {
    if (this.#failure === null) {
      const started = this.#firstStart.signal;
      const ends = signal ? AbortSignal.any([signal, started]) : started;
      await this.#deps.clock.sleep(this.#options.timeoutS * 1000, ends).catch(() => signal?.throwIfAborted());
    }
    if (this.#model) return this.#model;
    throw this.#failure ?? new AgentError('vision_start_failed', 'the model is still loading');
  }

  requestStarted(): void {
    if (this.unansweredSinceMonoMs === null) this.#unansweredSinceMs = this.#deps.clock.monoMs();
    this.#pendingRequests += 1;
  }

  /** `isAnswered`: false when the request failed because the process hangs, crashed or does not start. */
  requestEnded(isAnswered: boolean): void {
    this.#pendingRequests -= 1;
    if (isAnswered) this.#unansweredSinceMs = this.#pendingRequests > 0 ? this.#deps.clock.monoMs() : null;
  }

  get hasPendingRequests(): boolean {
    return this.#pendingRequests > 0;
  }

  /**
   * Since when requests wait, or failed, without a reply or a new start of the vision process, monotonic ms. Null when
   * no request waits and the process works, and while no model could be started.
   */
  get unansweredSinceMonoMs(): number | null {
    if (this.#unansweredSinceMs === null || this.#model === null) return null;
    const progressMs = this.#model.process.stats().lastProgressMonoMs ?? -Infinity;
    if (progressMs < this.#unansweredSinceMs) return this.#unansweredSinceMs;
    return this.hasPendingRequests ? progressMs : null;
  }

  /**
   * Statistics of the current vision process. `restarts` also includes the restarts of the processes of all former
   * models.
   */
  stats(): VisionStats {
    const stats = this.#model?.process.stats() ?? new StatsCounter(this.#deps).snapshot(false);
    return { ...stats, restarts: stats.restarts + this.#restartsOfFormer };
  }
}

class ObservationLease implements ModelLease {
  readonly #current: CurrentModel;
  readonly #deps: CurrentModelDeps;
  #model: ServedModel | null = null;
  #hasResult = false;
  #hasEnded = false;

  constructor(current: CurrentModel, deps: CurrentModelDeps) {
    this.#current = current;
    this.#deps = deps;
  }

  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult> {
    return this.#request(async (model) => {
      const { outcomes } = this.#deps;
      const result = await model.process.analyze(bytes, options, signal);
      outcomes.frameAnalyzed(model.digest, result);
      if (options.priority === 'schedule') outcomes.liveFrame({ bytes, options, result });
      return result;
    }, signal);
  }

  render(bytes: Uint8Array, options: RenderOptions, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#request((model) => model.process.render(bytes, options, signal), signal);
  }

  shrink(bytes: Uint8Array, options: ShrinkOptions, signal?: AbortSignal): Promise<ShrunkFrame> {
    return this.#request((model) => model.process.shrink(bytes, options, signal), signal);
  }

  async #request<T>(send: (model: ServedModel) => Promise<T>, signal?: AbortSignal): Promise<T> {
    // Await only while no model serves. Otherwise the frame is sent synchronously, so that frames keep their order in
    // the queue.
    const serving = this.#current.model ?? (await this.#current.whenServing(signal));
    this.#current.requestStarted();
    let isAnswered = true;
    try {
      for (let model = this.#model ?? this.#use(serving); ;) {
        try {
          const result = await send(model);
          this.#hasResult = true;
          return result;
        } catch (thrown) {
          signal?.throwIfAborted();
          const error = asAgentError(thrown);
          this.#deps.outcomes.frameFailed(model.digest, error);
          isAnswered = !UNANSWERED_CODES.includes(error.code);
          const next = error.code === 'vision_closed' ? this.#successorOf(model) : null;
          if (next === null) throw thrown;
          model = next;
        }
      }
    } finally {
      this.#current.requestEnded(isAnswered);
    }
  }

  /** Another model for frames that `model` never received; null when the observation must stay with `model`. */
  #successorOf(model: ServedModel): ServedModel | null {
    if (this.#model !== null && this.#model !== model) return this.#model;
    const current = this.#current.model;
    if (this.#hasResult || current === null || current === model) return null;
    return this.#use(current);
  }

  #use(model: ServedModel): ServedModel {
    this.#model?.endLease();
    this.#model = model;
    if (!this.#hasEnded) model.addLease();
    return model;
  }

  get #bundle(): Bundle | null {
    return this.#model?.chosen.bundle ?? this.#deps.openedBundle();
  }

  get model(): ModelRef | null {
    return this.#bundle && modelRefOf(this.#bundle);
  }

  get provider(): string | null {
    return (this.#model ?? this.#current.model)?.process.report?.provider ?? null;
  }

  get embeddingDigest(): string | null {
    return this.#bundle?.embeddingDigest ?? null;
  }

  [Symbol.dispose](): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#model?.endLease();
  }
}
