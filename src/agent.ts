// Longer than 300 lines because it constructs every part, to be read from top to bottom.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Analysis } from './analysis/analysis.ts';
import { settleWithin } from './base/deadline.ts';
import { asAgentError, isAbort } from './base/errors.ts';
import type { Log } from './base/log.ts';
import { createCameraOpener } from './camera/open.ts';
import { CameraTest } from './control/camera-test.ts';
import { createAgentApi } from './control/agent-api.ts';
import { createAgentEvents, wireEvents } from './control/agent-events.ts';
import { settleAll } from './base/settle-all.ts';
import type { Health } from './contract/health.ts';
import type { Agent, AgentDeps, AgentOptions, AgentState } from './control/agent-types.ts';
import { AgentInfo } from './control/info.ts';
import { healthSources } from './control/health-sources.ts';
import { redactedEvents } from './control/redacted-events.ts';
import { createReconfigure } from './control/reconfigure.ts';
import { readBootId, readHardwareIds } from './health/machine.ts';
import { BoardMonitor } from './health/board/board-monitor.ts';
import { Heartbeat } from './health/heartbeat.ts';
import { reportLastStop } from './health/last-stop.ts';
import { Liveness, noProgressEvent, watchScheduler, watchVision } from './health/liveness.ts';
import { Metrics } from './health/metrics/metrics.ts';
import { TimeSync } from './health/time-sync.ts';
import { Watchdog } from './health/watchdog.ts';
import { Feed } from './http/feed.ts';
import { HttpServer } from './http/server.ts';
import { openBundle } from './model/bundle/bundle.ts';
import { Fetcher } from './model/fetch/fetcher.ts';
import { Installer } from './model/install/installer.ts';
import { ModelLifecycle } from './model/lifecycle.ts';
import { readFactoryModel } from './model/slots/active-model.ts';
import { SlotStore } from './model/slots/slot-store.ts';
import { ModelBlocks } from './mqtt/blocks/model-blocks.ts';
import { Commands } from './mqtt/commands/commands.ts';
import { Discovery } from './mqtt/discovery/discovery.ts';
import { startEmbeddedBroker } from './mqtt/embedded-broker.ts';
import { Forwarder } from './mqtt/forward/forwarder.ts';
import { MqttLink } from './mqtt/link/link.ts';
import { ReplaceableLink } from './mqtt/link/replaceable-link.ts';
import { StatePublisher } from './mqtt/state-publisher.ts';
import { Topics } from './mqtt/topics.ts';
import { CameraSet } from './observation/cameras.ts';
import { LabelledImages } from './observation/labelled-images.ts';
import { Reembedder } from './observation/reembedding.ts';
import { CameraClips } from './observation/clips/camera-clips.ts';
import { FigureFiles } from './observation/clips/figure-files.ts';
import { SeaStateReports } from './observation/sea-state-reports.ts';
import { SiteCalibrations } from './observation/site-calibrations.ts';
import { WaterLevel } from './observation/water-level.ts';
import { createSchedule } from './schedule/schedule.ts';
import { SeaStateProcess } from './sea-state/process/sea-state-process.ts';
import { ModelServer } from './serving/model-server.ts';
import { SqliteAnalysisCache } from './store/analysis-cache.ts';
import { pruneRegularly } from './store/prune-regularly.ts';
import { Store } from './store/store.ts';
import { AutoUpdate } from './update/auto-update.ts';
import { runningVersion } from './update/types.ts';
import { UpdateFiles } from './update/update-files.ts';
import { Updates } from './update/updates.ts';
import { probeHardware } from './vision/hardware/probe.ts';

/** Longest times of the answers to interrupted commands, and of each of the three further steps of a clean stop. */
const STOP_MS = { commands: 2_000, step: 8_000 };

/**
 * Starts the agent. This is the only place that constructs its parts, in the order of their dependencies. Returns when
 * cameras can be observed; the model, the broker and the cameras may come up later and are retried for ever. Throws only
 * what a retry cannot repair: `store_locked`, `store_failed`, `mqtt_port_taken`, `http_listen`, `model_not_found`.
 */
export async function startAgent(options: AgentOptions, deps: AgentDeps): Promise<Agent> {
  const { settings, version, shippedModelsDir: shippedDir } = options;
  const { clock, random, levels, configuration } = deps;
  const { site, device, stateDir, inference } = settings;
  const stopping = new AbortController();
  const { signal } = stopping;
  // A start that fails aborts what runs already, then releases what is open.
  await using resources = new AsyncDisposableStack();
  using abortOnFailure = new DisposableStack();
  abortOnFailure.defer(() => stopping.abort());

  const part = (name: string): Log => levels.log.child({ part: name });
  const log = part('agent');
  const identity = { site, device, version, session: randomUUID(), bootId: readBootId() };
  const state: AgentState = { phase: 'starting', settings, hardware: null, pageUrl: null };
  const on = createAgentEvents();

  // The store comes first: what must not be lost is stored before anything else happens with it.
  const store = Store.open(
    { ...settings.store, stateDir, bootId: identity.bootId },
    { clock, log: part('store'), onBroken: deps.onRestartWanted, hardware: readHardwareIds },
  );
  resources.defer(() => store.close());
  const { keyValue: memory, outbox } = store;
  const raise = redactedEvents(store.raise, configuration.redact);
  const base = (name: string) => ({ clock, random, log: part(name), raise, memory, store, signal });
  const onCorrected = on.timesCorrected.emit;
  const time = new TimeSync(identity, { ...base('time'), kernel: deps.kernelClock, onCorrected });
  await time.start(signal);
  const lastStop = reportLastStop({ dir: options.env['STATE_DIRECTORY'] ?? stateDir }, base('agent'));

  // The connection to the broker.
  const embedded = await startEmbeddedBroker(settings.mqtt, base('broker'));
  resources.defer(() => embedded?.broker.stop());
  const mqtt = embedded?.settings ?? settings.mqtt;
  const topics = new Topics({ base: mqtt.base, site, device });
  const mqttDeps = { ...base('mqtt'), topics };
  const onLink = { onConnected: on.connected.emit, onCommand: on.command.emit };
  const link = new ReplaceableLink(
    mqtt,
    (wanted) => new MqttLink({ mqtt: wanted, session: identity.session }, { ...mqttDeps, ...onLink }),
    { clock, onState: on.published.emit },
  );

  // The model that runs.
  const modelsDir = join(stateDir, 'models');
  const slots = SlotStore.open(modelsDir, base('models'));
  const hardware = probeHardware(signal);
  hardware.catch(() => undefined);
  const server = new ModelServer(
    { ...settings, shippedDir, installedDirs: [modelsDir] },
    {
      ...base('vision'),
      hardware,
      slots,
      onStartFailed: on.modelStartFailed.emit,
      beforeBundle: on.bundleProved.emitAndWait,
      onBundle: on.bundleChanged.emit,
    },
  );
  resources.defer(() => server.close());

  // Cameras, and what is learned of each.
  const limits = () => state.settings.health;
  const board = new BoardMonitor({ ...base('board'), limits });
  const calibrations = new SiteCalibrations(settings.calibration, { ...base('calibration'), server });
  const images = new LabelledImages({ stateDir }, { ...base('pictures'), server });
  const onSeaState = on.seaStateStored.emit;
  const seaStates = new SeaStateReports({ ...base('sea-state'), ...identity, link, onSeaState });
  const seaStateProcess = new SeaStateProcess({ clock });
  const waterLevel = new WaterLevel({ clock, memory });
  const figureFiles = new FigureFiles({ stateDir });
  const openers = { openCamera: createCameraOpener(), createSchedule };
  const cameraDeps = {
    link,
    server,
    time,
    images,
    seaStates,
    ...{ seaStateProcess, figureFiles, waterLevel },
    calibrations,
    board,
    configuration,
    ...openers,
  };
  const onObservation = on.observed.emit;
  const cameras = new CameraSet({ settings, identity }, { ...base('camera'), ...cameraDeps, onObservation });
  const reembedder = new Reembedder({ ...base('calibration'), images, server, cameras, calibrations });

  // Models that arrive while the agent runs.
  const blocks = new ModelBlocks({}, { ...base('models'), link });
  const fetcher = new Fetcher({ dir: modelsDir }, { ...base('models'), blocks });
  const factory = await readFactoryModel({ shippedDir }, base('models'), signal);
  const installer = new Installer(
    { factory, settings: settings.model },
    {
      ...base('models'),
      ...{ slots, fetcher, openBundle },
      host: server,
      forecast: reembedder.forecast,
      liveSettings: () => state.settings.model,
      syncedNowMs: () => (time.state().synced ? clock.nowMs() : null),
      onState: on.modelChanged.emit,
      onProgress: on.installProgress.emit,
    },
  );
  const onChanged = on.modelChanged.emit;
  const models = new ModelLifecycle(settings, { ...base('models'), slots, installer, server, onChanged });

  // Other versions of the agent itself.
  const updateFiles = new UpdateFiles({
    stateDir,
    updaterDir: options.env['SWELLSIGHT_UPDATER_STATE'] ?? null,
  });
  const releases = new Fetcher({ dir: updateFiles.dir, product: 'agent' }, { ...base('update'), blocks });
  const updateDeps = {
    ...base('update'),
    fetcher: releases,
    settings: () => state.settings.update,
    syncedNowMs: () => (time.state().synced ? clock.nowMs() : null),
  };
  const updates = new Updates(
    { running: runningVersion(version, options.installationDir) },
    {
      ...updateDeps,
      files: updateFiles,
      health: () => heartbeat.buildRecord(),
      isVisionReady: () => server.stats().ready,
      isStoreWritable: () => store.isWritable(),
      isConnected: () => link.connected,
      cameras: () => cameras.list(),
      onChanged: on.updateChanged.emit,
      onProgress: on.updateProgress.emit,
    },
  );
  const autoUpdate = new AutoUpdate({ ...updateDeps, updates });

  // What the device publishes.
  const info = new AgentInfo(identity, { clock, state, server, cameras, seaStates });
  const discovery = new Discovery(
    { settings: () => state.settings.mqtt.homeAssistant, describe: () => info.describeForDiscovery() },
    { ...base('discovery'), topics, link },
  );
  const onPublished = on.published.emit;
  const states = new StatePublisher({ clock, link, discovery, info, models, updates, onPublished });
  const forwarder = new Forwarder(mqtt, { ...mqttDeps, link, outbox, onAccepted: on.delivered.emit });

  // Health.
  const parts = [watchVision(inference, server), watchScheduler(cameras)];
  const liveness = new Liveness({}, { clock, parts });
  const sources = healthSources({ cameras, link, server, store, models, time });
  const sink = (health: Health): void => {
    link.setState('health', health, { expiryS: 3 * state.settings.heartbeat.intervalS, withOthers: true });
    states.publishInfo();
  };
  const heartbeatOptions = { ...identity, ...settings.heartbeat, stateDir };
  const heartbeat = new Heartbeat(heartbeatOptions, { ...base('health'), sources, board, limits, sink });

  // What others ask of the device: uploaded images, commands, HTTP.
  const cacheOptions = { stateDir, bootId: identity.bootId, ttlS: settings.http.cacheTtlS };
  const cache = SqliteAnalysisCache.open(cacheOptions, base('cache'));
  resources.defer(() => cache.close());
  const onAnswered = on.analysed.emit;
  const analysis = new Analysis(settings.http, { clock, cache, server, cameras, onAnswered });
  const metrics = await Metrics.open(identity, { clock, heartbeat, link, store, analysis, cache });
  const api = createAgentApi({
    ...{ clock, levels, recentLog: deps.recentLog, configuration, state, store, link, info, states },
    clips: new CameraClips(cameras),
    cameraTest: new CameraTest({ clock, configuration, cameras, server, openCamera: openers.openCamera }),
    ...{ time, cameras, seaStates, waterLevel, images, server, analysis, models, updates, heartbeat },
    ...{ liveness, lastStop },
  });
  const commandDeps = { topics, link, api, clockSynced: () => time.state().synced };
  const commands = new Commands({}, { ...base('commands'), ...commandDeps, commandLog: store.commands });
  resources.defer(() => commands.stop());
  const feed = new Feed({}, { ...base('http'), source: store, states: () => api.status() });
  const http = new HttpServer(settings.http, { ...base('http'), api, version, metrics, feed });
  resources.defer(() => http.stop());

  wireEvents(on, {
    ...{ metrics, feed, blocks, forwarder, discovery, heartbeat, commands },
    ...{ cameras, seaStates, reembedder, models, states, updates },
  });

  // Start.
  metrics.start(signal);
  models.countStart();
  await server.open(signal);
  await cameras.open();
  liveness.start(signal);
  await heartbeat.beat();
  models.resume(commands);
  updates.resume(commands);
  const { address, pageUrl } = await http.start();
  state.pageUrl = pageUrl;
  discovery.start(signal);
  states.publish();
  link.start(signal);
  forwarder.start(signal);
  const inBackground = (task: string, work: Promise<unknown>): Promise<unknown> =>
    work.catch((thrown: unknown) => {
      if (!signal.aborted || !isAbort(thrown))
        log.error({ err: asAgentError(thrown), task }, 'background task ended');
    });
  const hardwareKnown = hardware.then((found) => {
    state.hardware = found;
    states.publish();
  });
  const tasks = [
    inBackground('board', board.run(signal)),
    inBackground('heartbeat', heartbeat.run(signal)),
    inBackground('retention', pruneRegularly(store, { clock, log }, signal)),
    inBackground('database check', store.checkFile(signal)),
    inBackground('vision', models.serve(signal)),
    inBackground('models', models.run(signal)),
    inBackground('cameras', cameras.run(signal)),
    inBackground('calibration', reembedder.run(signal)),
    inBackground('updates', updates.run(signal)),
    inBackground('automatic updates', autoUpdate.run(signal)),
    inBackground('hardware', hardwareKnown),
  ];
  const stalled = (): readonly string[] => liveness.report().stalled;
  const onStalled = (stalledParts: readonly string[]): void => raise(noProgressEvent(stalledParts));
  const watchdog = await Watchdog.open(options.env, { clock, stalled, onStalled });
  watchdog?.start(signal);
  state.phase = 'online';
  log.info(
    { version, http: address, mqtt: mqtt.url, topics: `${topics.prefix}#`, state_dir: stateDir },
    'agent started',
  );
  const reconfigure = createReconfigure({ log, levels, state, cameras, heartbeat, store, link, states });
  const host = { ...reconfigure, restart: deps.onRestartWanted, isConnected: () => link.connected, raise };
  const detach = configuration.attach(host, settings);
  // The next step follows in any case: a link that does not stop must not leave the store and processes open.
  const stopWithin = (step: string, work: Promise<void>, ms = STOP_MS.step): Promise<void> =>
    settleWithin(ms, clock, work).catch((thrown: unknown) =>
      log.error({ err: asAgentError(thrown), step }, 'a part did not stop'),
    );
  abortOnFailure.move();
  const opened = resources.move();
  return {
    api,
    stop: async ({ isRestart = false } = {}) => {
      state.phase = 'stopped';
      if (isRestart) watchdog?.announceRestart();
      detach();
      await stopWithin('commands', commands.stop(), STOP_MS.commands);
      cameras.publishStopped();
      // Then the link, while `stopped` can still be published, and HTTP, while open requests can still be answered.
      await stopWithin('connections', settleAll([link.stop(), http.stop()]));
      stopping.abort();
      await stopWithin('tasks', settleAll(tasks));
      await stopWithin('resources', opened.disposeAsync());
    },
  };
}
