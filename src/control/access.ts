import { createAgentApi, type AgentParts } from './agent-api.ts';
import { Analysis } from '../analysis/analysis.ts';
import type { CameraSet } from '../observation/cameras.ts';
import type { Closers } from '../base/resource-stack.ts';
import type { Settings } from '../config/schema.ts';
import type { AgentApi } from '../contract/api.ts';
import type { Delivery } from '../mqtt/delivery.ts';
import { describeForDiagnosis } from './diagnostics.ts';
import type { Metrics } from '../health/metrics/metrics.ts';
import type { Feed } from '../http/feed.ts';
import { HttpServer } from '../http/server.ts';
import type { Log } from '../base/log.ts';
import type { ModelLifecycle } from '../model/lifecycle.ts';
import { Commands } from '../mqtt/commands/commands.ts';
import { outboxView } from './outbox-view.ts';
import type { RecentLog } from '../base/recent-log.ts';
import type { ModelServer } from '../serving/model-server.ts';
import { SqliteAnalysisCache } from '../store/analysis-cache.ts';
import type { Store } from '../store/store.ts';
import type { TimeSync } from '../health/time-sync.ts';
import type { HealthMonitor } from '../health/monitor.ts';

export interface AccessOptions {
  readonly settings: Settings;
  readonly version: string;
  readonly bootId: string;
}

export interface AccessDeps extends Pick<
  AgentParts,
  'clock' | 'configuration' | 'levels' | 'state' | 'info'
> {
  readonly part: (name: string) => Log;
  readonly closers: Closers;
  readonly store: Store;
  readonly time: TimeSync;
  readonly serving: ModelServer;
  readonly models: ModelLifecycle;
  readonly delivery: Delivery;
  readonly cameraSet: CameraSet;
  readonly vitals: HealthMonitor;
  readonly metrics: Metrics;
  readonly feed: Feed;
  /** Of now: they may have changed since the start. */
  readonly current: () => Settings;
  /** Warnings and errors of the log, for the report of `diagnostics`. */
  readonly recentLog: RecentLog | undefined;
}

/** How others get at the agent: one set of methods for commands, HTTP and the command line. */
export class Access {
  readonly api: AgentApi;
  readonly analysis: Analysis;
  readonly cache: SqliteAnalysisCache;
  readonly commands: Commands;
  readonly http: HttpServer;

  /** Listens nowhere yet. What it opens is closed by the closers. */
  constructor({ settings, version, bootId }: AccessOptions, deps: AccessDeps) {
    const { clock, part, closers, store, serving, models, delivery, cameraSet, vitals, metrics } = deps;
    const { topics, link } = delivery;
    this.cache = SqliteAnalysisCache.open(
      { stateDir: settings.stateDir, bootId, ttlS: settings.http.cacheTtlS },
      { clock, log: part('cache') },
    );
    closers.defer(() => this.cache.close());
    this.analysis = new Analysis(settings.http, {
      clock,
      cache: this.cache,
      onAnswered: (outcome) => metrics.analysed(outcome),
      lease: () => serving.lease(),
      model: () => serving.model,
      frameMs: () => serving.stats().p50Ms,
      camera: (id) => cameraSet.runners.get(id)?.settings,
      calibrationOf: (camera) => cameraSet.calibrationOf(camera),
    });
    const missing = (): string[] => [
      ...(serving.stats().ready ? [] : ['model']),
      ...(store.isWritable() ? [] : ['store']),
    ];
    this.api = createAgentApi({
      analysis: this.analysis,
      runners: cameraSet.runners,
      store,
      lease: () => serving.lease(),
      calibrationOf: (camera) => cameraSet.calibrationOf(camera),
      refit: (camera) => cameraSet.refit(camera),
      state: deps.state,
      info: deps.info,
      health: () => vitals.health(),
      models,
      alive: () => vitals.alive(),
      clock,
      configuration: deps.configuration,
      levels: deps.levels,
      missing,
      announce: () => delivery.announce(),
      diagnostics: ({ maxBytes }) =>
        describeForDiagnosis({
          nowMs: clock.nowMs(),
          settings: deps.current(),
          state: deps.state(),
          missing: missing(),
          info: deps.info(),
          health: vitals.health(),
          link,
          store,
          outbox: () => outboxView(store),
          log: deps.recentLog?.entries() ?? [],
          maxBytes,
        }),
    });
    this.commands = new Commands(
      {},
      {
        topics,
        link,
        clock,
        clockSynced: () => deps.time.state().synced,
        log: part('commands'),
        raise: store.raise,
        commandLog: store.commands,
        api: this.api,
      },
    );
    closers.defer(() => this.commands.stop());
    this.http = new HttpServer(settings.http, {
      api: this.api,
      log: part('http'),
      version,
      metrics,
      feed: deps.feed,
    });
    closers.defer(() => this.http.stop());
  }
}
