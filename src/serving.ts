import type { Clock } from './clock.ts';
import type { Settings } from './config/schema.ts';
import type { ModelRef } from './contract/observation.ts';
import type { ModelState } from './contract/states.ts';
import { AgentError, asAgentError } from './errors.ts';
import type { Log } from './log.ts';
import type { Bundle } from './model/manifest.ts';
import { resolveActive } from './model/slots.ts';
import { Backoff } from './retry.ts';
import type { EventDraft, KeyValue, RaiseEvent } from './store/types.ts';
import { VisionProcess } from './vision/client.ts';
import type { Hardware } from './vision/hardware.ts';
import { ProviderLadder } from './vision/providers.ts';
import type {
  FrameOptions,
  FrameResult,
  ProviderReport,
  RenderOptions,
  VisionClient,
  VisionEvent,
  VisionStats,
} from './vision/protocol.ts';

export interface ServingOptions {
  readonly model: Settings['model'];
  readonly inference: Settings['inference'];
  /** Folder of the bundles that ship with the agent. */
  readonly shippedDir: string;
  /** Folders of installed bundles. */
  readonly installedDirs: readonly string[];
}

export interface ServingDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly memory: KeyValue;
  readonly raise: RaiseEvent;
  readonly hardware: Promise<Hardware>;
  /** Told when another bundle takes the place of the one that was opened. */
  readonly onBundle: () => void;
}

/** A bundle that fails to start so often, and runs nowhere, gives way to the shipped one. */
const FAILED_STARTS_MAX = 2;
const QUEUE_MAX = 32;
const RETRY = { minMs: 2_000, maxMs: 300_000, resetAfterMs: 60_000 };
const NO_STATS: VisionStats = {
  rssMb: 0,
  p50Ms: null,
  p95Ms: null,
  failures1h: 0,
  restarts: 0,
  lastProgressMonoMs: null,
  ready: false,
};

/** The model that serves: which bundle, on which provider, in which process. The port stays while those change. */
export class Serving implements VisionClient {
  readonly #options: ServingOptions;
  readonly #deps: ServingDeps;
  #bundle: Bundle | null = null;
  #slot: 'active' | 'factory' = 'factory';
  #process: VisionProcess | null = null;
  #failure: AgentError | null = null;
  /** Aborted when the first start came to an end, good or bad. */
  readonly #firstStart = new AbortController();
  #waiting = 0;
  #progressMonoMs = 0;

  constructor(options: ServingOptions, deps: ServingDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Opens the wanted bundle, or the shipped one. Throws only when not even that can be read. */
  async open(signal: AbortSignal): Promise<void> {
    const { model, shippedDir, installedDirs } = this.#options;
    // Nothing but the shipped bundle is signed for yet.
    const refused = model.active !== null && !model.allowUnsigned;
    const active = refused ? null : model.active;
    const { bundle, slot, fallback } = await resolveActive({ shippedDir, installedDirs, active, signal });
    this.#bundle = bundle;
    this.#slot = slot;
    if (refused) this.#sayFallback(new AgentError('model_unsigned', 'the wanted model is not signed'));
    else if (fallback) this.#sayFallback(fallback);
  }

  /** The wanted bundle can be read but not run: the shipped one takes its place. */
  async #fallBack(failure: AgentError, signal: AbortSignal): Promise<void> {
    const { shippedDir, installedDirs } = this.#options;
    const { bundle, slot } = await resolveActive({ shippedDir, installedDirs, active: null, signal });
    this.#bundle = bundle;
    this.#slot = slot;
    this.#deps.onBundle();
    this.#sayFallback(failure);
  }

  #sayFallback(fallback: AgentError): void {
    const { log, raise } = this.#deps;
    const context = { wanted: this.#options.model.active, code: fallback.code };
    log.error({ ...context, err: fallback }, 'the wanted model cannot be used; the shipped one serves');
    raise({
      type: 'model_fallback',
      severity: 'error',
      code: fallback.code,
      message: fallback.message,
      context,
    });
  }

  /**
   * Resolves when the model serves; tries for ever, for a board that is overloaded at boot must not stay blind. A wanted
   * bundle that is wrong here, or that failed twice, gives way to the shipped one.
   */
  async start(signal: AbortSignal): Promise<void> {
    const { clock, log, raise } = this.#deps;
    const backoff = new Backoff(RETRY, { clock });
    for (let failedStarts = 1; ; failedStarts += 1) {
      try {
        this.#process = await this.#startProcess(signal);
        this.#failure = null;
        this.#firstStart.abort();
        return;
      } catch (thrown) {
        signal.throwIfAborted();
        const failure = asAgentError(thrown);
        const { code, message } = failure;
        if (this.#failure?.code !== code)
          raise({ type: 'vision_start_failed', severity: 'error', code, message, context: {} });
        const hopeless = !failure.retryable || failedStarts >= FAILED_STARTS_MAX;
        // Providers that are missing are missing for any model.
        if (this.#slot === 'active' && hopeless && code !== 'provider_unavailable') {
          await this.#fallBack(failure, signal);
          continue;
        }
        this.#failure = failure;
        this.#firstStart.abort();
        const retryInMs = backoff.nextMs();
        log.error({ err: failure, retry_in_ms: Math.round(retryInMs) }, 'the model does not start');
        await clock.sleep(retryInMs, signal);
      }
    }
  }

  async #startProcess(signal: AbortSignal): Promise<VisionProcess> {
    const { clock, log, memory, raise, hardware } = this.#deps;
    const { inference } = this.#options;
    const bundle = this.#bundle;
    if (!bundle) throw new AgentError('model_not_found', 'no bundle is open');
    const ladder = new ProviderLadder(
      { bundle, inference, hardware: await hardware },
      { memory, clock, log },
    );
    const { timeoutS, maxRssMb } = inference;
    const next = new VisionProcess(
      { bundle, plan: null, timeoutS, maxRssMb, queueMax: QUEUE_MAX },
      { clock, log, ladder, onEvent: (event) => raiseVisionEvent(event, raise) },
    );
    await next.start(signal);
    return next;
  }

  /** A frame that comes while the model is loaded for the first time waits for it, as long as for an answer. */
  async #serving(signal?: AbortSignal): Promise<VisionProcess> {
    if (!this.#process && !this.#failure) {
      const started = this.#firstStart.signal;
      const ends = signal ? AbortSignal.any([signal, started]) : started;
      await this.#deps.clock
        .sleep(this.#options.inference.timeoutS * 1000, ends)
        .catch(() => signal?.throwIfAborted());
    }
    if (this.#process) return this.#process;
    throw this.#failure ?? new AgentError('vision_start_failed', 'the model is being loaded');
  }

  async analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult> {
    return this.#watched(async () => (await this.#serving(signal)).analyze(bytes, options, signal));
  }

  async render(bytes: Uint8Array, options: RenderOptions, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#watched(async () => (await this.#serving(signal)).render(bytes, options, signal));
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

  /** False when it serves only because `model.allowUnsigned` is set. */
  get trusted(): boolean {
    return this.#slot === 'factory';
  }

  get bundle(): Bundle | null {
    return this.#bundle;
  }

  get model(): ModelRef | null {
    if (!this.#bundle) return null;
    const { manifest, digest } = this.#bundle;
    return { name: manifest.name, version: manifest.version, digest };
  }

  get report(): ProviderReport | null {
    return this.#process?.report ?? null;
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  stats(): VisionStats {
    return this.#process?.stats() ?? NO_STATS;
  }

  modelState(): ModelState {
    const active = this.model;
    return {
      schema: 'swellsight.model_state/1',
      active,
      candidate: null,
      previous: null,
      phase: this.#process ? 'committed' : 'loading',
      slots: { factory: this.#slot === 'factory' ? active : null, previous: null, active, candidate: null },
    };
  }

  async close(): Promise<void> {
    await this.#process?.close();
  }
}

function raiseVisionEvent(event: VisionEvent, raise: RaiseEvent): void {
  const draft = visionEvent(event);
  if (draft) raise(draft);
}

function visionEvent(event: VisionEvent): EventDraft | null {
  switch (event.type) {
    case 'started':
      return null;
    case 'recycled':
      return {
        type: 'vision_recycled',
        severity: 'warning',
        code: 'vision_recycled',
        message: 'The vision process reached its memory ceiling and was replaced.',
        context: { rss_mb: event.rssMb, limit_mb: event.limitMb },
      };
    case 'provider_demoted':
      return {
        type: 'provider_demoted',
        severity: 'warning',
        code: 'provider_demoted',
        message: 'The provider failed at work; another one serves.',
        context: { from: event.from, to: event.to, reason: event.reason },
      };
    case 'exited':
      return {
        type: 'vision_exited',
        severity: 'error',
        code: event.code,
        message: 'The vision process ended or was stopped, and is started again.',
        context: { detail: event.detail, restart_in_ms: Math.round(event.restartInMs) },
      };
  }
}
