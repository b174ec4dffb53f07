import type { Polygon } from '../config/schema.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { ErrorCode } from '../base/errors.ts';

/** Why the quality gate rejects a frame. */
export type QualityReason = 'glare' | 'dark' | 'blur' | 'fog' | 'obstructed' | 'damaged';

/** Signals of one frame, measured at 512x288 after masking; each 0..1 unless the name has a unit. */
export interface QualitySignals {
  /** Share of pixels with min(R,G,B) >= 250. */
  readonly glare01: number;
  /** Mean luma, 0..255. */
  readonly meanLuma: number;
  /** Standard deviation of luma, 0..255 scale. */
  readonly stdLuma: number;
  /** Variance of the 3x3 Laplacian of luma. */
  readonly laplacianVariance: number;
  /** Median standard deviation of 64x36 blocks over the lower five eighths. */
  readonly blockStd: number;
  /** Share of the contrast of horizontal edges that is within one row step; null when the frame has too few edges. */
  readonly sharpness01: number | null;
  /** Share of the frame that is covered or smeared (wet lens, spider, bird). */
  readonly obstruction01: number;
  /** Share of the frame that is covered, with not even coarse structure. Part of `obstruction01`. */
  readonly covered01: number;
  /** Share of rows in the flat band of a damaged JPEG. */
  readonly damage01: number;
}

export interface QualityReport {
  /** 1: clean frame, 0: useless, 0.5: limit of the gate. It is 1 minus the largest severity. */
  readonly score01: number;
  /** Empty when the frame passes. */
  readonly reasons: readonly QualityReason[];
  /** How bad each fault is. 0: none, 0.5: limit of the gate, 1: hopeless. */
  readonly severity01: Readonly<Record<QualityReason, number>>;
  readonly signals: QualitySignals;
}

/** Small grey image of the masked frame, for the view check and for the detection of frozen frames. */
export interface ViewSignature {
  /** Row-major luma, width * height bytes. */
  readonly luma: Uint8Array;
  readonly width: number;
  readonly height: number;
}

export interface ClassValue {
  readonly label: string;
  /** Probability after the manifest's activation and temperature, 0..1. */
  readonly probability01: number;
  /** All labels with their probabilities, in the order of the manifest. */
  readonly all: readonly { readonly label: string; readonly probability01: number }[];
}

/** Outputs of the model's heads for one frame; `null` where the manifest names no such head. */
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

/** Highest first: frames of the schedule, requests of operators and of the agent itself, images of HTTP clients. */
export type FramePriority = 'schedule' | 'request' | 'upload';

export interface FrameOptions {
  /** Region that the model sees, polygon in 0..1 of the frame; the frame is cropped to its bounding box. */
  readonly roi: Polygon | null;
  /** Painted over before anything else reads the pixels. */
  readonly privacyMasks: readonly Polygon[];
  /** Also return a masked JPEG that is at most this wide, px. */
  readonly previewWidthPx?: number;
  /** Run the model even on a frame that the gate rejects (for calibration studies); default false. */
  readonly ignoreGate?: boolean;
  /** Order of waiting frames; default `request`. */
  readonly priority?: FramePriority;
  /**
   * The signal counts only while other frames are ahead. Once the frame is due (the process has it or gets it next), its
   * outcome is awaited. Default false.
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

export interface ProviderAttempt {
  /** onnxruntime's name: cpu, cuda, tensorrt, webgpu, coreml, dml, … */
  readonly provider: string;
  readonly threads: number;
  readonly outcome: 'chosen' | 'slower' | 'failed' | 'not_built_in' | 'not_tried';
  /** Median of timed runs, ms; null where it never ran. */
  readonly medianMs: number | null;
  /** Why it was not chosen: one line, no paths. */
  readonly reason: string | null;
}

/** Which provider runs, and why the others do not. */
export interface ProviderReport {
  readonly provider: string;
  readonly threads: number;
  readonly attempts: readonly ProviderAttempt[];
  /** True when known from an earlier proof for the same model, runtime and hardware. */
  readonly remembered: boolean;
}

export interface VisionStats {
  readonly rssMb: number;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly failures1h: number;
  readonly restarts: number;
  /** When the process last replied, monotonic ms; null before the first reply. */
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
 * A loaded model. Two implementations: the supervised child process, and in-process for the command line and tests.
 * `analyze` and `render` reject with `AgentError`: `image_*` when the bytes are invalid (the process lives on), `vision_*`
 * when the process failed.
 */
export interface VisionClient {
  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult>;
  /** A masked (and, with lines, annotated) JPEG of the frame. */
  render(bytes: Uint8Array, options: RenderOptions, signal?: AbortSignal): Promise<Uint8Array>;
  readonly report: ProviderReport | null;
  stats(): VisionStats;
  close(): Promise<void>;
}

/**
 * The right to use one model for one observation: `using lease = server.lease()`. All frames of the observation are
 * answered by the same model, also when another one takes its place meanwhile. The first frame decides which model. If its
 * process is gone before it answered any frame, the lease moves to the model that serves then.
 */
export interface ModelLease extends Disposable {
  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult>;
  /** A masked (and, with lines, annotated) JPEG of the frame. */
  render(bytes: Uint8Array, options: RenderOptions, signal?: AbortSignal): Promise<Uint8Array>;
  readonly model: ModelRef | null;
  readonly provider: string | null;
  readonly embeddingDigest: string | null;
  /** Ends the observation; the process of a replaced model may go now. The properties stay readable. */
  [Symbol.dispose](): void;
}

/** Requests at the vision process: the one at work, and the next one, so that the process need not wait for it. */
export const MAX_AHEAD = 2;
