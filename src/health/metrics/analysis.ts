import type { Counter, Gauge, Histogram } from 'prom-client';
import type { AnalysisCacheStats } from '../../store/types.ts';

/** The outcome of one uploaded image. */
export type AnalysisOutcome =
  | { readonly kind: 'measured' | 'rejected' | 'cached'; readonly durationMs: number }
  | { readonly kind: 'failed'; readonly code: string };

/** Uploaded images that are being processed. */
export interface AnalysisLoad {
  readonly waiting: number;
  readonly requests: number;
  readonly heldBytes: number;
}

export interface AnalysisSources {
  readonly analysis: { stats(): AnalysisLoad };
  readonly cache: { stats(): AnalysisCacheStats };
}

/** Creates metrics with the agent's prefix in one registry. */
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

/** From a cached result to the longest time that a client waits. */
const BUCKETS_S = [0.0005, 0.001, 0.0025, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

/** Metrics of the images that clients upload. */
export class AnalysisMetrics {
  readonly #sources: AnalysisSources;
  readonly #time: Histogram;
  readonly #failed: Counter;
  readonly #load: Readonly<Record<keyof AnalysisLoad, Gauge>>;
  readonly #hits: Counter;
  readonly #misses: Counter;
  readonly #entries: Gauge;
  readonly #bytes: Gauge;

  constructor(sources: AnalysisSources, { gauge, counter, histogram }: MetricFactory) {
    this.#sources = sources;
    this.#time = histogram(
      BUCKETS_S,
      'analysis_duration_seconds',
      'From the complete upload of an image to its result, including the wait in the queue.',
      ['outcome'],
    );
    this.#failed = counter(
      'analysis_failed_images_total',
      'Uploaded images without a result, by error code.',
      ['code'],
    );
    this.#load = {
      waiting: gauge('analysis_queue_images', 'Uploaded images that wait in the queue.'),
      requests: gauge('analysis_open_requests', 'Open requests with images.'),
      heldBytes: gauge('analysis_held_bytes', 'Memory reserved for the images of these requests.'),
    };
    this.#hits = counter('analysis_cache_hits_total', 'Results that came from the cache.');
    this.#misses = counter('analysis_cache_misses_total', 'Results that were not in the cache.');
    this.#entries = gauge('analysis_cache_entries', 'Results in the cache.');
    this.#bytes = gauge('analysis_cache_size_bytes', 'Size of the keys and results in the cache.');
  }

  count(outcome: AnalysisOutcome): void {
    if (outcome.kind === 'failed') this.#failed.inc({ code: outcome.code });
    else this.#time.observe({ outcome: outcome.kind }, outcome.durationMs / 1000);
  }

  /** Copies the values that other parts count. */
  update(): void {
    const load = this.#sources.analysis.stats();
    this.#load.waiting.set(load.waiting);
    this.#load.requests.set(load.requests);
    this.#load.heldBytes.set(load.heldBytes);
    const { hits, misses, entries, sizeBytes } = this.#sources.cache.stats();
    setTotal(this.#hits, hits);
    setTotal(this.#misses, misses);
    this.#entries.set(entries);
    this.#bytes.set(sizeBytes);
  }
}

/** Sets a counter to a total that another part counts. */
export function setTotal(metric: Counter, total: number): void {
  metric.reset();
  metric.inc(total);
}
