import type * as PromClient from 'prom-client';
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Clock } from '../../base/clock.ts';
import type { Health } from '../../contract/health.ts';
import type { Observation } from '../../contract/observation.ts';
import type { SeaStateRecord } from '../../contract/sea-state.ts';
import type { LinkStats } from '../../mqtt/types.ts';
import type { OutboxEntry, OutboxStats } from '../../store/types.ts';
import { AnalysisMetrics, setTotal, type AnalysisOutcome, type AnalysisSources } from './analysis.ts';
import { HEARTBEAT_METRICS, type HeartbeatMetric } from './heartbeat.ts';
import { RecordMetrics } from './records.ts';

export interface MetricsOptions {
  readonly version: string;
}

/** These parts are read at each scrape. */
export interface MetricsDeps extends AnalysisSources {
  readonly clock: Clock;
  readonly heartbeat: { current(): Health };
  readonly link: { stats(): LinkStats };
  readonly store: { readonly outbox: { stats(): OutboxStats } };
}

const PREFIX = 'swellsight_';
const BUCKETS_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const LAG_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
const REQUEST_BUCKETS_S = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10];
/** Often enough to notice a stall, with little load. */
const LAG_INTERVAL_MS = 1000;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']);

/**
 * The metrics for Prometheus: values of the newest heartbeat and of other parts, read at each scrape, and counters that the
 * parts increase.
 */
export class Metrics {
  readonly contentType: string;
  readonly #deps: MetricsDeps;
  readonly #registry: Registry;
  readonly #heartbeat: readonly (readonly [HeartbeatMetric, Gauge | Counter])[];
  readonly #records: RecordMetrics;
  readonly #link: { readonly connected: Gauge; readonly connections: Counter };
  readonly #outbox: { readonly messages: Gauge; readonly age: Gauge; readonly dropped: Counter };
  readonly #process: { readonly cpu: Counter; readonly memory: Gauge; readonly loop: Counter };
  readonly #observationTime: Histogram;
  readonly #delivered: Counter;
  readonly #deliveryTime: Histogram;
  readonly #requestTime: Histogram;
  readonly #problems: Counter;
  readonly #streams: Gauge;
  readonly #analysis: AnalysisMetrics;
  readonly #lag: Histogram;

  /** Loads prom-client, which most commands of the command line do not need. */
  static async open(options: MetricsOptions, deps: MetricsDeps): Promise<Metrics> {
    return new Metrics(options, deps, await import('prom-client'));
  }

  private constructor(options: MetricsOptions, deps: MetricsDeps, client: typeof PromClient) {
    this.#deps = deps;
    const registry = new client.Registry();
    this.#registry = registry;
    this.contentType = registry.contentType;
    const common = (name: string, help: string, labelNames: readonly string[] = []) => ({
      name: name.startsWith('process_') ? name : PREFIX + name,
      help,
      labelNames: [...labelNames],
      registers: [registry],
    });
    const gauge = (...args: Parameters<typeof common>): Gauge => new client.Gauge(common(...args));
    const counter = (...args: Parameters<typeof common>): Counter => new client.Counter(common(...args));
    const histogram = (buckets: number[], ...args: Parameters<typeof common>): Histogram =>
      new client.Histogram({ ...common(...args), buckets });

    const info = gauge('build_info', 'Versions of the agent and of Node.js; always 1.', [
      'version',
      'node_version',
    ]);
    info.set({ version: options.version, node_version: process.versions.node }, 1);
    this.#heartbeat = HEARTBEAT_METRICS.map((metric) => [
      metric,
      (metric.type === 'gauge' ? gauge : counter)(metric.name, metric.help, metric.labels),
    ]);
    this.#records = new RecordMetrics(deps.clock, { gauge, counter });
    this.#link = {
      connected: gauge('link_connected', '1 while the broker is connected.'),
      connections: counter('link_connections_total', 'Successful connections to the broker.'),
    };
    this.#outbox = {
      messages: gauge('outbox_messages', 'Messages that wait for the broker.'),
      age: gauge(
        'outbox_oldest_message_age_seconds',
        'Age of the oldest of these messages; absent when there is none.',
      ),
      dropped: counter(
        'outbox_dropped_messages_total',
        'Messages dropped at the size limit since the store was created.',
      ),
    };
    this.#process = {
      cpu: counter('process_cpu_seconds_total', 'Processor time of the main process.'),
      memory: gauge('process_resident_memory_bytes', 'Resident memory of the main process.'),
      loop: counter('event_loop_active_seconds_total', 'Busy time of the event loop of the main process.'),
    };
    gauge('process_start_time_seconds', 'Unix time of the start of the main process.').set(
      Math.round(deps.clock.nowMs() / 1000 - process.uptime()),
    );
    this.#observationTime = histogram(
      BUCKETS_S,
      'observation_duration_seconds',
      'From the start of a capture to its record.',
    );
    this.#delivered = counter('delivered_messages_total', 'Messages that the broker acknowledged.', ['kind']);
    this.#deliveryTime = histogram(
      BUCKETS_S,
      'delivery_duration_seconds',
      'From the creation of a live record to the acknowledgement of the broker.',
    );
    this.#requestTime = histogram(
      REQUEST_BUCKETS_S,
      'http_request_duration_seconds',
      'Duration of HTTP requests.',
      ['method', 'route', 'code'],
    );
    this.#problems = counter('http_problems_total', 'HTTP requests that failed with a problem document.', [
      'code',
    ]);
    this.#streams = gauge('http_event_streams', 'Open streams of server-sent events.');
    this.#analysis = new AnalysisMetrics(deps, { gauge, counter, histogram });
    this.#lag = histogram(
      LAG_BUCKETS_S,
      'event_loop_lag_seconds',
      'How late a timer of the main process fires.',
    );
  }

  /** Measures the lag of the event loop until the signal aborts. */
  start(signal: AbortSignal): void {
    void this.#watchLag(signal);
  }

  /** Counts a stored record. */
  countObservation(observation: Observation): void {
    const { timing_ms } = observation;
    this.#records.observations.count(observation);
    if (timing_ms.total !== null) this.#observationTime.observe(timing_ms.total / 1000);
  }

  /** Counts the stored sea state of a clip. */
  countSeaState(record: SeaStateRecord): void {
    this.#records.seaStates.count(record);
  }

  /** Counts a message of the outbox that the broker acknowledged. */
  countDelivery({ stream, createdMonoMs }: OutboxEntry, historical: boolean): void {
    const isEvent = stream === 'events';
    this.#delivered.inc({ kind: isEvent ? 'event' : historical ? 'backfill' : 'live' });
    // The monotonic creation time of other messages may be of an earlier boot.
    if (isEvent || historical) return;
    this.#deliveryTime.observe(Math.max(0, this.#deps.clock.monoMs() - createdMonoMs) / 1000);
  }

  countConnection(): void {
    this.#link.connections.inc();
  }

  /** Counts an HTTP request. `route` is the pattern of the path; null for an unknown path. */
  countRequest(method: string, route: string | null, status: number, durationMs: number): void {
    const labels = {
      method: METHODS.has(method) ? method : 'other',
      route: route ?? 'none',
      code: `${Math.floor(status / 100)}xx`,
    };
    this.#requestTime.observe(labels, durationMs / 1000);
  }

  /** Counts an HTTP request, or invalid bytes, that got a problem document with this code. */
  countProblem(code: string): void {
    this.#problems.inc({ code });
  }

  /** Counts a stream of server-sent events. Call the returned function at its end. */
  countStream(): () => void {
    this.#streams.inc();
    let isOpen = true;
    return () => {
      if (isOpen) this.#streams.dec();
      isOpen = false;
    };
  }

  /** Counts an uploaded image. */
  countAnalysis(outcome: AnalysisOutcome): void {
    this.#analysis.count(outcome);
  }

  /** All metrics in the text format 0.0.4. */
  async text(): Promise<string> {
    this.#update();
    return this.#registry.metrics();
  }

  #update(): void {
    const health = this.#deps.heartbeat.current();
    this.#records.update(new Set(health.cameras.map(({ id }) => id)));
    for (const [{ samples }, metric] of this.#heartbeat) {
      removeAll(metric);
      for (const [labels, value] of samples(health)) if (value !== null) setValue(metric, labels, value);
    }
    this.#analysis.update();
    const { link, store } = this.#deps;
    this.#link.connected.set(Number(link.stats().connectedSinceMs !== null));
    const { depth, oldestAgeS, droppedTotal } = store.outbox.stats();
    this.#outbox.messages.set(depth);
    removeAll(this.#outbox.age);
    if (oldestAgeS !== null) this.#outbox.age.set(oldestAgeS);
    setTotal(this.#outbox.dropped, droppedTotal);
    const { user, system } = process.cpuUsage();
    setTotal(this.#process.cpu, (user + system) / 1e6);
    this.#process.memory.set(process.memoryUsage.rss());
    setTotal(this.#process.loop, performance.eventLoopUtilization().active / 1000);
  }

  async #watchLag(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    try {
      for (;;) {
        const dueMs = clock.monoMs() + LAG_INTERVAL_MS;
        await clock.sleep(LAG_INTERVAL_MS, signal);
        this.#lag.observe(Math.max(0, clock.monoMs() - dueMs) / 1000);
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    }
  }
}

/** Removes all values of a metric. `reset` alone leaves a 0 in a metric without labels. */
function removeAll(metric: Gauge | Counter): void {
  metric.reset();
  metric.remove({});
}

function setValue(metric: Gauge | Counter, labels: Readonly<Record<string, string>>, value: number): void {
  if ('set' in metric) metric.set(labels, value);
  else metric.inc(labels, value);
}
