import type { AgentInstallArgs, AgentUpdate, AgentUpdateResult, AgentVersions } from './agent-update.ts';
import type { AnalysisOptions, AnalysisResult, UploadReservation } from './analysis.ts';
import type { CalibrationSummary, CapturedObservation, Observation } from './observation.ts';
import type { CameraTestResult } from './camera-test.ts';
import type { BackfillResult } from './command-results.ts';
import type {
  ConfigChange,
  ConfigConfirmed,
  ConfigDropped,
  ConfigView,
  ConfigWithdrawn,
  Deferred,
  LogLevelChange,
  LogLevelName,
  Restarting,
} from './config.ts';
import type { DoctorReport } from './doctor.ts';
import type { Diagnostics } from './diagnostics.ts';
import type { EventPage, FramePage, LabelQueue, Series } from './history.ts';
import type { Health } from './health.ts';
import type { AgentStatus, CameraView, LabelRecord } from './openapi/views.ts';
import type { OutboxView } from './outbox.ts';
import type {
  ModelAborted,
  ModelInstall,
  ModelInstallArgs,
  ModelInstallResult,
  ModelServes,
} from './model.ts';
import type { SeaStatePicture, SeaStateRecord } from './sea-state.ts';
import type { Event, Info, ModelState } from './states.ts';
import type { TideLevel } from './tide.ts';

export interface LabelInput {
  readonly observation_id: string;
  /** Metres of face; or `height` with its unit and scale. */
  readonly height_m?: number;
  readonly height?: number;
  readonly unit?: 'm' | 'ft';
  readonly scale?: 'face' | 'hawaiian';
  readonly tide_m?: number;
  readonly observer?: string;
  readonly note?: string;
}

export interface LatestImage {
  readonly jpeg: Uint8Array;
  /** The observation to which the frame belongs. */
  readonly observationId: string | null;
}

/** An install that has started. */
export interface ModelInstalling {
  readonly install: ModelInstall;
  /** Resolves when the new model serves; rejects with the reason when it does not. */
  readonly serves: Promise<ModelInstallResult>;
}

/** An update of the agent that has started. */
export interface AgentUpdating {
  readonly update: AgentUpdate;
  /**
   * Resolves when the version is confirmed; rejects with the reason when it is not. Never settles when the agent stops
   * before: its next process continues.
   */
  readonly ends: Promise<AgentUpdateResult>;
}

/**
 * The methods of the running agent that MQTT commands, HTTP and the command line all call.
 * Failures are `AgentError`: `camera_unknown`, `observation_unknown`, `label_refused`, `calibration_invalid`, …
 */
export interface AgentApi {
  status(): AgentStatus;
  info(): Info;
  health(): Health;
  /** True while the main loop, the vision process and the schedules of the cameras make progress. */
  live(): boolean;
  /** Ready when a model is loaded and the store is writable; otherwise `missing` has the codes of the missing parts. */
  ready(): { readonly ready: boolean; readonly missing: readonly string[] };
  cameras(): readonly CameraView[];
  /**
   * Makes one observation now, in addition to the schedule. Waits for the running one of the same camera, and for those of
   * the schedule. Rejects with `camera_unknown`, `capture_busy`, `vision_closed`, and as the store does.
   */
  capture(camera: string, signal: AbortSignal): Promise<CapturedObservation>;
  /**
   * Measures the sea state in one clip now. Takes as long as the clip; `durationS` null: that of the settings. Rejects with
   * `camera_unknown`, `sea_state_unavailable`, `sea_state_busy`, and as the store does.
   */
  measureSeaState(camera: string, durationS: number | null, signal: AbortSignal): Promise<SeaStateRecord>;
  /** Also of a camera that was removed. Throws `camera_unknown`, `usage` for an invalid cursor, and as the store does. */
  seaStates(query: {
    readonly camera: string;
    readonly fromMs?: number;
    readonly toMs?: number;
    readonly limit: number;
    readonly cursor?: string;
  }): { readonly sea_states: readonly SeaStateRecord[]; readonly cursor: string | null };
  /** A PNG. Rejects with `camera_unknown`, `sea_state_unknown`, `sea_state_picture_missing`. `id`: also `latest`. */
  seaStatePicture(camera: string, id: string, picture: SeaStatePicture): Promise<Uint8Array>;
  /** False while `capture` would refuse a request for this camera at once, because too many requests wait. */
  hasRoomForCapture(camera: string): boolean;
  /**
   * Analyses one uploaded image. Rejects with `image_*` when the image is the cause, `camera_unknown`, `vision_busy`,
   * `vision_*`.
   */
  analyze(bytes: Uint8Array, options: AnalysisOptions, signal: AbortSignal): Promise<AnalysisResult>;
  /** Reserves memory for the image of one request before its body is received. Throws `vision_busy`. */
  reserveUpload(sizeBytes: number): UploadReservation;
  observations(query: {
    readonly camera?: string;
    readonly fromMs?: number;
    readonly toMs?: number;
    readonly status?: Observation['status'];
    readonly limit: number;
    readonly cursor?: string;
  }): { readonly observations: readonly Observation[]; readonly cursor: string | null };
  /** Throws `observation_unknown`, and as the store does. */
  observation(id: string): Observation;
  /**
   * The kept frame of an observation as a JPEG with privacy masks; `maxWidthPx` null: as it is kept. Rejects with
   * `observation_unknown`, `observation_image_missing`, `vision_*`.
   */
  observationImage(id: string, maxWidthPx: number | null, signal: AbortSignal): Promise<Uint8Array>;
  /** For charts; `points` is the most steps. Also of a camera that was removed. Rejects with `camera_unknown`. */
  series(
    query: {
      readonly camera: string;
      readonly fromMs?: number;
      readonly toMs?: number;
      readonly points: number;
    },
    signal: AbortSignal,
  ): Promise<Series>;
  /** Observations whose frame is kept, newest first. Rejects with `camera_unknown`, `usage` for an invalid cursor. */
  frames(query: {
    readonly camera: string;
    readonly fromMs?: number;
    readonly toMs?: number;
    readonly limit: number;
    readonly cursor?: string;
  }): Promise<FramePage>;
  /** Kept frames without a label, the most useful first. Rejects with `camera_unknown`. */
  labelQueue(camera: string, limit: number): Promise<LabelQueue>;
  /** Stored events, newest first: of this severity or a worse one, with a number below `before`. */
  eventLog(
    query: { readonly severity?: Event['severity']; readonly before?: number; readonly limit: number },
    signal: AbortSignal,
  ): Promise<EventPage>;
  /** The newest frame as a JPEG with privacy masks; null when no frame was captured yet. */
  latestImage(
    camera: string,
    options: { readonly annotate: boolean; readonly maxWidthPx: number },
    signal: AbortSignal,
  ): Promise<LatestImage | null>;
  /** Rejects with `camera_unknown`, or `label_refused` when the observation is of another camera than `camera`. */
  addLabel(label: LabelInput, camera?: string): Promise<CalibrationSummary>;
  /** `camera` is null for the camera that has the label. Rejects with `observation_unknown` when there is no such label. */
  removeLabel(camera: string | null, observationId: string): Promise<CalibrationSummary>;
  labels(camera: string): readonly LabelRecord[];
  /** The calibration document of a camera: labels, embeddings, view, errors. */
  exportCalibration(camera: string): Promise<unknown>;
  importCalibration(camera: string, document: unknown): Promise<CalibrationSummary>;
  /** Messages that wait for the broker, and messages that it rejected. */
  outbox(): OutboxView;
  /** Slots, the current or last install, and refused models. */
  listModels(): ModelState;
  /**
   * Starts to install a model; the install continues after a restart. `commandId` is the command that gets the result, also
   * after a restart. Throws `model_install_busy`, `model_pinned`, `model_no_repository`, `model_refused_before`, `store_failed`.
   */
  installModel(
    args: ModelInstallArgs,
    ids?: { readonly updateId: string; readonly commandId: string },
  ): ModelInstalling;
  /** Activates the previous model immediately, without network. Rejects with `model_no_previous`, `model_install_busy`. */
  rollbackModel(signal: AbortSignal): Promise<ModelServes>;
  /** Resolves when the install has ended. Rejects with `model_install_none`. */
  abortInstall(): Promise<ModelAborted>;
  /** Restarts the active model in a new process. No frame is lost. */
  reloadModel(signal: AbortSignal): Promise<ModelServes>;
  /** The versions of the agent on this device, and the current or the last update. */
  listAgentVersions(): AgentVersions;
  /**
   * Starts an update of the agent to another version. `commandId` is the command that gets the result, also after the
   * restart. Throws `update_*` and `store_failed`.
   */
  installAgent(
    args: AgentInstallArgs,
    ids?: { readonly updateId: string; readonly commandId: string },
  ): AgentUpdating;
  /** Starts the return to the former version. Throws `update_*` and `store_failed`. */
  rollbackAgent(ids?: { readonly updateId: string; readonly commandId: string }): AgentUpdating;
  /** Publishes info, discovery, states and `online` again, at most once a second. Resolves when they are published. */
  announce(): Promise<void>;
  /** The settings in force, those that remote commands have set, and the change on trial; without secrets. */
  getConfig(): ConfigView;
  /**
   * Applies a patch to the settings, on trial until it is confirmed. Throws `config_busy`, `config_locked`,
   * `config_invalid` or `store_failed` without a change.
   */
  setConfig(patch: unknown, confirmWithinS: number): Deferred<ConfigChange>;
  /**
   * Confirms a change; null is the change on trial. Rejects with `config_trial_unknown`, `store_failed`, and `config_busy`
   * when the change is not in force after some seconds.
   */
  confirmConfig(trial: string | null, signal: AbortSignal): Promise<ConfigConfirmed>;
  /** Undoes a change on trial now; null is any. Throws `config_trial_unknown`. */
  withdrawConfig(trial: string | null): Deferred<ConfigWithdrawn>;
  /**
   * Takes one frame with settings of a camera that are not saved. Rejects with `config_locked`, `config_invalid`,
   * `capture_busy`, and when the signal aborts.
   */
  testCamera(camera: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<CameraTestResult>;
  /** Checks the device and the agent. Rejects when the signal aborts. */
  examine(signal: AbortSignal): Promise<DoctorReport>;
  /**
   * Removes settings of remote commands: those of one key, or all for null. Throws `request_invalid` when there are none,
   * `config_invalid` or `config_locked` when the rest cannot be used alone, `store_failed`.
   */
  dropConfig(key: string | null): ConfigDropped;
  /** Sets the level of the water for the geometry of the cameras. Throws `store_failed`. */
  setTide(setting: { offsetM: number | null; heightM: number | null; validS: number }): TideLevel;
  /** Sets the log level until the next start or until the settings change it. */
  setLogLevel(level: LogLevelName): LogLevelChange;
  /** Restarts all parts. Throws `config_invalid` when the local configuration is no longer valid. */
  restart(): Deferred<Restarting>;
  /** A report of at most `maxBytes`, without secrets. */
  diagnostics(options: { readonly maxBytes: number }): Diagnostics;
  /** The latest lines of the log as JSON, without secrets, oldest first. */
  log(limit: number): readonly string[];
  /** Queues stored records again, from `fromSeq` to `toSeq` inclusive. Rejects with `camera_unknown` and `seq_unknown`. */
  backfill(
    camera: string,
    fromSeq: number,
    toSeq: number,
    signal: AbortSignal,
    stream?: 'observation' | 'sea_state',
  ): Promise<BackfillResult>;
}
