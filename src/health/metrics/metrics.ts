import type * as PromClient from 'prom-client';
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Clock } from '../../base/clock.ts';
import type { Health } from '../../contract/health.ts';
import type { Observation } from '../../contract/observation.ts';
import { isAbort } from '../../base/errors.ts';
import type { LinkStats } from '../../mqtt/types.ts';
import type { OutboxEntry, OutboxStats } from '../../store/types.ts';
import { AnalysisMetrics, type AnalysisOutcome, type AnalysisSources } from './analysis.ts';
import { HEARTBEAT_METRICS, READINGS, type HeartbeatMetric } from './heartbeat.ts';

export interface MetricsOptions {
  readonly version: string;
}

/** All of them are read at each scrape. */
export interface MetricsDeps extends AnalysisSources {
  readonly clock: Clock;
  readonly heartbeat: { current(): Health };
  readonly link: { stats(): LinkStats };
  readonly store: { readonly outbox: { stats(): OutboxStats } };
}

const PREFIX = 'swellsight_';
const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const LAG_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
const REQUEST_SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10];
/** One wake-up a second: often enough to see a stall, too seldom to cost anything. */
const LAG_EVERY_MS = 1000;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']);

/**
 * Figures for Prometheus: what the heartbeat says, read when somebody asks, and what has to be counted as it happens.
 * The values of the heartbeat are as old as it is.
 */
export class Metrics {
  readonly contentType: string;
  readonly #deps: MetricsDeps;
  readonly #registry: Registry;
  readonly #heartbeat: readonly (readonly [HeartbeatMetric, Gauge | Counter])[];
  readonly #readings: ReadonlyMap<keyof typeof READINGS, Gauge>;
  readonly #link: { readonly connected: Gauge; readonly connections: Counter };
  readonly #outbox: { readonly messages: Gauge; readonly age: Gauge; readonly dropped: Counter };
  readonly #process: { readonly cpu: Counter; readonly memory: Gauge; readonly loop: Counter };
  readonly #observations: Counter;
  readonly #observationTime: Histogram;
  readonly #delivered: Counter;
  readonly #deliveryTime: Histogram;
  readonly #requestTime: Histogram;
  readonly #problems: Counter;
  readonly #streams: Gauge;
  readonly #analysis: AnalysisMetrics;
  readonly #lag: Histogram;
  /** Cameras with a reading. */
  readonly #seen = new Set<string>();

  /** Loads the library, which commands of the command line need not. */
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

    const info = gauge('build_info', 'What runs; always 1.', ['version', 'node_version']);
    info.set({ version: options.version, node_version: process.versions.node }, 1);
    this.#heartbeat = HEARTBEAT_METRICS.map((metric) => [
      metric,
      (metric.type === 'gauge' ? gauge : counter)(metric.name, metric.help, metric.labels),
    ]);
    this.#readings = new Map(
      readingNames().map((name) => [name, gauge(name, READINGS[name][0], ['camera'])]),
    );
    this.#link = {
      connected: gauge('link_connected', '1 while the broker is connected.'),
      connections: counter('link_connections_total', 'Connections to the broker that came to be.'),
    };
    this.#outbox = {
      messages: gauge('outbox_messages', 'Messages that wait for the broker.'),
      age: gauge('outbox_oldest_message_age_seconds', 'Age of the oldest of them; absent when none waits.'),
      dropped: counter(
        'outbox_dropped_messages_total',
        'Messages dropped by the bound, since the store began.',
      ),
    };
    this.#process = {
      cpu: counter('process_cpu_seconds_total', 'Processor time of the main process.'),
      memory: gauge('process_resident_memory_bytes', 'Resident memory of the main process.'),
      loop: counter(
        'event_loop_active_seconds_total',
        'Time in which the event loop of the main process was busy.',
      ),
    };
    gauge('process_start_time_seconds', 'Unix time of the start of the main process.').set(
      Math.round(deps.clock.nowMs() / 1000 - process.uptime()),
    );
    this.#observations = counter('observations_total', 'Records made in this run.', ['camera', 'status']);
    this.#observationTime = histogram(
      SECONDS,
      'observation_duration_seconds',
      'From the begin of a capture to its record.',
    );
    this.#delivered = counter('delivered_messages_total', 'Messages that the broker acknowledged.', ['kind']);
    this.#deliveryTime = histogram(
      SECONDS,
      'delivery_duration_seconds',
      'From a live record to its acknowledgement by the broker.',
    );
    this.#requestTime = histogram(REQUEST_SECONDS, 'http_request_duration_seconds', 'HTTP requests.', [
      'method',
      'route',
      'code',
    ]);
    this.#problems = counter('http_problems_total', 'HTTP requests that were answered with a problem.', [
      'code',
    ]);
    this.#streams = gauge('http_event_streams', 'Clients that listen to server-sent events.');
    this.#analysis = new AnalysisMetrics(deps, { gauge, counter, histogram });
    this.#lag = histogram(
      LAG_SECONDS,
      'event_loop_lag_seconds',
      'How late a timer of the main process fires.',
    );
  }

  /** Watches the event loop until the signal aborts. */
  start(signal: AbortSignal): void {
    void this.#watchLag(signal);
  }

  /** A record is on the disk. */
  countObservation(observation: Observation): void {
    const { camera, status, timing_ms } = observation;
    this.#observations.inc({ camera, status });
    if (timing_ms.total !== null) this.#observationTime.observe(timing_ms.total / 1000);
    this.#seen.add(camera);
    for (const [name, metric] of this.#readings) {
      const value = READINGS[name][1](observation);
      if (value === null) metric.remove({ camera });
      else metric.set({ camera }, value);
    }
  }

  /** The broker has acknowledged a message of the outbox. */
  countDelivery({ stream, createdMonoMs }: OutboxEntry, historical: boolean): void {
    const event = stream === 'events';
    this.#delivered.inc({ kind: event ? 'event' : historical ? 'backfill' : 'live' });
    // Of others it is not known when this run of the machine made them.
    if (event || historical) return;
    this.#deliveryTime.observe(Math.max(0, this.#deps.clock.monoMs() - createdMonoMs) / 1000);
  }

  countConnection(): void {
    this.#link.connections.inc();
  }

  /** One HTTP request. `route` is the pattern, or null for a path that is none of ours. */
  countRequest(method: string, route: string | null, status: number, durationMs: number): void {
    const labels = {
      method: METHODS.has(method) ? method : 'other',
      route: route ?? 'none',
      code: `${Math.floor(status / 100)}xx`,
    };
    this.#requestTime.observe(labels, durationMs / 1000);
  }

  /** An HTTP request, or bytes that were none, got a problem document with this code. */
  countProblem(code: string): void {
    this.#problems.inc({ code });
  }

  /** A client begins to listen to server-sent events; to be called when it ends. */
  countStream(): () => void {
    this.#streams.inc();
    let open = true;
    return () => {
      if (open) this.#streams.dec();
      open = false;
    };
  }

  /** What became of an image that was sent in. */
  countAnalysis(outcome: AnalysisOutcome): void {
    this.#analysis.answered(outcome);
  }

  /** Everything, in the text format 0.0.4. */
  async text(): Promise<string> {
    this.#read();
    return this.#registry.metrics();
  }

  #read(): void {
    const health = this.#deps.heartbeat.current();
    this.#forgetCameras(new Set(health.cameras.map(({ id }) => id)));
    for (const [{ samples }, metric] of this.#heartbeat) {
      clear(metric);
      for (const [labels, value] of samples(health)) if (value !== null) put(metric, labels, value);
    }
    this.#analysis.read();
    const { link, store } = this.#deps;
    this.#link.connected.set(Number(link.stats().connectedSinceMs !== null));
    const { depth, oldestAgeS, droppedTotal } = store.outbox.stats();
    this.#outbox.messages.set(depth);
    clear(this.#outbox.age);
    if (oldestAgeS !== null) this.#outbox.age.set(oldestAgeS);
    setTotal(this.#outbox.dropped, droppedTotal);
    const { user, system } = process.cpuUsage();
    setTotal(this.#process.cpu, (user + system) / 1e6);
    this.#process.memory.set(process.memoryUsage.rss());
    setTotal(this.#process.loop, performance.eventLoopUtilization().active / 1000);
  }

  /** The last reading of a camera that was taken away is no reading. */
  #forgetCameras(present: ReadonlySet<string>): void {
    for (const camera of this.#seen) {
      if (present.has(camera)) continue;
      this.#seen.delete(camera);
      for (const metric of this.#readings.values()) metric.remove({ camera });
    }
  }

  async #watchLag(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    try {
      for (;;) {
        const dueMs = clock.monoMs() + LAG_EVERY_MS;
        await clock.sleep(LAG_EVERY_MS, signal);
        this.#lag.observe(Math.max(0, clock.monoMs() - dueMs) / 1000);
      }
    } catch (thrown) {
      if (!isAbort(thrown)) throw thrown;
    }
  }
}

function readingNames(): (keyof typeof READINGS)[] {
  return Object.keys(READINGS) as (keyof typeof READINGS)[];
}

/** Takes every line of a metric away. `reset` would leave a 0 where there are no labels. */
function clear(metric: Gauge | Counter): void {
  metric.reset();
  metric.remove({});
}

function put(metric: Gauge | Counter, labels: Readonly<Record<string, string>>, value: number): void {
  if ('set' in metric) metric.set(labels, value);
  else metric.inc(labels, value);
}

function setTotal(metric: Counter, total: number): void {
  metric.reset();
  metric.inc(total);
}
