import type { InstallPhase } from '../contract/model.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { AgentError, ErrorCode } from '../base/errors.ts';
import type { FrameOptions, FrameResult, ProviderReport, VisionStats } from '../vision/protocol.ts';
import type { Bundle } from './manifest.ts';

export type InstallSource =
  /** The repository of `model.repository`, over HTTP(S). */
  | { readonly kind: 'repository' }
  /** A tar of the repository's folder, asked for in blocks over MQTT. `digest`: `sha256:…` of its bytes. */
  | { readonly kind: 'mqtt'; readonly sizeBytes: number; readonly digest: string };

export interface InstallRequest {
  /** UUID of this install: names its files, its progress and its blocks. */
  readonly updateId: string;
  readonly name: string;
  readonly version: string;
  /** The bundle's digest that the operator expects, if it was said. */
  readonly digest: string | null;
  readonly source: InstallSource;
}

/** Why an install ended badly, or what an operator should know of a good one. */
export interface InstallReason {
  readonly code: ErrorCode;
  readonly message: string;
}

/** How a candidate's answers differ from the serving model's on the same live frames. */
export interface ShadowReport {
  /** Frames that both answered. */
  readonly frames: number;
  /** Frames that the candidate failed on. */
  readonly failures: number;
  readonly activeP50Ms: number | null;
  readonly candidateP50Ms: number | null;
  /** Candidate less active, metres, over frames where both have a height; null without such. */
  readonly heightMeanDifferenceM: number | null;
  readonly heightMaxDifferenceM: number | null;
  /** Share of frames with another direction, breaking type; null where one of the two has no such head. */
  readonly directionDiffers01: number | null;
  readonly breakingDiffers01: number | null;
  /** What becomes of each camera's site calibration. */
  readonly calibrations: readonly CalibrationForecast[];
}

/** What a swap means for one camera's calibration. */
export interface CalibrationForecast {
  readonly camera: string;
  readonly labels: number;
  /** `kept`: same trunk. `refitted`: learned anew from stored pictures. `lost`: its labels must wait. */
  readonly outcome: 'kept' | 'refitted' | 'lost' | 'none';
  /** Labels whose pictures are still stored, so that the new trunk could see them. */
  readonly refittedLabels: number;
  readonly looMaeBeforeM: number | null;
  readonly looMaeAfterM: number | null;
}

/** What is stored of the install in hand, or of the last one. */
export interface InstallRecord extends InstallRequest {
  readonly phase: InstallPhase;
  readonly reason: InstallReason | null;
  readonly startedAtMs: number;
  readonly phaseAtMs: number;
  /** Bytes on the disk and in all, while downloading; null before the size is known. */
  readonly bytes: number;
  readonly totalBytes: number | null;
  /** The candidate, once it is verified. */
  readonly candidate: ModelRef | null;
  /** Its bundle is signed for. */
  readonly trusted: boolean;
  readonly shadow: ShadowReport | null;
  /** Observations answered on probation so far, and starts that failed. */
  readonly probation: {
    readonly answers: number;
    readonly failures: number;
    readonly failedStarts: number;
    /** Monotonic time on probation so far, over all starts of the agent. */
    readonly elapsedMs?: number;
    /** The former model's at the swap. */
    readonly formerErrorRate01?: number;
  } | null;
  /** How often the phase was begun: again after each end of the agent in the midst of it. */
  readonly attempts?: number;
  /** The slots before the swap, to which a return leads; null before it. Their bundles are kept until the end. */
  readonly former?: { readonly active: SlotRef | null; readonly previous: SlotRef | null } | null;
}

/** A bundle that failed here, refused until an operator clears it. */
export interface RefusedDigest {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly code: ErrorCode;
  readonly atMs: number;
}

/**
 * The one truth about which model runs: one small file, replaced whole, so that a power cut leaves the state before or
 * after and nothing between. `null` in a slot is the factory bundle for `active`, and nothing for the others;
 * `previous` may be the factory bundle's reference.
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
  /** Signed for by the operator's repository, or shipped. */
  readonly trusted: boolean;
}

/** Bytes so far, for `model/progress`. */
export interface Progress {
  readonly bytes: number;
  readonly totalBytes: number | null;
}

/** What the download and the verification of a bundle need to know. */
export interface FetchOptions {
  readonly request: InstallRequest;
  /** Base URL of the repository: from the configuration, never from a command. */
  readonly repositoryUrl: string | null;
  /** File of the operator's pinned root.json; null without one. */
  readonly trustRoot: string | null;
  readonly allowUnsigned: boolean;
  /** Bytes a second at most; 0: as fast as they come. */
  readonly maxBytesPerS: number;
  /** What the clock of expiry is held against, ms since the epoch; null while the wall clock cannot be believed. */
  readonly syncedNowMs: number | null;
}

/** A verified bundle, laid down below the bundles' folder and synced to the disk. */
export interface FetchedBundle {
  readonly dir: string;
  readonly ref: SlotRef;
}

/**
 * Brings a bundle to the device. It runs in a process of its own, for it reads what strangers may have written.
 * Rejects with the codes `model_transfer_*`, `model_trust_*`, `model_bundle_refused`, `model_manifest_invalid`,
 * `model_digest_mismatch`, `model_requires`, `model_unsigned`, `disk_full`.
 */
export interface BundleFetcher {
  /** Until the part file is whole; goes on where an earlier try ended. */
  download(
    options: FetchOptions,
    onProgress: (progress: Progress) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** Metadata, digests, archive, manifest, requirements. Leaves nothing behind when it fails. */
  verify(options: FetchOptions, signal: AbortSignal): Promise<FetchedBundle>;
  /** Throws away what an install left half done. */
  discard(updateId: string): Promise<void>;
}

/** Takes the bytes of a file that comes in blocks: put at its end, in order. */
export interface BlockSink {
  readonly sizeBytes: number;
  /** Bytes that are there, from the first on. */
  readonly heldBytes: number;
  /** Rejects with `model_space`. */
  append(bytes: Uint8Array): Promise<void>;
}

export interface WantedBlocks {
  readonly updateId: string;
  /** Bytes a second that are asked for at most; 0: as fast as they come. */
  readonly maxBytesPerS: number;
}

/** Asks an operator's tool for a file over MQTT, block by block, until the sink has it all. */
export interface BlockSource {
  /** Rejects with `model_transfer_failed` when nothing came for too long, or with what the sink says. */
  fetch(wanted: WantedBlocks, sink: BlockSink, signal: AbortSignal): Promise<void>;
}

/** A model that has been started and has proved itself on its golden outputs, beside the one that serves. */
export interface Candidate {
  readonly bundle: Bundle;
  readonly report: ProviderReport;
  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult>;
  stats(): VisionStats;
  close(): Promise<void>;
}

/**
 * What became of one frame of the model that serves. `digest` says of which, for during a swap the former one still
 * finishes frames; where it is missing, frames count from the moment on when the former one has gone.
 */
export type Outcome =
  | { readonly ok: true; readonly inferenceMs: number; readonly digest?: string }
  | { readonly ok: false; readonly error: AgentError; readonly digest?: string };

/** A live frame with what the serving model said of it. */
export interface LiveFrame {
  readonly bytes: Uint8Array;
  readonly options: FrameOptions;
  readonly result: FrameResult;
}

/** The side of the serving model that an install works with. */
export interface ModelHost {
  /** The bundle that serves. */
  readonly bundle: Bundle | null;
  /**
   * Starts a process for the bundle on the best provider, under time and memory limits, and proves it on its golden outputs
   * while the other one serves. Rejects with what is wrong with it here. `onStep`: told of each provider that is tried.
   */
  prove(bundle: Bundle, signal: AbortSignal, onStep?: () => void): Promise<Candidate>;
  /**
   * The candidate serves from the next frame on; frames in hand are finished by the old one, which then ends. Resolves
   * when the old one has gone.
   */
  adopt(candidate: Candidate, slot: 'active' | 'factory', trusted: boolean): Promise<void>;
  /** Told of each frame's end; the returned function takes the listener away. */
  onOutcome(listener: (outcome: Outcome) => void): () => void;
  /** Told of each scheduled frame that was answered. */
  onLiveFrame(listener: (frame: LiveFrame) => void): () => void;
  /** Failures among the last answers of the serving model: what a new one is held against. */
  errorRate01(): number;
}
