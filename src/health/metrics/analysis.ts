import type { Counter, Gauge, Histogram } from 'prom-client';
import type { AnalysisCacheStats } from '../../store/types.ts';

/** What became of one image that was sent in. */
export type AnalysisOutcome =
  | { readonly kind: 'measured' | 'rejected' | 'cached'; readonly durationMs: number }
  | { readonly kind: 'failed'; readonly code: string };

/** How busy the way to the vision process is with images that were sent in. */
export interface AnalysisLoad {
  readonly waiting: number;
  readonly requests: number;
  readonly heldBytes: number;
}

export interface AnalysisSources {
  readonly analysis: { stats(): AnalysisLoad };
  readonly cache: { stats(): AnalysisCacheStats };
}

/** Makes metrics of one registry under the agent's prefix. */
export interface MetricFactory {
  readonly gauge: (name: string, help: string, labels?: readonly string[]) => Gauge;
  readonly counter: (name: string, help: string, labels?: readonly string[]) => Counter;
  readonly histogram: (
    buckets: number[],
    name: string,
    help: string,
    labels?: readonly string[],
  ) => Histogram;
}

/** A cached answer takes less than the first of them, a slow one as long as a client waits. */
const SECONDS = [0.0005, 0.001, 0.0025, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

/** Figures of the images that clients send in. */
export class AnalysisMetrics {
  readonly #sources: AnalysisSources;
  readonly #time: Histogram;
  readonly #failed: Counter;
  readonly #load: Readonly<Record<keyof AnalysisLoad, Gauge>>;
  readonly #found: Counter;
  readonly #missed: Counter;
  readonly #entries: Gauge;
  readonly #bytes: Gauge;

  constructor(sources: AnalysisSources, { gauge, counter, histogram }: MetricFactory) {
    this.#sources = sources;
    this.#time = histogram(
      SECONDS,
      'analysis_duration_seconds',
      'From the whole image that was sent in to its answer, the wait for a turn included.',
      ['outcome'],
    );
    this.#failed = counter('analysis_failed_images_total', 'Images that got no answer, by reason.', ['code']);
    this.#load = {
      waiting: gauge('analysis_queue_images', 'Images that wait for their turn.'),
      requests: gauge('analysis_open_requests', 'Requests with images that are under way.'),
      heldBytes: gauge('analysis_held_bytes', 'Memory set aside for their images.'),
    };
    this.#found = counter('analysis_cache_hits_total', 'Answers that were found in the cache.');
    this.#missed = counter('analysis_cache_misses_total', 'Answers that were not.');
    this.#entries = gauge('analysis_cache_entries', 'Answers in the cache.');
    this.#bytes = gauge('analysis_cache_size_bytes', 'Size of its keys and answers.');
  }

  answered(outcome: AnalysisOutcome): void {
    if (outcome.kind === 'failed') this.#failed.inc({ code: outcome.code });
    else this.#time.observe({ outcome: outcome.kind }, outcome.durationMs / 1000);
  }

  /** Takes over what others count. */
  read(): void {
    const load = this.#sources.analysis.stats();
    this.#load.waiting.set(load.waiting);
    this.#load.requests.set(load.requests);
    this.#load.heldBytes.set(load.heldBytes);
    const { hits, misses, entries, sizeBytes } = this.#sources.cache.stats();
    for (const [metric, total] of [
      [this.#found, hits],
      [this.#missed, misses],
    ] as const) {
      metric.reset();
      metric.inc(total);
    }
    this.#entries.set(entries);
    this.#bytes.set(sizeBytes);
  }
}
