import type { AgentError, ErrorCode } from '../base/errors.ts';
import type { InstallPhase } from '../contract/model.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { FrameOptions, FrameResult, ProviderReport, VisionStats } from '../vision/protocol.ts';
import type { Bundle } from './manifest.ts';

export type InstallSource =
  /** The repository of `model.repository`, over HTTP(S). */
  | { readonly kind: 'repository' }
  /** A tar of the repository directory, requested in blocks over MQTT. `digest`: `sha256:…` of its bytes. */
  | { readonly kind: 'mqtt'; readonly sizeBytes: number; readonly digest: string };

export interface InstallRequest {
  /** UUID of this install. Its files, its progress and its blocks carry it. */
  readonly updateId: string;
  readonly name: string;
  readonly version: string;
  /** The expected digest of the bundle; null when the request has none. */
  readonly digest: string | null;
  readonly source: InstallSource;
}

/** Why an install failed, or a warning about an install that succeeded. */
export interface InstallReason {
  readonly code: ErrorCode;
  readonly message: string;
}

/** How the results of the candidate differ from those of the serving model on the same live frames. */
export interface ShadowReport {
  /** Frames that both models analyzed. */
  readonly frames: number;
  /** Frames that the candidate failed on. */
  readonly failures: number;
  readonly activeP50Ms: number | null;
  readonly candidateP50Ms: number | null;
  /** Candidate minus active, metres, over frames where both have a height; null without such frames. */
  readonly heightMeanDifferenceM: number | null;
  readonly heightMaxDifferenceM: number | null;
  /** Share of frames with another direction or breaking type; null where one model has no such head. */
  readonly directionDiffers01: number | null;
  readonly breakingDiffers01: number | null;
  /** The forecast of each camera's site calibration. */
  readonly calibrations: readonly CalibrationForecast[];
}

/** What a swap means for the calibration of one camera. */
export interface CalibrationForecast {
  readonly camera: string;
  readonly labels: number;
  /**
   * `kept`: both models have the same trunk. `refitted`: fitted again on the stored images. `lost`: no image of a labelled
   * observation is stored. `none`: the camera has no labels.
   */
  readonly outcome: 'kept' | 'refitted' | 'lost' | 'none';
  /** Labels whose images are still stored, so that the new trunk can embed them. */
  readonly refittedLabels: number;
  readonly looMaeBeforeM: number | null;
  readonly looMaeAfterM: number | null;
}

/** The stored state of the current install, or of the last one. */
export interface InstallRecord extends InstallRequest {
  readonly phase: InstallPhase;
  readonly reason: InstallReason | null;
  readonly startedAtMs: number;
  readonly phaseAtMs: number;
  /** Bytes on the disk and total bytes of the download; the total is null until it is known. */
  readonly bytes: number;
  readonly totalBytes: number | null;
  /** The candidate; null until it is verified. */
  readonly candidate: ModelRef | null;
  /** The operator's repository signed the bundle. */
  readonly trusted: boolean;
  readonly shadow: ShadowReport | null;
  /** Answered observations on probation, failed ones, and failed starts. */
  readonly probation: {
    readonly answers: number;
    readonly failures: number;
    readonly failedStarts: number;
    /** Monotonic time on probation, over all starts of the agent. */
    readonly elapsedMs?: number;
    /** Error rate of the former model at the swap. */
    readonly formerErrorRate01?: number;
  } | null;
  /** How often the phase was begun: once, and once more after each end of the agent in this phase. */
  readonly attempts?: number;
  /** The slots before the swap, which a rollback restores; null before the swap. Their bundles are kept until the end. */
  readonly former?: { readonly active: SlotRef | null; readonly previous: SlotRef | null } | null;
}

/** A bundle that failed here. It is refused until an operator clears it. */
export interface RefusedDigest {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly code: ErrorCode;
  readonly atMs: number;
}

/**
 * Which model runs: one small file that is replaced as a whole, so that a power cut leaves the state before or after a
 * change. Null means the factory bundle in `active`, and no bundle in the other slots; `previous` may refer to the
 * factory bundle.
 */
export interface SlotsState {
  readonly format: 1;
  readonly active: SlotRef | null;
  readonly previous: SlotRef | null;
  readonly candidate: SlotRef | null;
  readonly install: InstallRecord | null;
  readonly refused: readonly RefusedDigest[];
}

export interface SlotRef extends ModelRef {
  /** Signed by the operator's repository, or shipped with the agent. */
  readonly trusted: boolean;
}

/** Received bytes, for `model/progress`. */
export interface FetchProgress {
  readonly bytes: number;
  readonly totalBytes: number | null;
}

/** Parameters of the download and the verification of a bundle. */
export interface FetchOptions {
  readonly request: InstallRequest;
  /** Base URL of the repository. It comes from the configuration, never from a command. */
  readonly repositoryUrl: string | null;
  /** Path of the operator's pinned root.json; null when none is configured. */
  readonly trustRoot: string | null;
  readonly allowUnsigned: boolean;
  /** Maximum bytes per second; 0 is unlimited. */
  readonly maxBytesPerS: number;
  /** The time for expiry checks, ms since the epoch; null while the wall clock is not synchronized. */
  readonly syncedNowMs: number | null;
}

/** A verified bundle in the bundles directory, synced to the disk. */
export interface FetchedBundle {
  readonly dir: string;
  readonly ref: SlotRef;
}

/**
 * Brings a bundle to the device. Untrusted bytes are read in a separate process. Rejects with the codes
 * `model_transfer_*`, `model_trust_*`, `model_bundle_refused`, `model_manifest_invalid`, `model_digest_mismatch`,
 * `model_requires`, `model_unsigned`, `disk_full`.
 */
export interface BundleFetcher {
  /** Completes the part file. Continues where an earlier attempt ended. */
  download(
    options: FetchOptions,
    onProgress: (progress: FetchProgress) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** Checks metadata, digests, archive, manifest and requirements. Removes what it unpacked when a check fails. */
  verify(options: FetchOptions, signal: AbortSignal): Promise<FetchedBundle>;
  /** Removes the incomplete files of an install. */
  discard(updateId: string): Promise<void>;
}

/** Receives a file block by block, in order. */
export interface BlockSink {
  readonly sizeBytes: number;
  /** Bytes received so far, from the start of the file. */
  readonly heldBytes: number;
  /** Rejects with `model_space`. */
  append(bytes: Uint8Array): Promise<void>;
}

export interface WantedBlocks {
  readonly updateId: string;
  /** Maximum requested bytes per second; 0 is unlimited. */
  readonly maxBytesPerS: number;
}

/** Requests a file from the operator's tool over MQTT, block by block, until the sink has all of it. */
export interface BlockSource {
  /** Rejects with `model_transfer_failed` when no block arrives for too long, or with the error of the sink. */
  fetch(wanted: WantedBlocks, sink: BlockSink, signal: AbortSignal): Promise<void>;
}

/** A model that was started next to the serving one and has reproduced its golden outputs. */
export interface Candidate {
  readonly bundle: Bundle;
  readonly report: ProviderReport;
  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult>;
  stats(): VisionStats;
  close(): Promise<void>;
}

/**
 * The result of one frame of the serving model. `digest` names the model, because during a swap the former model still
 * finishes frames. Without a digest, frames count for the new model as soon as the former one is gone.
 */
export type FrameOutcome =
  | { readonly ok: true; readonly inferenceMs: number; readonly digest?: string }
  | { readonly ok: false; readonly error: AgentError; readonly digest?: string };

/** A live frame with the result of the serving model. */
export interface LiveFrame {
  readonly bytes: Uint8Array;
  readonly options: FrameOptions;
  readonly result: FrameResult;
}

/** The serving model as an install sees it. */
export interface ModelHost {
  /** The bundle that serves. */
  readonly bundle: Bundle | null;
  /**
   * Starts a process for the bundle on the best execution provider, with time and memory limits, and compares its golden
   * outputs, while the other model serves. Rejects with the fault of the bundle on this device. Calls `onStep` for each
   * provider that it tries.
   */
  prove(bundle: Bundle, signal: AbortSignal, onStep?: () => void): Promise<Candidate>;
  /**
   * The candidate serves from the next frame on. The former model finishes its frames and then ends. Resolves when it has
   * ended.
   */
  adopt(candidate: Candidate, slot: 'active' | 'factory', trusted: boolean): Promise<void>;
  /** Calls the listener with the outcome of each frame. The returned function removes the listener. */
  onOutcome(listener: (outcome: FrameOutcome) => void): () => void;
  /** Calls the listener with each scheduled frame that was analyzed. */
  onLiveFrame(listener: (frame: LiveFrame) => void): () => void;
  /** Failures among the last frames of the serving model. A new model is compared with it. */
  errorRate01(): number;
}
