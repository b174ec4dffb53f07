import type { Polygon } from '../config/schema.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { ErrorCode } from '../base/errors.ts';

/** Why the quality gate rejects a frame. */
export type QualityReason = 'glare' | 'dark' | 'blur' | 'fog' | 'obstructed' | 'damaged';

/** Quality signals of one frame, measured at 512x288 after privacy masking; names with `01` are 0..1. */
export interface QualitySignals {
  /** Share of pixels with min(R,G,B) >= 250. */
  readonly glare01: number;
  /** Mean luma, 0..255. */
  readonly meanLuma: number;
  /** Standard deviation of luma, 0..255 scale. */
  readonly stdLuma: number;
  /** Variance of the 3x3 Laplacian of luma. */
  readonly laplacianVariance: number;
  /** Median of the standard deviations of luma in blocks of 64x36 pixels, over the lower five eighths of the frame. */
  readonly blockStd: number;
  /** Share of a horizontal edge's contrast between two adjacent rows, mean; null when there are too few edges. */
  readonly sharpness01: number | null;
  /** Share of the frame that is covered or smeared (wet lens, spider, bird). */
  readonly obstruction01: number;
  /** Share of the frame that is covered: it shows not even coarse structure. `obstruction01` includes it. */
  readonly covered01: number;
  /** Share of the frame's rows that the decoder filled with one colour because the JPEG is damaged. */
  readonly damage01: number;
}

export interface QualityReport {
  /** 1 minus the largest severity. 1: clean frame, 0: useless frame. The gate rejects a frame below 0.5. */
  readonly score01: number;
  /** Why the gate rejects the frame; empty when it accepts the frame. */
  readonly reasons: readonly QualityReason[];
  /** How bad each fault is. 0: no fault, 0.5: the gate's limit, 1: the frame is useless. */
  readonly severity01: Readonly<Record<QualityReason, number>>;
  readonly signals: QualitySignals;
}

/** Grey level of masked pixels, of pixels outside the region of interest, and of the padding of a `contain` fit. */
export const MASK_GREY = 128;
/** Luma of masks: of the agent's own, and of black ones that a camera draws itself. */
export const MASK_LUMA: readonly number[] = [0, MASK_GREY];

/** Small grey picture of the masked frame. */
export interface GreyPicture {
  /** Row-major luma, width * height bytes. */
  readonly luma: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** The grey picture for the view check and for the detection of frozen frames. */
export type ViewSignature = GreyPicture;

export interface ClassValue {
  readonly label: string;
  /** Probability after the activation and temperature of the manifest were applied, 0..1. */
  readonly probability01: number;
  /** All labels with their probabilities, in the order of the manifest. */
  readonly all: readonly { readonly label: string; readonly probability01: number }[];
}

/** Values of the model's heads for one frame; `null` for a head that the manifest does not name. */
export interface HeadValues {
  readonly waveHeight: {
    readonly heightM: number;
    readonly lowM: number | null;
    readonly highM: number | null;
    /** Nominal coverage of [lowM, highM], 0..1. */
    readonly coverage: number | null;
  } | null;
  readonly waveDirection: ClassValue | null;
  readonly breakingType: ClassValue | null;
  /** Unnormalised embedding, e.g. 1280 values. */
  readonly embedding: Float32Array | null;
  /** The quality head's labels with their raw values, if the model has one. */
  readonly quality: readonly { readonly label: string; readonly value: number }[] | null;
}

/**
 * Highest priority first: scheduled frames, frames that operators or the agent request, images of HTTP clients, frames of
 * clips.
 */
export type FramePriority = 'schedule' | 'request' | 'upload' | 'clip';

export interface FrameOptions {
  /** Region that the model sees, polygon in 0..1 of the frame; the frame is cropped to its bounding box. */
  readonly roi: Polygon | null;
  /** Polygons that are painted over before any other code reads the pixels. */
  readonly privacyMasks: readonly Polygon[];
  /** If set, also returns a JPEG with privacy masks that is at most this wide, pixels. */
  readonly previewWidthPx?: number;
  /** Runs the model even on a frame that the quality gate rejects (for calibration studies); default false. */
  readonly ignoreGate?: boolean;
  /** Order of waiting frames; default `request`. */
  readonly priority?: FramePriority;
  /** Frames of one source (a camera, all uploads) share the time of the vision process; default: one for all others. */
  readonly source?: string;
  /**
   * True: an abort removes the frame only while other frames are before it in the queue. After the vision process has
   * received the frame, or if the frame is the next one to be sent, the call waits for its result. Default false.
   */
  readonly finishOnceDue?: boolean;
}

/** Result of one frame. `heads` is null when the gate rejected the frame. */
export interface FrameResult {
  readonly widthPx: number;
  readonly heightPx: number;
  readonly quality: QualityReport;
  readonly view: ViewSignature;
  readonly heads: HeadValues | null;
  readonly preview: Uint8Array | null;
  readonly timingMs: { readonly decode: number; readonly preprocess: number; readonly inference: number };
}

/** How to draw an annotated JPEG: text lines, and outlines of the regions. */
export interface RenderOptions {
  readonly privacyMasks: readonly Polygon[];
  readonly roi: Polygon | null;
  readonly maxWidthPx: number;
  /** Caption lines; empty for a masked image without annotation. */
  readonly lines: readonly string[];
}

/** Narrow columns of a frame at its full height, evenly spread over its width. */
export interface ColumnOptions {
  readonly count: number;
  /** First row, 0..1 of the height. */
  readonly from01: number;
}

/** A small grey picture of a frame of a clip. */
export interface ShrunkFrame extends GreyPicture {
  /** Null unless columns were wanted. */
  readonly columns: GreyColumns | null;
}

/** Grey values of columns: `luma` is row-major, one value for each column. */
export interface GreyColumns extends GreyPicture {
  /** Row of the frame at which they begin. */
  readonly firstRow: number;
  /** Size of the frame, pixels. */
  readonly frameWidth: number;
  readonly frameHeight: number;
}

/** How to make a small grey picture of a frame of a clip. */
export interface ShrinkOptions {
  readonly privacyMasks: readonly Polygon[];
  /** Longest side of the picture, pixels. */
  readonly maxSidePx: number;
  /** Columns at the full height of the frame; only when they are wanted. */
  readonly columns?: ColumnOptions;
  /** As in `FrameOptions`. */
  readonly source: string;
}

export interface ProviderAttempt {
  /** onnxruntime's name: cpu, cuda, tensorrt, webgpu, coreml, dml, … */
  readonly provider: string;
  readonly threads: number;
  readonly outcome: 'chosen' | 'slower' | 'failed' | 'not_built_in' | 'not_tried';
  /** Median time of the model on this provider, ms; null if the model never ran on it. */
  readonly medianMs: number | null;
  /** Why this provider was not chosen: one line without paths. */
  readonly reason: string | null;
}

/** Which provider runs, and why the others do not. */
export interface ProviderReport {
  readonly provider: string;
  readonly threads: number;
  readonly attempts: readonly ProviderAttempt[];
  /** True when the stored result of earlier trials of the same model, runtime and hardware was used. */
  readonly remembered: boolean;
}

export interface VisionStats {
  readonly rssMb: number;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly failures1h: number;
  readonly restarts: number;
  /** When the process last replied or started, monotonic ms; null before its first start. */
  readonly lastProgressMonoMs: number | null;
  readonly ready: boolean;
}

/** Events of the vision process. `serving/` turns them into events for the operator. */
export type VisionEvent =
  | { readonly type: 'started'; readonly report: ProviderReport }
  | {
      readonly type: 'exited';
      readonly code: ErrorCode;
      readonly detail: string;
      readonly restartInMs: number;
    }
  | { readonly type: 'recycled'; readonly rssMb: number; readonly limitMb: number }
  | {
      readonly type: 'provider_demoted';
      readonly from: string;
      readonly to: string;
      readonly reason: string;
    };

/**
 * A loaded model. There are two implementations: `VisionProcess` runs it in a supervised child process,
 * `InProcessVision` in the calling process, for the command line and tests. All requests reject with
 * `AgentError`: `image_*` when the image bytes are invalid (the process continues), `vision_*` when the process failed.
 */
export interface VisionClient {
  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult>;
  /** A masked (and, with lines, annotated) JPEG of the frame. */
  render(bytes: Uint8Array, options: RenderOptions, signal?: AbortSignal): Promise<Uint8Array>;
  /** A small grey picture of a frame of a clip. Rejects with `image_corrupt` when part of the frame is damaged. */
  shrink(bytes: Uint8Array, options: ShrinkOptions, signal?: AbortSignal): Promise<ShrunkFrame>;
  readonly report: ProviderReport | null;
  stats(): VisionStats;
  close(): Promise<void>;
}

/**
 * Keeps one model for one observation (a lease): `using lease = server.lease()`. The same model analyses all frames of
 * the observation, even if the agent changes to another model meanwhile. The first frame decides which model it is. If
 * the process of that model ends before it answered any frame, the lease changes to the model that serves then.
 */
export interface ModelLease extends Disposable {
  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult>;
  /** A masked (and, with lines, annotated) JPEG of the frame. */
  render(bytes: Uint8Array, options: RenderOptions, signal?: AbortSignal): Promise<Uint8Array>;
  /** A small grey picture of a frame of a clip. Rejects with `image_corrupt` when part of the frame is damaged. */
  shrink(bytes: Uint8Array, options: ShrinkOptions, signal?: AbortSignal): Promise<ShrunkFrame>;
  readonly model: ModelRef | null;
  readonly provider: string | null;
  readonly embeddingDigest: string | null;
  /** Ends the lease; the process of a replaced model may end now. The properties of the lease stay readable. */
  [Symbol.dispose](): void;
}

/** Largest number of requests sent to the vision process: the one that it processes, and the next one, sent early. */
export const MAX_AHEAD = 2;
