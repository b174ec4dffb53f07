import type { Clock } from '../base/clock.ts';
import { AgentError, asAgentError, isAbort } from '../base/errors.ts';
import type { Bundle } from '../model/manifest.ts';
import type {
  FrameOptions,
  FrameResult,
  HeldVision,
  RenderOptions,
  VisionStats,
} from '../vision/protocol.ts';
import type { Outcomes } from './outcomes.ts';
import { ServedHold, wasNotAsked } from './served-hold.ts';
import type { ServedModel } from './served-model.ts';

const NO_STATS: VisionStats = {
  rssMb: 0,
  p50Ms: null,
  p95Ms: null,
  failures1h: 0,
  restarts: 0,
  lastProgressMonoMs: null,
  ready: false,
};

export interface CurrentModelOptions {
  /** How long a frame waits for the first model, seconds. */
  readonly timeoutS: number;
}

export interface CurrentModelDeps {
  readonly clock: Clock;
  readonly outcomes: Outcomes;
  /** What is opened, before anything serves. */
  readonly opened: () => Bundle | null;
}

/** The pointer to the model that serves, and the way of each frame to it. */
export class CurrentModel {
  readonly #options: CurrentModelOptions;
  readonly #deps: CurrentModelDeps;
  /** Aborted when the first start came to an end, good or bad. */
  readonly #firstStart = new AbortController();
  #model: ServedModel | null = null;
  #failure: AgentError | null = null;
  #formerRestarts = 0;
  #waiting = 0;
  #progressMonoMs = 0;

  constructor(options: CurrentModelOptions, deps: CurrentModelDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  get model(): ServedModel | null {
    return this.#model;
  }

  /** Why nothing serves; null while it is loaded for the first time, and when a model serves. */
  get failure(): AgentError | null {
    return this.#failure;
  }

  /** Nothing serves: frames are refused with this instead of waiting. */
  fails(failure: AgentError): void {
    this.#failure = failure;
    this.#firstStart.abort();
  }

  /** From the next frame on; returns the former model. */
  switchTo(next: ServedModel): ServedModel | null {
    const former = this.#model;
    this.#formerRestarts += former?.process.stats().restarts ?? 0;
    this.#model = next;
    this.#failure = null;
    this.#deps.outcomes.serves(next.digest);
    this.#firstStart.abort();
    return former;
  }

  /** True while somebody waits for an answer. */
  get isAsked(): boolean {
    return this.#waiting > 0;
  }

  /** A frame that comes while the model is loaded for the first time waits for it, as long as for an answer. */
  async #serving(signal?: AbortSignal): Promise<ServedModel> {
    if (!this.#model && !this.#failure) {
      const started = this.#firstStart.signal;
      const ends = signal ? AbortSignal.any([signal, started]) : started;
      await this.#deps.clock.sleep(this.#options.timeoutS * 1000, ends).catch(() => signal?.throwIfAborted());
    }
    if (this.#model) return this.#model;
    throw this.#failure ?? new AgentError('vision_start_failed', 'the model is being loaded');
  }

  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult> {
    return this.#asked((model) => this.#analyze(model, bytes, options, signal), signal);
  }

  render(bytes: Uint8Array, options: RenderOptions, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#asked(async (model) => {
      try {
        return await model.process.render(bytes, options, signal);
      } catch (thrown) {
        this.#noteFailure(model, thrown);
        throw thrown;
      }
    }, signal);
  }

  /** The frames of one observation, for one model. */
  hold(): HeldVision {
    return new ServedHold({
      serving: (signal) => this.#serving(signal),
      current: () => this.#model,
      opened: this.#deps.opened,
      ask: (model, bytes, options, signal) =>
        this.#watched(() => this.#analyze(model, bytes, options, signal)),
    });
  }

  /** What a former model did not come to any more, the present one does. */
  #asked<T>(ask: (model: ServedModel) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#watched(async () => {
      for (let model = await this.#serving(signal); ;) {
        try {
          return await ask(model);
        } catch (thrown) {
          const current = this.#model;
          if (!wasNotAsked(thrown) || current === null || current === model) throw thrown;
          model = current;
        }
      }
    });
  }

  async #analyze(
    model: ServedModel,
    bytes: Uint8Array,
    options: FrameOptions,
    signal?: AbortSignal,
  ): Promise<FrameResult> {
    const { outcomes } = this.#deps;
    try {
      const result = await model.process.analyze(bytes, options, signal);
      outcomes.answered(model.digest, result);
      if (options.priority === 'schedule') outcomes.live({ bytes, options, result });
      return result;
    } catch (thrown) {
      this.#noteFailure(model, thrown);
      throw thrown;
    }
  }

  #noteFailure(model: ServedModel, thrown: unknown): void {
    if (!isAbort(thrown)) this.#deps.outcomes.failed(model.digest, asAgentError(thrown));
  }

  async #watched<T>(work: () => Promise<T>): Promise<T> {
    const { clock } = this.#deps;
    if (this.#waiting === 0) this.#progressMonoMs = clock.monoMs();
    this.#waiting += 1;
    try {
      return await work();
    } finally {
      this.#waiting -= 1;
      this.#progressMonoMs = clock.monoMs();
    }
  }

  /** When a request was last answered, well or badly, monotonic ms; null while nobody waits for one. */
  get lastProgressMonoMs(): number | null {
    return this.#waiting === 0 ? null : this.#progressMonoMs;
  }

  /** Of the process that serves; restarts are those of all. */
  stats(): VisionStats {
    const stats = this.#model?.process.stats() ?? NO_STATS;
    return { ...stats, restarts: stats.restarts + this.#formerRestarts };
  }
}
