import type { AnalysisOptions, AnalysisResult, UploadReservation } from './analysis.ts';
import type { CalibrationSummary, Observation } from './observation.ts';
import type { BackfillResult } from './command-results.ts';
import type {
  ConfigChange,
  ConfigConfirmed,
  ConfigView,
  Deferred,
  LogLevelChange,
  LogLevelName,
  Restarting,
} from './config.ts';
import type { Diagnostics } from './diagnostics.ts';
import type { Health } from './health.ts';
import type { OutboxView } from './outbox.ts';
import type {
  ModelAborted,
  ModelInstall,
  ModelInstallArgs,
  ModelInstallResult,
  ModelServes,
} from './model.ts';
import type { CameraState, Info, ModelState, Status } from './states.ts';

/** What the agent says of itself on `GET /api/v1/status`. */
export interface AgentStatus {
  readonly status: Status['state'];
  readonly info: Info;
  readonly health: Health;
  readonly model: ModelState;
  readonly cameras: readonly CameraState[];
}

export interface LabelInput {
  readonly observation_id: string;
  readonly height_m: number;
  readonly observer?: string;
  readonly note?: string;
}

export interface LabelRecord {
  readonly observation_id: string;
  readonly camera: string;
  readonly height_m: number;
  readonly observer: string | null;
  readonly note: string | null;
  readonly created_at: string;
}

/** An install that is under way. */
export interface ModelInstalling {
  readonly install: ModelInstall;
  /** When the new model serves; rejects with why it does not. */
  readonly serves: Promise<ModelInstallResult>;
}

export interface CameraView {
  readonly id: string;
  readonly kind: string;
  readonly schedule: string;
  readonly state: CameraState;
  readonly next_run_at: string | null;
  readonly latest: Observation | null;
  readonly calibration: CalibrationSummary;
}

/**
 * The methods of the running agent that MQTT commands, HTTP and the command line all call.
 * Failures are `AgentError`: `camera_unknown`, `observation_unknown`, `label_refused`, `calibration_invalid`, …
 */
export interface AgentApi {
  status(): AgentStatus;
  info(): Info;
  health(): Health;
  /** Alive: the main loop and the vision process made progress lately. */
  live(): boolean;
  /** Ready: a model is loaded and the store is writable; else the codes of what is missing. */
  ready(): { readonly ready: boolean; readonly missing: readonly string[] };
  cameras(): readonly CameraView[];
  /** One observation now, beside the schedule; waits for a running one of the same camera. */
  capture(camera: string, signal: AbortSignal): Promise<Observation>;
  /**
   * The answer to one image that was sent in. Rejects with `image_*` when the image is at fault, `camera_unknown`,
   * `vision_busy`, `vision_*`.
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
  /** A masked JPEG of the newest frame; null when none was captured yet. */
  latestImage(
    camera: string,
    options: { readonly annotate: boolean; readonly maxWidthPx: number },
    signal: AbortSignal,
  ): Promise<Uint8Array | null>;
  /** Rejects with `label_refused` when the observation is of another camera than the one named. */
  addLabel(label: LabelInput, camera?: string): Promise<CalibrationSummary>;
  /** Rejects with `observation_unknown` when there is no such label; null is whichever camera has it. */
  removeLabel(camera: string | null, observationId: string): Promise<CalibrationSummary>;
  labels(camera: string): readonly LabelRecord[];
  /** The portable calibration of a camera: labels, embeddings, view, errors. */
  exportCalibration(camera: string): Promise<unknown>;
  importCalibration(camera: string, document: unknown): Promise<CalibrationSummary>;
  /** What waits for the broker, and what it would not take. */
  outbox(): OutboxView;
  /** Slots, the install in hand or the last one, and what is refused. */
  listModels(): ModelState;
  /**
   * Begins to install a model, and goes on after a restart. `commandId` is of the command that is to be answered even
   * then. Throws `model_install_busy`, `model_pinned`, `model_no_repository`, `model_refused_before`, `store_failed`.
   */
  installModel(
    args: ModelInstallArgs,
    ids?: { readonly updateId: string; readonly commandId: string },
  ): ModelInstalling;
  /** Back to the former model, at once and without network. Rejects with `model_no_previous`, `model_install_busy`. */
  rollbackModel(signal: AbortSignal): Promise<ModelServes>;
  /** Resolves when the install has ended. Rejects with `model_install_none`. */
  abortInstall(): Promise<ModelAborted>;
  /** The model that serves, in a new process. No frame is lost. */
  reloadModel(signal: AbortSignal): Promise<ModelServes>;
  /** Publishes info, discovery, states and `online` again, at most once a second; resolves when that was done. */
  announce(): Promise<void>;
  /** The settings in force, what remote commands set of them, and the change on trial. No secret is in it. */
  getConfig(): ConfigView;
  /**
   * Lays a patch over the settings, on trial until it is confirmed. Throws `config_busy`, `config_locked`,
   * `config_invalid`, `store_failed`; nothing has changed then.
   */
  setConfig(patch: unknown, confirmWithinS: number): Deferred<ConfigChange>;
  /**
   * Null is whichever is on trial. Rejects with `config_trial_unknown`, `store_failed`, and `config_busy` when it does not
   * come into force within some seconds.
   */
  confirmConfig(trial: string | null, signal: AbortSignal): Promise<ConfigConfirmed>;
  /** Until the next start, or until the settings say another one. */
  setLogLevel(level: LogLevelName): LogLevelChange;
  /** A new start of all parts. Throws `config_invalid` when the local configuration has become wrong. */
  restart(): Deferred<Restarting>;
  /** A report of at most this size, without secrets. */
  diagnostics(options: { readonly maxBytes: number }): Diagnostics;
  /** Queues stored records once more; both numbers are included. Rejects with `camera_unknown`. */
  backfill(camera: string, fromSeq: number, toSeq: number, signal: AbortSignal): Promise<BackfillResult>;
}
