import type { Analysis } from '../analysis/analysis.ts';
import { isoTime, type Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import { mapLogLine } from '../base/redact.ts';
import type { LevelledLog } from '../base/log.ts';
import type { RecentLog } from './recent-log.ts';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { Configuration } from '../config/configuration.ts';
import { labelledHeight } from '../calibration/reading.ts';
import type { AgentApi, LabelInput } from '../contract/api.ts';
import type { LastStop } from '../contract/diagnostics.ts';
import type { CalibrationSummary, Observation } from '../contract/observation.ts';
import type { SeaStatePicture, SeaStateRecord } from '../contract/sea-state.ts';
import type { Heartbeat } from '../health/heartbeat.ts';
import type { TimeSync } from '../health/time-sync.ts';
import type { Liveness } from '../health/liveness.ts';
import type { ModelLifecycle } from '../model/lifecycle.ts';
import type { Updates } from '../update/updates.ts';
import type { StatePublisher } from '../mqtt/state-publisher.ts';
import type { Link } from '../mqtt/types.ts';
import type { CameraRunner } from '../observation/camera-runner.ts';
import type { CameraSet } from '../observation/cameras.ts';
import type { LabelledImages } from '../observation/labelled-images.ts';
import type { WaterLevel } from '../observation/water-level.ts';
import type { SeaStateReports } from '../observation/sea-state-reports.ts';
import type { ModelServer } from '../serving/model-server.ts';
import type { Store } from '../store/store.ts';
import type { AgentState } from './agent-types.ts';
import { queueAgain } from './backfill.ts';
import type { CameraTest } from './camera-test.ts';
import { AgentDoctor } from './doctor/agent-doctor.ts';
import { buildDiagnostics } from './diagnostics.ts';
import { createHistoryApi } from './history.ts';
import type { AgentInfo } from './info.ts';
import { outboxView } from './outbox-view.ts';
import { cameraView, failureView, linkView } from './views.ts';

/** Takes clips of the cameras, and keeps their pictures. */
export interface SeaStateClips {
  /**
   * Takes one clip of the camera now, and stores its record with `SeaStateReports`. `durationS` null: that of the settings.
   * Rejects with `sea_state_unavailable` and `sea_state_busy`, as the store does, and when the signal aborts.
   */
  measure(camera: string, durationS: number | null, signal: AbortSignal): Promise<SeaStateRecord>;
  /** A PNG; null when it was not kept. */
  picture(record: SeaStateRecord, picture: SeaStatePicture): Promise<Uint8Array | null>;
}

export interface AgentApiParts {
  readonly clock: Clock;
  readonly levels: LevelledLog;
  readonly recentLog: Pick<RecentLog, 'entries' | 'lines'> | undefined;
  readonly configuration: Configuration;
  readonly state: AgentState;
  readonly store: Store;
  readonly link: Link;
  readonly info: AgentInfo;
  readonly states: StatePublisher;
  readonly cameras: CameraSet;
  readonly seaStates: Pick<SeaStateReports, 'newest'>;
  readonly waterLevel: Pick<WaterLevel, 'set' | 'levelAt'>;
  readonly images: Pick<LabelledImages, 'list' | 'readOwn'>;
  readonly clips?: SeaStateClips;
  readonly cameraTest: Pick<CameraTest, 'run'>;
  readonly time: Pick<TimeSync, 'state'>;
  readonly server: ModelServer;
  readonly analysis: Analysis;
  readonly models: ModelLifecycle;
  readonly updates: Updates;
  readonly heartbeat: Heartbeat;
  readonly liveness: Liveness;
  readonly lastStop: LastStop | null;
}

/** The methods that MQTT commands, HTTP and the command line share. */
export function createAgentApi(parts: AgentApiParts): AgentApi {
  const { clock, state, store, cameras, server, models, heartbeat, info, configuration, levels } = parts;

  const runner = (camera: string): CameraRunner => {
    const found = cameras.runners.get(camera);
    if (found) return found;
    throw new AgentError('camera_unknown', `there is no camera ${camera}`, {
      context: { cameras: [...cameras.runners.keys()] },
    });
  };

  /** Also a camera that was removed, while its sea states are stored. */
  const cameraWithSeaStates = (camera: string): string =>
    store.seaStates.newest(camera) ? camera : runner(camera).id;

  const calibration = (camera: string): SiteCalibration => {
    const found = cameras.calibrationOf(runner(camera).id);
    if (found) return found;
    throw new AgentError('calibration_invalid', 'the active model gives no embedding to calibrate on');
  };

  const doctor = new AgentDoctor({ ...parts, link: () => linkView(parts.link.stats()) });
  const missingParts = (): string[] => [
    ...(server.stats().ready ? [] : ['model']),
    ...(store.isWritable() ? [] : ['store']),
  ];

  return {
    status: () => ({
      status: state.phase,
      info: info.describe(),
      health: heartbeat.current(),
      model: models.state(),
      cameras: cameras.list().map((camera) => camera.state()),
      sea_states: cameras.list().flatMap((camera) => parts.seaStates.newest(camera.id) ?? []),
      calibrations: cameras.list().map((camera) => ({ camera: camera.id, ...camera.calibrationSummary() })),
      link: linkView(parts.link.stats()),
    }),
    info: () => info.describe(),
    health: () => heartbeat.current(),
    live: () => parts.liveness.report().alive,
    ready: () => {
      const missing = missingParts();
      return { ready: missing.length === 0, missing };
    },

    cameras: () => cameras.list().map((camera) => cameraView(camera, parts.seaStates.newest(camera.id))),
    capture: async (camera, signal) => {
      const found = runner(camera);
      const observation = await found.capture(signal);
      return { ...observation, failure: found.failure && failureView(found.failure) };
    },
    measureSeaState: async (camera, durationS, signal) => {
      const { id } = runner(camera);
      if (!parts.clips) throw new AgentError('sea_state_unavailable', `the camera ${id} takes no clips`);
      return parts.clips.measure(id, durationS, signal);
    },
    seaStates: (query) => store.seaStates.query({ ...query, camera: cameraWithSeaStates(query.camera) }),
    seaStatePicture: async (camera, id, picture) => {
      const known = cameraWithSeaStates(camera);
      const record = id === 'latest' ? store.seaStates.newest(known) : store.seaStates.find(known, id);
      if (!record) throw new AgentError('sea_state_unknown', `the camera ${known} has no sea state ${id}`);
      const png = await parts.clips?.picture(record, picture);
      if (!png) throw new AgentError('sea_state_picture_missing', `the ${picture} of this clip was not kept`);
      return png;
    },
    hasRoomForCapture: (camera) => cameras.runners.get(camera)?.hasRoomForCapture ?? true,
    latestImage: async (camera, options, signal) => {
      const { latestFrame, latestFrameObservationId, latest, settings, failure } = runner(camera);
      if (!latestFrame && failure) throw failure;
      if (!latestFrame) return null;
      const { privacyMasks, roi } = settings;
      const lines = options.annotate && latest ? captionLines(latest) : [];
      using lease = server.lease();
      const jpeg = await lease.render(
        latestFrame.bytes,
        { privacyMasks, roi: options.annotate ? roi : null, maxWidthPx: options.maxWidthPx, lines },
        signal,
      );
      return { jpeg, observationId: latestFrameObservationId };
    },
    analyze: (bytes, options, signal) => parts.analysis.analyze(bytes, options, signal),
    reserveUpload: (sizeBytes) => parts.analysis.reserveUpload(sizeBytes),

    observations: (query) => store.observations.query(query),
    ...createHistoryApi({
      ...{ clock, store, server },
      ...{ images: parts.images, waterLevel: parts.waterLevel },
      settingsOf: (camera) => cameras.runners.get(camera)?.settings ?? null,
    }),
    outbox: () => outboxView(store),
    backfill: async (camera, fromSeq, toSeq, signal, stream = 'observation') =>
      queueAgain({ camera: runner(camera).id, stream, fromSeq, toSeq }, { store, clock }, signal),

    addLabel: async (label: LabelInput, camera?: string): Promise<CalibrationSummary> => {
      const expected = camera === undefined ? null : runner(camera).id;
      const observation = store.observations.find(label.observation_id);
      if (expected !== null && observation && observation.camera !== expected)
        throw new AgentError(
          'label_refused',
          `the observation is of camera ${observation.camera}, not of ${expected}`,
        );
      const { camera: labelled } = store.labels.add({
        observationId: label.observation_id,
        ...labelledHeight(label),
        tideM: label.tide_m ?? null,
        observer: label.observer ?? null,
        note: label.note ?? null,
      });
      return cameras.refit(labelled);
    },
    removeLabel: async (camera: string | null, observationId: string): Promise<CalibrationSummary> => {
      const candidates = camera === null ? [...cameras.runners.keys()] : [runner(camera).id];
      const labelled = candidates.find((id) => store.labels.remove(observationId, id));
      if (labelled === undefined) throw new AgentError('observation_unknown', 'the observation has no label');
      return cameras.refit(labelled);
    },
    labels: (camera) =>
      store.labels.list(runner(camera).id).map((label) => ({
        observation_id: label.observationId,
        camera: label.camera,
        height_m: label.heightM,
        observer: label.observer,
        note: label.note,
        height: label.height ?? null,
        unit: label.unit ?? null,
        scale: label.scale ?? null,
        tide_m: label.tideM ?? null,
        created_at: isoTime(label.createdAtMs),
      })),
    exportCalibration: async (camera) => {
      const { exportCalibration } = await import('../calibration/document.ts');
      return exportCalibration(calibration(camera), { atMs: clock.nowMs(), model: models.state().active });
    },
    importCalibration: async (camera, document) => {
      const { embeddingDigest } = calibration(camera);
      const { importCalibration } = await import('../calibration/document.ts');
      const { bursts } = importCalibration(document, { camera, embeddingDigest });
      store.labels.import(camera, embeddingDigest, bursts);
      return cameras.refit(camera);
    },

    listModels: () => models.state(),
    installModel: (args, ids) => models.install(args, ids),
    rollbackModel: (signal) => models.rollback(signal),
    abortInstall: () => models.abort(),
    reloadModel: (signal) => models.reload(signal),

    listAgentVersions: () => parts.updates.state(),
    installAgent: (args, ids) => parts.updates.install(args, ids),
    rollbackAgent: (ids) => parts.updates.rollback(ids),

    getConfig: () => configuration.view(),
    setConfig: (patch, withinS) => configuration.set(patch, withinS),
    confirmConfig: (trial, signal) => configuration.confirmWhenInForce(trial, signal),
    withdrawConfig: (trial) => configuration.withdraw(trial),
    testCamera: (camera, signal) => parts.cameraTest.run(camera, signal),
    examine: (signal) => doctor.examine(signal),
    dropConfig: (key) => configuration.drop(key),
    restart: () => configuration.restart(),
    setTide: (setting) => parts.waterLevel.set(setting),
    setLogLevel: (level) => {
      const before = levels.level;
      levels.level = level;
      return { level, before };
    },
    announce: () => parts.states.announce(),
    log: (limit) => {
      // Once more: the settings may have got another secret since the line was written.
      const { redact } = configuration;
      return (parts.recentLog?.lines(limit) ?? []).map((line) => mapLogLine(line, redact));
    },
    diagnostics: ({ maxBytes }) =>
      buildDiagnostics({
        nowMs: clock.nowMs(),
        settings: state.settings,
        state: state.phase,
        missing: missingParts(),
        info: info.describe(),
        health: heartbeat.current(),
        link: parts.link,
        store,
        outbox: () => outboxView(store),
        lastStop: parts.lastStop,
        log: parts.recentLog?.entries() ?? [],
        maxBytes,
      }),
  };
}

/** The text in an annotated image. */
function captionLines(observation: Observation): string[] {
  const { captured_at: at, wave, status, reasons, camera, simulated } = observation;
  const height =
    wave.height_m === null
      ? `${status}${reasons.length > 0 ? `: ${reasons.join(', ')}` : ''}`
      : `${wave.height_m.toFixed(1)} m  (${wave.height_low_m?.toFixed(1) ?? '?'} - ${wave.height_high_m?.toFixed(1) ?? '?'} m)  ${wave.height_basis ?? ''}`;
  return [height, `${camera}  ${at}${simulated === true ? '  simulated' : ''}`];
}
