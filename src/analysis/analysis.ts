import { hash } from 'node:crypto';
import { withAbort } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import { AgentError, asAgentError, type ErrorCode } from '../base/errors.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { AnalysisOptions, AnalysisResult, UploadReservation } from '../contract/analysis.ts';
import type { ModelRef } from '../contract/observation.ts';
import { calibrationFor, type SiteCalibration } from '../calibration/site-calibration.ts';
import type { AnalysisCache } from '../store/types.ts';
import { MAX_AHEAD, type FrameResult, type ModelLease } from '../vision/protocol.ts';
import { answerKey, type AnalysisConditions } from './answer-key.ts';
import { imageRecord, toAnalysisResult } from './image-record.ts';
import { PoisonImages } from './poison-images.ts';
import { UploadBudget } from './upload-budget.ts';

export interface AnalysisLimits {
  readonly maxUploadMb: number;
}

export interface AnalysisDeps {
  readonly clock: Clock;
  readonly server: {
    lease(): ModelLease;
    /** The model that serves (analyses the frames), or that was opened to serve. */
    readonly model: ModelRef | null;
    /** `p50Ms`: median time of one frame in the vision process, ms; null before the first frame. */
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

/** The outcome of one analysed image. It is used for metrics only. */
export type AnalysisOutcome =
  | { readonly kind: AnalysisResult['status'] | 'cached'; readonly durationMs: number }
  | { readonly kind: 'failed'; readonly code: ErrorCode };

/** The present load. It is used for metrics only. */
export interface AnalysisStats {
  readonly waiting: number;
  readonly requests: number;
  readonly heldBytes: number;
}

interface UploadedImage {
  readonly bytes: Uint8Array;
  /** SHA-256, hexadecimal. */
  readonly digest: string;
  readonly camera: CameraSettings | null;
}

/**
 * Memory for the images of all requests, including images that are still being uploaded. If the largest allowed image
 * is larger than this, its size is the limit.
 */
const BUDGET_BYTES = 64_000_000;
/** Most requests at the same time. Each request has at most one image in the queue of the vision process. */
const MAX_REQUESTS = 64;
/** Longest wait of an image. After it the request fails with `vision_busy`, and the client should try again later. */
const MAX_WAIT_MS = 60_000;
const BYTES_PER_MB = 1_000_000;
/** Assumed time of one frame until the first frame has been measured. */
const DEFAULT_FRAME_MS = 500;
const RETRY_AFTER_S = { min: 1, max: 60 };

/**
 * Analyses uploaded images, with the same result as for a frame of a camera.
 *
 * An uploaded image must pass two limits: the memory budget for uploads while the image is received, then the length of
 * the request queue of the vision process.
 *
 * INVARIANTS
 * - Schedule first: scheduled frames and the other requests of the agent go before uploads in the queue. So a scheduled
 *   frame waits for at most `MAX_AHEAD` uploads.
 * - Fair: a request has at most one image in the queue, so that a large batch does not delay single images more than a
 *   small batch does.
 * - An image is in the queue only once, even if many clients send it at the same time. So a crash of the vision process
 *   by this image is counted before the image is tried again.
 */
export class Analysis {
  readonly #deps: AnalysisDeps;
  readonly #budget: UploadBudget;
  readonly #poison: PoisonImages;
  /** Images that wait or are being analysed. The key is the cache key of the result (see `answerKey`). */
  readonly #running = new Map<string, Promise<AnalysisResult>>();
  /**
   * The same images by their digest. When one image is sent for several cameras, it is analysed for one camera after
   * the other.
   */
  readonly #runningImages = new Map<string, Promise<AnalysisResult>>();

  constructor({ maxUploadMb }: AnalysisLimits, deps: AnalysisDeps) {
    this.#deps = deps;
    this.#poison = new PoisonImages(deps);
    this.#budget = new UploadBudget({
      budgetBytes: Math.max(BUDGET_BYTES, maxUploadMb * BYTES_PER_MB),
      maxRequests: MAX_REQUESTS,
    });
  }

  /**
   * Reserves memory for an image before its body is received. Throws `vision_busy` with the time after which the client
   * should try again.
   */
  reserveUpload(sizeBytes: number): UploadReservation {
    const reservation = this.#budget.reserve(sizeBytes);
    if (reservation === null) throw this.#busyError('too many images are being uploaded or analysed');
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
   * Returns the result for one image. Rejects with `image_*` when the image is invalid (with `image_rejected` only when
   * `strict` is set), with `camera_unknown`, with `vision_busy` when the queue is full or the wait is too long, and
   * with `vision_*` when the model fails.
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
      if (!signal.aborted) onAnswered?.({ kind: 'failed', code: asAgentError(thrown).code });
      throw thrown;
    }
  }

  async #analyze(bytes: Uint8Array, options: AnalysisOptions, signal: AbortSignal): Promise<AnalysisResult> {
    const camera = this.#camera(options.camera);
    if (bytes.length === 0) throw new AgentError('image_empty', 'the image has no bytes');
    const digest = options.sha256 ?? hash('sha256', bytes);
    const result = await this.#cachedOrRun({ bytes, digest, camera }, signal);
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

  async #cachedOrRun(image: UploadedImage, signal: AbortSignal): Promise<AnalysisResult> {
    const key = answerKey(image.digest, this.#conditions(image.camera));
    const stored = this.#deps.cache?.get(key) ?? null;
    if (stored !== null) return { ...(JSON.parse(stored) as AnalysisResult), cached: true };
    for (let other = this.#running.get(key); other; other = this.#running.get(key)) {
      const outcome = await withAbort(other.catch(asError), signal);
      if (!(outcome instanceof Error)) return { ...outcome, cached: true };
      if (outcome instanceof AgentError && outcome.code.startsWith('image_')) throw outcome;
      // The other client disconnected, or its image waited too long: analyse the image for this client.
    }
    const run = this.#afterSameImage(image, signal).finally(() => this.#running.delete(key));
    this.#running.set(key, run);
    return await run;
  }

  async #afterSameImage(image: UploadedImage, signal: AbortSignal): Promise<AnalysisResult> {
    const { digest } = image;
    for (let other = this.#runningImages.get(digest); other; other = this.#runningImages.get(digest))
      await withAbort(other.catch(asError), signal);
    const run = this.#run(image, signal).finally(() => this.#runningImages.delete(digest));
    this.#runningImages.set(digest, run);
    return await run;
  }

  async #run(image: UploadedImage, signal: AbortSignal): Promise<AnalysisResult> {
    const { digest, camera } = image;
    const { clock, cache } = this.#deps;
    this.#poison.check(digest);
    const before = this.#conditions(camera).calibration;
    const startedMs = clock.monoMs();
    using lease = this.#deps.server.lease();
    const frame = await this.#analyzeFrame(lease, image, signal).catch((thrown: unknown) => {
      this.#poison.noteFailure(digest, thrown);
      throw thrown;
    });
    const { model, provider } = lease;
    const calibration = camera && calibrationFor(lease, [this.#conditions(camera).calibration, before]);
    const atMs = clock.nowMs();
    const totalMs = clock.monoMs() - startedMs;
    const context = { camera: camera?.id ?? '', atMs, totalMs, model, provider, calibration };
    const result = toAnalysisResult(imageRecord(frame, context), atMs, camera?.id ?? null);
    // Store the result under the digest of the model that produced it, because another model may serve by now.
    const modelDigest = model?.digest ?? null;
    cache?.put(answerKey(digest, { camera, calibration, modelDigest }), JSON.stringify(result));
    return result;
  }

  /**
   * Analyses one image under a lease (the right to use one model). Once the image has reached the vision process, it is
   * analysed to the end even if the client disconnects, because `PoisonImages` must see whether the image crashes the
   * process.
   */
  async #analyzeFrame(
    lease: ModelLease,
    { bytes, camera }: UploadedImage,
    signal: AbortSignal,
  ): Promise<FrameResult> {
    const { roi = null, privacyMasks = [] } = camera ?? {};
    const timeout = AbortSignal.timeout(MAX_WAIT_MS);
    try {
      return await lease.analyze(
        bytes,
        { roi, privacyMasks, priority: 'upload', source: 'uploads', finishOnceDue: true },
        AbortSignal.any([signal, timeout]),
      );
    } catch (thrown) {
      if (signal.aborted || thrown !== timeout.reason) throw thrown;
      throw this.#busyError('the images before this one take too long');
    }
  }

  /** The error `vision_busy` with the time that the images in the queue still need, from 1 to 60 s. */
  #busyError(message: string): AgentError {
    const queuedMs = this.#running.size * (this.#deps.server.stats().p50Ms ?? DEFAULT_FRAME_MS);
    const { min, max } = RETRY_AFTER_S;
    const retryAfterS = Math.min(max, Math.max(min, Math.ceil(queuedMs / 1000)));
    return new AgentError('vision_busy', message, { context: { retryAfterS } });
  }
}

const asError = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error('analysis failed', { cause: thrown });
