import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Access } from './control/access.ts';
import { CameraSet } from './observation/cameras.ts';
import type { Clock } from './base/clock.ts';
import { Closers, within } from './base/resource-stack.ts';
import type { Configuration } from './config/configuration.ts';
import { isLoopback } from './config/loopback.ts';
import { configDigest } from './config/redact.ts';
import type { Settings } from './config/schema.ts';
import type { AgentApi } from './contract/api.ts';
import { COMMAND_ARGS } from './contract/command.ts';
import type { Status } from './contract/states.ts';
import { Delivery } from './mqtt/delivery.ts';
import { asAgentError, isAbort } from './base/errors.ts';
import { bootId } from './health/boot.ts';
import { Metrics } from './health/metrics/metrics.ts';
import type { ClockState } from './health/types.ts';
import { Feed } from './http/feed.ts';
import { describeAgent } from './control/info.ts';
import { redactUrl, type LevelledLog, type Log } from './base/log.ts';
import { ModelLifecycle } from './model/lifecycle.ts';
import type { RecentLog } from './base/recent-log.ts';
import { LabelledImages } from './observation/labelled-images.ts';
import { reconfigure } from './control/reconfigure.ts';
import { Reembedder } from './observation/reembedding.ts';
import { ModelServer } from './serving/model-server.ts';
import { Store } from './store/store.ts';
import { TimeSync } from './health/time-sync.ts';
import { probeHardware } from './vision/hardware/probe.ts';
import { HealthMonitor } from './health/monitor.ts';

export interface AgentOptions {
  readonly settings: Settings;
  readonly version: string;
  /** Folder of the bundles that ship with the agent. */
  readonly shippedModelsDir: string;
  readonly env: NodeJS.ProcessEnv;
}

export interface AgentDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly levels: LevelledLog;
  /** The settings in force, of which `settings` were the newest when it was told to start. */
  readonly configuration: Configuration;
  /** Asked for when settings or an operator want all parts to start anew: whoever started the agent stops it then. */
  readonly onRestartWanted: () => void;
  /** Warnings and errors of the log, for the report of `diagnostics`. */
  readonly recentLog?: RecentLog;
  /** The kernel's word on its clock, but for tests. */
  readonly kernelClock?: () => ClockState | null;
}

const PRUNE_EVERY_MS = 60_000;
/** A clean stop takes at most about this long; then what still runs is left behind. */
const STOP_WITHIN_MS = 8_000;

/** The running agent: camera to broker, from top to bottom. */
export class Agent {
  readonly api: AgentApi;
  readonly #stop: (anew: boolean) => Promise<void>;

  private constructor(api: AgentApi, stop: (anew: boolean) => Promise<void>) {
    this.api = api;
    this.#stop = stop;
  }

  /**
   * Starts everything and returns as soon as cameras may be observed; model, broker and cameras come up by
   * themselves and are retried for ever. Throws what no retry mends: `store_locked`, `store_failed`,
   * `mqtt_port_taken`, `http_listen`, `model_not_found`.
   */
  static async start(options: AgentOptions, deps: AgentDeps): Promise<Agent> {
    const closers = new Closers();
    try {
      return await Agent.#compose(options, deps, closers);
    } catch (thrown) {
      await closers.close();
      throw thrown;
    }
  }

  static async #compose(options: AgentOptions, deps: AgentDeps, closers: Closers): Promise<Agent> {
    const { signal } = closers;
    const { settings, version } = options;
    const { clock, configuration } = deps;
    let current = settings;
    const part = (name: string): Log => deps.levels.log.child({ part: name });
    const log = part('agent');
    const session = randomUUID();
    const boot = bootId();
    let state: Status['state'] = 'starting';

    // What must not be lost is stored first; everything else may come and go.
    const store = Store.open(
      { ...settings.store, stateDir: settings.stateDir, bootId: boot },
      { clock, log: part('store'), onBroken: () => deps.onRestartWanted() },
    );
    closers.defer(() => store.close());
    const { raise } = store;
    const time = new TimeSync(
      { bootId: boot },
      { clock, log: part('time'), store, raise, kernel: deps.kernelClock },
    );
    await time.start(signal);

    // Vision: the model and the provider that was proved for it.
    const hardware = probeHardware(signal);
    hardware.catch(() => undefined);
    let machine: Awaited<typeof hardware> | null = null;
    const models: ModelLifecycle = ModelLifecycle.open(
      { ...settings, shippedDir: options.shippedModelsDir },
      {
        clock,
        log: part('models'),
        memory: store.keyValue,
        raise,
        model: () => current.model,
        time: () => time.state(),
        serving: () => serving,
        delivery: () => delivery,
        forecast: (candidate, aborted) => retrunk.forecast(candidate, aborted),
        onState: () => vitals.heartbeat.nudge(),
      },
    );
    const serving: ModelServer = new ModelServer(
      {
        model: settings.model,
        inference: settings.inference,
        shippedDir: options.shippedModelsDir,
        installedDirs: [join(settings.stateDir, 'models')],
      },
      {
        clock,
        log: part('vision'),
        memory: store.keyValue,
        raise,
        hardware,
        slots: models.slots,
        onStartFailed: (error, fellBack) => models.startFailed(error, fellBack),
        beforeBundle: (bundle) => cameraSet.prepare(bundle),
        onBundle: () => {
          cameraSet.relearn();
          retrunk.nudge();
          delivery.publishStates();
        },
      },
    );
    closers.defer(() => serving.close());

    // For who follows what happens over HTTP.
    const feed: Feed = new Feed({}, { source: store, log: part('http'), states: () => access.api.status() });

    // The way to the broker.
    let pageUrl: string | null = null;
    const info = () =>
      describeAgent({
        settings,
        version,
        session,
        bootId: boot,
        nowMs: clock.nowMs(),
        hardware: machine,
        report: serving.report,
        model: serving.model,
        bundle: serving.bundle,
        runners: cameraSet.list(),
        configDigest: configDigest(current),
      });
    const delivery: Delivery = await Delivery.open(
      { settings, session },
      {
        clock,
        random: deps.random,
        part,
        store,
        closers,
        info,
        modelState: () => models.state(),
        homeAssistant: () => current.mqtt.homeAssistant,
        describeDevice: () => ({
          site: settings.site,
          device: settings.device,
          version,
          model: machine?.model ?? null,
          cameras: [...cameraSet.runners.keys()],
          commands: Object.keys(COMMAND_ARGS),
          heartbeatIntervalS: current.heartbeat.intervalS,
          pageUrl,
        }),
        onConnected: () => {
          metrics.connected();
          models.linkUp();
          vitals.heartbeat.nudge();
        },
        onCommand: (name, packet) => models.receive(name, packet) || access.commands.receive(name, packet),
        onAccepted: (entry, historical) => metrics.delivered(entry, historical),
        onTold: (topic, payload) => feed.told(topic, payload),
      },
    );
    const { link, topics } = delivery;
    const metrics = await Metrics.open(
      { agentVersion: version },
      {
        clock,
        health: () => vitals.health(),
        sources: { link: () => link.stats(), outbox: () => store.outbox.stats() },
        analysis: { load: () => access.analysis.stats(), cache: () => access.cache.stats() },
      },
    );
    metrics.start(signal);

    // Cameras, and what is kept of their pictures for models that come later.
    const pictures = new LabelledImages(
      { dir: join(settings.stateDir, 'pictures') },
      {
        clock,
        log: part('pictures'),
        render: async (frame, options) => {
          using lease = serving.lease();
          return await lease.render(frame, options, signal);
        },
        labelled: (camera) => store.labels.list(camera).map(({ observationId }) => observationId),
      },
    );
    const cameraSet = new CameraSet(
      {
        cameras: settings.cameras,
        device: settings.device,
        context: () => ({
          site: settings.site,
          device: settings.device,
          bootId: boot,
          model: serving.model,
          provider: serving.report?.provider ?? null,
          clock: time.wire(),
        }),
      },
      {
        clock,
        log: part('camera'),
        store,
        raise,
        serving,
        link,
        onObservation: (observation) => {
          metrics.observed(observation);
          feed.poke();
        },
        pictures,
        signal,
      },
    );
    const retrunk = new Reembedder({
      clock,
      log: part('calibration'),
      store,
      pictures,
      serving,
      cameras: () => cameraSet.list().map((runner) => runner.settings),
      summaryOf: (camera) => cameraSet.calibrationOf(camera)?.summary() ?? null,
      refit: (camera) => cameraSet.refit(camera),
    });
    await models.begin(signal);
    await serving.open(signal);
    await cameraSet.open();
    time.onMended(() => cameraSet.retell());

    // Health.
    const vitals: HealthMonitor = new HealthMonitor(
      { settings, version, bootId: boot },
      {
        clock,
        log: part('health'),
        serving,
        models,
        cameraSet,
        link,
        store,
        time,
        sink: (health) => link.setState('health', health, { expiryS: 3 * current.heartbeat.intervalS }),
      },
    );
    await vitals.start(signal);

    // The outside.
    const access: Access = new Access(
      { settings, version, bootId: boot },
      {
        clock,
        configuration,
        levels: deps.levels,
        recentLog: deps.recentLog,
        part,
        closers,
        store,
        time,
        serving,
        models,
        delivery,
        cameraSet,
        vitals,
        metrics,
        feed,
        info,
        state: () => state,
        current: () => current,
      },
    );
    const { api, http } = access;
    models.resume(access.commands);
    const { host } = settings.http;
    const address = `http://${host}:${(await http.start()).port}`;
    pageUrl = isReachable(host) ? `${address}/` : null;

    // Everything is there: begin.
    delivery.start(signal);
    const background = (name: string, work: Promise<void>): Promise<void> =>
      work.catch((thrown: unknown) => {
        if (!isAbort(thrown)) log.error({ err: asAgentError(thrown), task: name }, 'a background task ended');
      });
    const running = [
      background('heartbeat', vitals.heartbeat.run(signal)),
      background('retention', pruneForever(store, deps, signal)),
      background('vision', models.serve(signal)),
      background('models', models.run(signal)),
      background('cameras', cameraSet.run(signal)),
      background('calibration', retrunk.run(signal)),
    ];
    await vitals.tellServiceManager(options.env, signal);
    void hardware.then(
      (found) => {
        machine = found;
        delivery.publishStates();
      },
      () => undefined,
    );
    state = 'online';
    log.info(
      {
        version,
        http: address,
        mqtt: delivery.urls.map(redactUrl),
        topics: `${topics.prefix}#`,
        state_dir: settings.stateDir,
      },
      'agent started',
    );

    const detach = configuration.attach(
      {
        apply: async (change) => {
          log.info({ keys: change.keys }, 'configuration changes');
          await reconfigure(change, {
            levels: deps.levels,
            cameraSet,
            heartbeat: vitals.heartbeat,
            store,
            link,
          });
          current = change.to;
          delivery.publishStates();
          vitals.heartbeat.nudge();
        },
        restart: deps.onRestartWanted,
        connected: () => link.connected,
        raise,
      },
      settings,
    );

    return new Agent(api, async (anew) => {
      state = 'stopped';
      if (anew) vitals.startsAnew();
      detach();
      // The link goes first, so that `stopped` is said while there is still a connection; and HTTP requests under way
      // are answered while there is still all that they need.
      await within(STOP_WITHIN_MS, clock, Promise.all([link.stop(), http.stop()]));
      closers.abort();
      await within(STOP_WITHIN_MS, clock, Promise.all(running));
      await within(STOP_WITHIN_MS, clock, closers.close());
    });
  }

  /** Says `stopped`, gives up the slot in hand, and releases everything. Bounded in time. `anew`: to start again at once. */
  stop(options: { readonly anew?: boolean } = {}): Promise<void> {
    return this.#stop(options.anew ?? false);
  }
}

/** Whether others can open a page under this address: not this machine alone, and not just any of its addresses. */
const isReachable = (host: string): boolean => !isLoopback(host) && host !== '0.0.0.0' && host !== '::';

async function pruneForever(store: Store, { clock, levels }: AgentDeps, signal: AbortSignal): Promise<void> {
  for (;;) {
    await clock.sleep(PRUNE_EVERY_MS, signal);
    try {
      while (store.prune().more) await clock.sleep(50, signal);
    } catch (thrown) {
      if (isAbort(thrown)) throw thrown;
      levels.log.error({ err: thrown }, 'retention failed');
    }
  }
}
