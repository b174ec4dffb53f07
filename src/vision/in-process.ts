import { availableParallelism } from 'node:os';
import type { Clock } from '../base/clock.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { Bundle } from '../model/manifest.ts';
import type {
  FrameOptions,
  FrameResult,
  ShrunkFrame,
  ProviderReport,
  RenderOptions,
  ShrinkOptions,
  VisionClient,
  VisionStats,
} from './protocol.ts';
import type { Session } from './child/session.ts';
import { StatsCounter } from './vision-stats.ts';

export interface InProcessOptions {
  readonly bundle: Bundle;
  /** Default: the CPU with half of the cores, at most four threads. */
  readonly plan?: { readonly provider: string; readonly threads: number };
}

async function loadPipeline() {
  const { openVerifiedSession } = await import('./child/golden.ts');
  const { analyzeFrame, renderFrame, shrinkFrame } = await import('./child/analyze.ts');
  return { openVerifiedSession, analyzeFrame, renderFrame, shrinkFrame };
}
type Pipeline = Awaited<ReturnType<typeof loadPipeline>>;

const MAX_THREADS = 4;
const BYTES_PER_MB = 2 ** 20;

/**
 * Runs a model inside the calling process, for the command line and tests. There is no deadline and no memory limit. A
 * crash or hang of native code crashes or hangs the whole process.
 */
export class InProcessVision implements VisionClient {
  readonly report: ProviderReport;
  readonly #pipeline: Pipeline;
  readonly #session: Session;
  readonly #stats: StatsCounter;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** Opens the bundle and verifies it on its golden images. Throws as `openVerifiedSession`. */
  static async open(options: InProcessOptions, deps: { readonly clock: Clock }): Promise<InProcessVision> {
    // onnxruntime reads this variable when it loads: set it before the import of the modules that load onnxruntime.
    process.env['ORT_DISABLE_TELEMETRY'] = '1';
    const pipeline = await loadPipeline();
    const threads = Math.min(MAX_THREADS, Math.ceil(availableParallelism() / 2));
    const plan = options.plan ?? { provider: 'cpu', threads };
    return new InProcessVision(pipeline, await pipeline.openVerifiedSession(options.bundle, plan), deps);
  }

  private constructor(pipeline: Pipeline, session: Session, deps: { readonly clock: Clock }) {
    const { provider, threads } = session;
    this.#pipeline = pipeline;
    this.#session = session;
    this.#stats = new StatsCounter(deps);
    const attempt = { provider, threads, outcome: 'chosen', medianMs: null, reason: null } as const;
    this.report = { provider, threads, attempts: [attempt], remembered: false };
  }

  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult> {
    return this.#afterLast(async () => {
      const startedMs = performance.now();
      const result = await this.#pipeline.analyzeFrame(this.#session, bytes, options);
      this.#stats.frame(performance.now() - startedMs);
      return result;
    }, signal);
  }

  render(bytes: Uint8Array, options: RenderOptions, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#afterLast(() => this.#pipeline.renderFrame(bytes, options), signal);
  }

  shrink(bytes: Uint8Array, options: ShrinkOptions, signal?: AbortSignal): Promise<ShrunkFrame> {
    return this.#afterLast(() => this.#pipeline.shrinkFrame(bytes, options), signal);
  }

  stats(): VisionStats {
    return this.#stats.snapshot(!this.#closed);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#last;
    await this.#session.release();
  }

  /** Runs one frame at a time, as the child process does. */
  async #afterLast<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const result = this.#last.then(() => {
      signal?.throwIfAborted();
      if (this.#closed) throw new AgentError('vision_closed', 'the model is closed');
      return work();
    });
    this.#last = result.catch((thrown: unknown) => {
      if (asAgentError(thrown).code.startsWith('vision_')) this.#stats.failure();
    });
    try {
      return await result;
    } finally {
      this.#stats.progress(Math.round(process.memoryUsage.rss() / BYTES_PER_MB));
    }
  }
}
