import type { Clock } from '../base/clock.ts';
import { AgentError, asAgentError, isAbort, type ErrorCode } from '../base/errors.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { AnalysisOptions, AnalysisResult, UploadReservation } from '../contract/analysis.ts';
import type { ModelRef } from '../contract/observation.ts';
import { calibrationFor, type SiteCalibration } from '../calibration/site-calibration.ts';
import type { AnalysisCache } from '../store/types.ts';
import { MAX_AHEAD, type FrameResult, type ModelLease } from '../vision/protocol.ts';
import { answerKey, CalibrationDigests, sha256Hex, type AnalysisConditions } from './answer-key.ts';
import { imageRecord, toAnalysisResult } from './image-record.ts';
import { PoisonImages } from './poison-images.ts';
import { UploadBudget } from './upload-budget.ts';

export interface AnalysisLimits {
  /** The largest image of a request, MB. */
  readonly maxUploadMb: number;
}

export interface AnalysisDeps {
  readonly clock: Clock;
  readonly server: {
    lease(): ModelLease;
    /** The model that runs, or is open to run. */
    readonly model: ModelRef | null;
    /** `p50Ms`: time of one frame in the vision process, ms; null before the first one. */
    stats(): { readonly p50Ms: number | null };
  };
  readonly cameras: {
    /** Undefined when there is no such camera. */
    settingsOf(camera: string): CameraSettings | undefined;
    calibrationOf(camera: string): SiteCalibration | null;
  };
  readonly cache?: AnalysisCache;
  readonly onAnswered?: (outcome: AnalysisOutcome) => void;
}

/** The outcome of one image, for metrics. */
export type AnalysisOutcome =
  | { readonly kind: AnalysisResult['status'] | 'cached'; readonly durationMs: number }
  | { readonly kind: 'failed'; readonly code: ErrorCode };

/** For metrics. */
export interface AnalysisStats {
  readonly waiting: number;
  readonly requests: number;
  readonly heldBytes: number;
}

/** Images of all requests in memory, including uploads; one image of the largest size always fits. */
const BUDGET_BYTES = 64_000_000;
/** Requests at a time; each has at most one image in the queue of the vision process. */
const MAX_REQUESTS = 64;
/** After this the client should rather retry than wait. */
const MAX_WAIT_MS = 60_000;
const BYTES_PER_MB = 1_000_000;
/** Assumed time of a frame before the first one is measured. */
const DEFAULT_FRAME_MS = 500;
const RETRY_AFTER_S = { min: 1, max: 60 };

/**
 * Analyzes uploaded images, with the same result as a camera's frame.
 *
 * An uploaded image passes two admission stages: the upload budget while it is received, and the request queue of the
 * vision process.
 *
 * INVARIANTS
 * - Schedule first: uploads go behind scheduled frames and other requests in the queue, so a scheduled frame waits for at
 *   most `MAX_AHEAD` of them.
 * - Fair: a request has at most one image in the queue, so a batch does not delay single images by its size.
 * - An image is in the queue only once, however many clients send it at the same time. So an image that crashes the vision
 *   process is counted before it is tried again.
 */
export class Analysis {
  readonly #deps: AnalysisDeps;
  readonly #budget: UploadBudget;
  readonly #poison: PoisonImages;
  readonly #digests = new CalibrationDigests();
  /** Images that wait or are being analyzed, by the key of their result. */
  readonly #running = new Map<string, Promise<AnalysisResult>>();
  /** The same by the digest of the image: one image that is sent for several cameras runs for one after another. */
  readonly #runningImages = new Map<string, Promise<AnalysisResult>>();

  constructor({ maxUploadMb }: AnalysisLimits, deps: AnalysisDeps) {
    this.#deps = deps;
    this.#poison = new PoisonImages(deps);
    this.#budget = new UploadBudget({
      budgetBytes: Math.max(BUDGET_BYTES, maxUploadMb * BYTES_PER_MB),
      maxRequests: MAX_REQUESTS,
    });
  }

  /** Reserves memory for an image before its body is received. Throws `vision_busy` with a time to retry after. */
  reserveUpload(sizeBytes: number): UploadReservation {
    const reservation = this.#budget.reserve(sizeBytes);
    if (reservation === null) throw this.#busyError('too many images are being uploaded or analyzed');
    return reservation;
  }

  stats(): AnalysisStats {
    return {
      waiting: Math.max(0, this.#running.size - MAX_AHEAD),
      requests: this.#budget.requests,
      heldBytes: this.#budget.reservedBytes,
    };
  }

  /**
   * The result for one image. Rejects with `image_*` when the image is invalid (`image_rejected` only when `strict`),
   * `camera_unknown`, `vision_busy` when the queue is full or too slow, `vision_*` when the model fails.
   */
  async analyze(bytes: Uint8Array, options: AnalysisOptions, signal: AbortSignal): Promise<AnalysisResult> {
    const { clock, onAnswered } = this.#deps;
    const startedMs = clock.monoMs();
    try {
      const result = await this.#analyze(bytes, options, signal);
      const durationMs = clock.monoMs() - startedMs;
      onAnswered?.({ kind: result.cached ? 'cached' : result.status, durationMs });
      return { ...result, processing_time_seconds: Number((durationMs / 1000).toFixed(6)) };
    } catch (thrown) {
      if (!isAbort(thrown)) onAnswered?.({ kind: 'failed', code: asAgentError(thrown).code });
      throw thrown;
    }
  }

  async #analyze(bytes: Uint8Array, options: AnalysisOptions, signal: AbortSignal): Promise<AnalysisResult> {
    const camera = this.#camera(options.camera);
    if (bytes.length === 0) throw new AgentError('image_empty', 'the image has no bytes');
    const digest = options.sha256 ?? sha256Hex(bytes);
    const result = await this.#cachedOrRun(bytes, digest, camera, signal);
    if (options.strict === true && result.status === 'rejected')
      throw new AgentError('image_rejected', `the image is refused: ${result.reasons.join(', ')}`, {
        context: { reasons: result.reasons },
      });
    return result;
  }

  #camera(id: string | undefined): CameraSettings | null {
    if (id === undefined) return null;
    const camera = this.#deps.cameras.settingsOf(id);
    if (camera) return camera;
    throw new AgentError('camera_unknown', `there is no camera ${id}`, { context: { camera: id } });
  }

  #conditions(camera: CameraSettings | null): AnalysisConditions {
    return {
      camera,
      modelDigest: this.#deps.server.model?.digest ?? null,
      calibration: camera && this.#deps.cameras.calibrationOf(camera.id),
    };
  }

  async #cachedOrRun(
    bytes: Uint8Array,
    digest: string,
    camera: CameraSettings | null,
    signal: AbortSignal,
  ): Promise<AnalysisResult> {
    const key = answerKey(digest, this.#conditions(camera), this.#digests);
    const stored = this.#deps.cache?.get(key) ?? null;
    if (stored !== null) return { ...(JSON.parse(stored) as AnalysisResult), cached: true };
    for (let other = this.#running.get(key); other; other = this.#running.get(key)) {
      const outcome = await settledOrAborted(other, signal);
      if (!(outcome instanceof Error)) return { ...outcome, cached: true };
      if (outcome instanceof AgentError && outcome.code.startsWith('image_')) throw outcome;
      // The other client disconnected or waited too long: analyze the image for this one.
    }
    const run = this.#afterSameImage(bytes, digest, camera, signal);
    this.#running.set(key, run);
    try {
      return await run;
    } finally {
      this.#running.delete(key);
    }
  }

  async #afterSameImage(
    bytes: Uint8Array,
    digest: string,
    camera: CameraSettings | null,
    signal: AbortSignal,
  ): Promise<AnalysisResult> {
    for (let other = this.#runningImages.get(digest); other; other = this.#runningImages.get(digest))
      await settledOrAborted(other, signal);
    const run = this.#run(bytes, digest, camera, signal);
    this.#runningImages.set(digest, run);
    try {
      return await run;
    } finally {
      this.#runningImages.delete(digest);
    }
  }

  async #run(
    bytes: Uint8Array,
    digest: string,
    camera: CameraSettings | null,
    signal: AbortSignal,
  ): Promise<AnalysisResult> {
    const { clock, cache } = this.#deps;
    this.#poison.check(digest);
    const before = this.#conditions(camera).calibration;
    const startedMs = clock.monoMs();
    using lease = this.#deps.server.lease();
    const frame = await this.#analyzeFrame(lease, bytes, camera, signal).catch((thrown: unknown) => {
      this.#poison.noteFailure(digest, thrown);
      throw thrown;
    });
    const { model, provider } = lease;
    const calibration = camera && calibrationFor(lease, [this.#conditions(camera).calibration, before]);
    const atMs = clock.nowMs();
    const totalMs = clock.monoMs() - startedMs;
    const context = { camera: camera?.id ?? '', atMs, totalMs, model, provider, calibration };
    const result = toAnalysisResult(imageRecord(frame, context), atMs, camera?.id ?? null);
    // Store it under the model that analyzed it: another one may serve by now.
    const modelDigest = model?.digest ?? null;
    cache?.put(
      answerKey(digest, { camera, calibration, modelDigest }, this.#digests),
      JSON.stringify(result),
    );
    return result;
  }

  /** Finishes a frame that is due, even when its client has gone: `PoisonImages` must see whether it crashes the process. */
  async #analyzeFrame(
    lease: ModelLease,
    bytes: Uint8Array,
    camera: CameraSettings | null,
    signal: AbortSignal,
  ): Promise<FrameResult> {
    const { roi = null, privacyMasks = [] } = camera ?? {};
    const timeout = AbortSignal.timeout(MAX_WAIT_MS);
    try {
      return await lease.analyze(
        bytes,
        { roi, privacyMasks, priority: 'upload', finishOnceDue: true },
        AbortSignal.any([signal, timeout]),
      );
    } catch (thrown) {
      if (signal.aborted || thrown !== timeout.reason) throw thrown;
      throw this.#busyError('the images before this one take too long');
    }
  }

  /** `vision_busy` with the time that the images in the queue take, 1 to 60 s. */
  #busyError(message: string): AgentError {
    const queuedMs = this.#running.size * (this.#deps.server.stats().p50Ms ?? DEFAULT_FRAME_MS);
    const { min, max } = RETRY_AFTER_S;
    const retryAfterS = Math.min(max, Math.max(min, Math.ceil(queuedMs / 1000)));
    return new AgentError('vision_busy', message, { context: { retryAfterS } });
  }
}

/** The value of another client's work, or its error. Rejects only with the reason of this client's signal. */
async function settledOrAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | Error> {
  signal.throwIfAborted();
  let abort = (): void => undefined;
  try {
    return await new Promise<T | Error>((resolve, reject) => {
      abort = () => reject(signal.reason as Error);
      signal.addEventListener('abort', abort, { once: true });
      work.then(resolve, (thrown: unknown) =>
        resolve(thrown instanceof Error ? thrown : new Error('analysis failed', { cause: thrown })),
      );
    });
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
