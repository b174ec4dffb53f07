import type { AgentError, ErrorCode } from '../base/errors.ts';
import type { InstallPhase } from '../contract/model.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { FrameOptions, FrameResult } from '../vision/protocol.ts';
import type { Bundle } from './manifest.ts';

export type InstallSource =
  /** The repository at the URL `model.repository`, over HTTP or HTTPS. */
  | { readonly kind: 'repository' }
  /**
   * A tar archive of the repository directory, requested block by block over MQTT. `digest`: `sha256:…` of the archive.
   */
  | { readonly kind: 'mqtt'; readonly sizeBytes: number; readonly digest: string };

export interface InstallRequest {
  /** UUID of this install. It is part of the names of its files, and of its progress messages and block requests. */
  readonly updateId: string;
  readonly name: string;
  readonly version: string;
  /** The digest that the bundle must have; null when the request names none. */
  readonly digest: string | null;
  readonly source: InstallSource;
}

/** Why an install failed, or a warning about an install that succeeded. */
export interface InstallReason {
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * How the results of the candidate (the model to be installed) differ from those of the serving model on the same live
 * frames.
 */
export interface ShadowReport {
  /** Frames that both models analysed. */
  readonly frames: number;
  /** Frames on which the candidate failed. */
  readonly failures: number;
  readonly activeP50Ms: number | null;
  readonly candidateP50Ms: number | null;
  /**
   * Height of the candidate minus height of the serving model, metres, over the frames for which both give a height;
   * null without such frames.
   */
  readonly heightMeanDifferenceM: number | null;
  readonly heightMaxDifferenceM: number | null;
  /**
   * Share of the frames for which the models give another wave direction or breaking type; null when one of the models
   * has no such head.
   */
  readonly directionDiffers01: number | null;
  readonly breakingDiffers01: number | null;
  /** What the new model means for the site calibration of each camera. */
  readonly calibrations: readonly CalibrationForecast[];
}

/** What the new model means for the calibration of one camera. */
export interface CalibrationForecast {
  readonly camera: string;
  readonly labels: number;
  /**
   * `kept`: both models have the same trunk (the network that computes the embedding), so the calibration stays valid.
   * `refitted`: the calibration is fitted again on the stored images. `lost`: no image of a labelled observation is
   * stored. `none`: the camera has no labels.
   */
  readonly outcome: 'kept' | 'refitted' | 'lost' | 'none';
  /** Number of labels whose images are still stored, so that the new trunk can compute their embeddings. */
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
  /** Received bytes on the disk, and total bytes of the download; the total is null until it is known. */
  readonly bytes: number;
  readonly totalBytes: number | null;
  /** The model to be installed; null until its bundle is verified. */
  readonly candidate: ModelRef | null;
  /** True when the operator's repository signed the bundle. */
  readonly trusted: boolean;
  readonly shadow: ShadowReport | null;
  /** Counts of the probation: answered observations, failed observations, and failed starts. */
  readonly probation: {
    readonly answers: number;
    readonly failures: number;
    readonly failedStarts: number;
    /** Time on probation by the monotonic clock, summed over all runs of the agent. */
    readonly elapsedMs?: number;
    /** Error rate of the former model at the time of the swap. */
    readonly formerErrorRate01?: number;
  } | null;
  /** How often the agent began this phase: once, and once more after each end of the agent in this phase. */
  readonly attempts?: number;
  /**
   * The slots as they were before the swap; a rollback restores them. Null before the swap. Their bundles are kept
   * until the install ends.
   */
  readonly former?: { readonly active: SlotRef | null; readonly previous: SlotRef | null } | null;
}

/** A bundle that failed on this device. Installs of it are refused until an operator clears the refusal. */
export interface RefusedDigest {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly code: ErrorCode;
  readonly atMs: number;
}

/**
 * Which bundle is in which model slot. It is stored in one small file that is replaced as a whole, so that a power cut
 * leaves the state before or after a change. Null in `active` means the factory bundle. Null in `previous` and
 * `candidate` means that the slot is empty; `previous` may also refer to the factory bundle.
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
  /** True when the operator's repository signed the bundle, or the bundle shipped with the agent. */
  readonly trusted: boolean;
  /** True when the expiry of the signatures was not checked, because the clock had never been synchronised. */
  readonly expiryUnchecked?: boolean;
}

/** The bytes that were received so far, for `model/progress`. */
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
  /**
   * The time with which expiry dates are compared, ms since the epoch; null while the wall clock is not synchronised.
   */
  readonly syncedNowMs: number | null;
}

/** A verified bundle in the bundles directory, flushed to the disk. */
export interface FetchedBundle {
  readonly dir: string;
  readonly ref: SlotRef;
}

/**
 * Downloads a bundle to the device and verifies it. A separate process reads the untrusted bytes. Rejects with the
 * codes `model_transfer_*`, `model_trust_*`, `model_bundle_refused`, `model_manifest_invalid`, `model_digest_mismatch`,
 * `model_requires`, `model_unsigned`, `model_space`.
 */
export interface BundleFetcher {
  /** Downloads the bundle into the part file. Continues where an earlier attempt ended. */
  download(
    options: FetchOptions,
    onProgress: (progress: FetchProgress) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Checks metadata, digests, archive, manifest and requirements of the bundle. When a check fails, removes the
   * unpacked files.
   */
  verify(options: FetchOptions, signal: AbortSignal): Promise<FetchedBundle>;
  /** Removes the incomplete files of an install. */
  discard(updateId: string): Promise<void>;
}

/** Receives the blocks of a file in their order. */
export interface BlockSink {
  readonly sizeBytes: number;
  /** Bytes received so far, from the start of the file. */
  readonly heldBytes: number;
  /** Adds the next block. Rejects with `model_space`. */
  append(bytes: Uint8Array): Promise<void>;
}

export interface WantedBlocks {
  readonly updateId: string;
  /** Maximum requested bytes per second; 0 is unlimited. */
  readonly maxBytesPerS: number;
}

/** Requests a file over MQTT from the operator's tool, block by block, until the sink has the whole file. */
export interface BlockSource {
  /** Rejects with `model_transfer_failed` when no block arrives for too long, or with an error of the sink. */
  fetch(wanted: WantedBlocks, sink: BlockSink, signal: AbortSignal): Promise<void>;
}

/**
 * A model that was started in its own process next to the serving model, and that has reproduced its golden outputs.
 */
export interface Candidate {
  readonly bundle: Bundle;
  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult>;
  close(): Promise<void>;
}

/**
 * The outcome of one frame of the serving model. `digest` names the model, because after a swap the former model may
 * still finish frames.
 */
export type FrameOutcome =
  | { readonly ok: true; readonly inferenceMs: number; readonly digest: string }
  | { readonly ok: false; readonly error: AgentError; readonly digest: string };

/** A live frame together with the result of the serving model for it. */
export interface LiveFrame {
  readonly bytes: Uint8Array;
  readonly options: FrameOptions;
  readonly result: FrameResult;
}

/**
 * What an install can do with the serving model (the model that analyses the frames), and what it can learn about it.
 */
export interface ModelHost {
  /** The bundle that serves. */
  readonly bundle: Bundle | null;
  /**
   * Tests a bundle while the other model continues to serve: starts a process for the bundle on the best execution
   * provider, with limits for time and memory, and compares the results with the golden outputs of the bundle. Rejects
   * with the fault of the bundle on this device. Calls `onStep` for each execution provider that it tries.
   */
  prove(bundle: Bundle, signal: AbortSignal, onStep?: () => void): Promise<Candidate>;
  /**
   * Makes the candidate the serving model from the next observation on. The former model finishes its observations and
   * then ends. Resolves when the former model has ended.
   */
  adopt(candidate: Candidate, slot: 'active' | 'factory', trusted: boolean): Promise<void>;
  /** Calls the listener with the outcome of each frame. The returned function removes the listener. */
  onOutcome(listener: (outcome: FrameOutcome) => void): () => void;
  /**
   * Calls the listener with each scheduled frame that the serving model has analysed. The returned function removes the
   * listener.
   */
  onLiveFrame(listener: (frame: LiveFrame) => void): () => void;
  /**
   * Share of failures among the last frames of the serving model, 0 to 1. The error rate of a new model is compared
   * with it.
   */
  errorRate01(): number;
}
