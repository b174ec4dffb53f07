import type { Analysis } from '../analysis/analysis.ts';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import { queueAgain } from './backfill.ts';
import { isoTime, type Clock } from '../base/clock.ts';
import type { Configuration } from '../config/configuration.ts';
import type { AgentApi, AgentStatus, CameraView, LabelInput, LabelRecord } from '../contract/api.ts';
import type { BackfillResult } from '../contract/command-results.ts';
import type { Diagnostics } from '../contract/diagnostics.ts';
import type { Health } from '../contract/health.ts';
import type { CalibrationSummary, Observation } from '../contract/observation.ts';
import type { Info, Status } from '../contract/states.ts';
import { AgentError } from '../base/errors.ts';
import type { LevelledLog } from '../base/log.ts';
import type { ModelLifecycle } from '../model/lifecycle.ts';
import { outboxView } from './outbox-view.ts';
import type { CameraRunner } from '../observation/camera-runner.ts';
import type { Store } from '../store/store.ts';
import type { ModelLease } from '../vision/protocol.ts';

export interface AgentParts {
  readonly runners: ReadonlyMap<string, CameraRunner>;
  readonly store: Store;
  readonly lease: () => ModelLease;
  readonly analysis: Analysis;
  readonly calibrationOf: (camera: string) => SiteCalibration | null;
  /** Learns the camera's labels anew; resolves with the state after it. */
  readonly refit: (camera: string) => Promise<CalibrationSummary>;
  readonly state: () => Status['state'];
  readonly info: () => Info;
  readonly health: () => Health;
  readonly models: ModelLifecycle;
  readonly alive: () => boolean;
  readonly clock: Clock;
  readonly configuration: Configuration;
  readonly levels: LevelledLog;
  /** Codes of what is missing for work. */
  readonly missing: () => readonly string[];
  /** Publishes what every birth publishes. */
  readonly announce: () => Promise<void>;
  readonly diagnostics: (options: { readonly maxBytes: number }) => Diagnostics;
}

/** The methods that MQTT commands, HTTP and the command line share. */
export function createAgentApi(parts: AgentParts): AgentApi {
  const { runners, store, models } = parts;

  const runner = (camera: string): CameraRunner => {
    const found = runners.get(camera);
    if (found) return found;
    throw new AgentError('camera_unknown', `there is no camera ${camera}`, {
      context: { cameras: [...runners.keys()] },
    });
  };

  const calibration = (camera: string): SiteCalibration => {
    runner(camera);
    const found = parts.calibrationOf(camera);
    if (found) return found;
    throw new AgentError('calibration_invalid', 'the model that serves gives no embedding to calibrate on');
  };

  const view = (one: CameraRunner): CameraView => {
    const nextRunAtMs = one.schedule.nextRunAtMs();
    return {
      id: one.id,
      kind: one.settings.kind,
      schedule: one.schedule.description,
      state: one.state(),
      next_run_at: nextRunAtMs === null ? null : isoTime(nextRunAtMs),
      latest: one.latest,
      calibration: one.calibrationSummary(),
    };
  };

  return {
    status: (): AgentStatus => ({
      status: parts.state(),
      info: parts.info(),
      health: parts.health(),
      model: models.state(),
      cameras: [...runners.values()].map((one) => one.state()),
    }),
    info: parts.info,
    health: parts.health,
    live: parts.alive,
    ready: () => {
      const missing = parts.missing();
      return { ready: missing.length === 0, missing };
    },
    cameras: () => [...runners.values()].map(view),
    capture: async (camera, signal): Promise<Observation> => runner(camera).capture(signal),
    analyze: (bytes, options, signal) => parts.analysis.analyze(bytes, options, signal),
    reserveUpload: (sizeBytes) => parts.analysis.reserveUpload(sizeBytes),
    observations: (query) => store.observations.query(query),
    latestImage: async (camera, options, signal) => {
      const { latestFrame, latest, settings } = runner(camera);
      if (!latestFrame) return null;
      const { privacyMasks, roi } = settings;
      const lines = options.annotate && latest ? caption(latest) : [];
      using lease = parts.lease();
      return await lease.render(
        latestFrame.bytes,
        { privacyMasks, roi: options.annotate ? roi : null, maxWidthPx: options.maxWidthPx, lines },
        signal,
      );
    },
    addLabel: async (label: LabelInput, camera?: string): Promise<CalibrationSummary> => {
      const observation = store.observations.find(label.observation_id);
      if (camera !== undefined && observation && observation.camera !== camera) {
        throw new AgentError(
          'label_refused',
          `that observation is of camera ${observation.camera}, not ${camera}`,
        );
      }
      const { camera: labelled } = store.labels.add({
        observationId: label.observation_id,
        heightM: label.height_m,
        observer: label.observer ?? null,
        note: label.note ?? null,
      });
      return parts.refit(labelled);
    },
    removeLabel: async (camera: string | null, observationId: string): Promise<CalibrationSummary> => {
      const candidates = camera === null ? [...runners.keys()] : [runner(camera).id];
      const labelled = candidates.find((id) => store.labels.remove(observationId, id));
      if (labelled === undefined)
        throw new AgentError('observation_unknown', 'there is no label of that observation');
      return parts.refit(labelled);
    },
    labels: (camera): readonly LabelRecord[] => {
      runner(camera);
      return store.labels.list(camera).map((label) => ({
        observation_id: label.observationId,
        camera: label.camera,
        height_m: label.heightM,
        observer: label.observer,
        note: label.note,
        created_at: isoTime(label.createdAtMs),
      }));
    },
    exportCalibration: async (camera) => {
      const { exportCalibration } = await import('../calibration/document.ts');
      return exportCalibration(calibration(camera), {
        atMs: parts.clock.nowMs(),
        model: models.state().active,
      });
    },
    importCalibration: async (camera, document) => {
      const current = calibration(camera);
      const { importCalibration } = await import('../calibration/document.ts');
      const { bursts } = importCalibration(document, { camera, embeddingDigest: current.embeddingDigest });
      store.labels.import(camera, current.embeddingDigest, bursts);
      return parts.refit(camera);
    },
    listModels: () => models.state(),
    installModel: (args, ids) => models.install(args, ids),
    rollbackModel: (signal) => models.rollback(signal),
    abortInstall: () => models.abort(),
    reloadModel: (signal) => models.reload(signal),
    outbox: () => outboxView(store),
    announce: parts.announce,
    getConfig: () => parts.configuration.view(),
    setConfig: (patch, withinS) => parts.configuration.set(patch, withinS),
    confirmConfig: (trial, signal) => parts.configuration.confirmSoon(trial, signal),
    setLogLevel: (level) => {
      const before = parts.levels.level;
      parts.levels.level = level;
      return { level, before };
    },
    restart: () => parts.configuration.restart(),
    diagnostics: parts.diagnostics,
    backfill: async (camera, fromSeq, toSeq, signal): Promise<BackfillResult> => {
      runner(camera);
      return queueAgain({ camera, fromSeq, toSeq }, { store, clock: parts.clock }, signal);
    },
  };
}

/** What is written into an annotated picture. */
function caption({ captured_at: at, wave, status, reasons, camera }: Observation): string[] {
  const height =
    wave.height_m === null
      ? `${status}${reasons.length > 0 ? `: ${reasons.join(', ')}` : ''}`
      : `${wave.height_m.toFixed(1)} m  (${wave.height_low_m?.toFixed(1) ?? '?'} - ${wave.height_high_m?.toFixed(1) ?? '?'} m)  ${wave.height_basis ?? ''}`;
  return [height, `${camera}  ${at}`];
}
