import { analysisResult } from './result.ts';
import { answerKey, FitDigests, sha256, type Conditions } from './conditions.ts';
import { imageRecord } from './image-record.ts';
import { UploadBudget } from './upload-budget.ts';
import { PoisonImages } from './poison-images.ts';
import { AdmissionQueue } from './admission-queue.ts';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { Clock } from '../base/clock.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { AnalysisOptions, AnalysisResult, ImageRoom } from '../contract/analysis.ts';
import type { ModelRef } from '../contract/observation.ts';
import { AgentError, asAgentError, isAbort, type ErrorCode } from '../base/errors.ts';
import { calibrationFor } from '../observation/height-estimate.ts';
import type { AnalysisCache } from '../store/types.ts';
import { MAX_AHEAD } from '../vision/vision-child.ts';
import type { ModelLease } from '../vision/protocol.ts';

export interface AnalysisLimits {
  /** The largest image that a request may bring, MB. */
  readonly maxUploadMb: number;
}

export interface AnalysisDeps {
  readonly clock: Clock;
  readonly lease: () => ModelLease;
  /** The one that serves, or is opened to serve. */
  readonly model: () => ModelRef | null;
  /** Undefined when there is no such camera. */
  readonly camera: (id: string) => CameraSettings | undefined;
  readonly calibrationOf: (camera: string) => SiteCalibration | null;
  readonly cache?: AnalysisCache;
  readonly onAnswered?: (outcome: AnalysisOutcome) => void;
}

/** What became of one image, for metrics. */
export type AnalysisOutcome =
  | { readonly kind: AnalysisResult['status'] | 'cached'; readonly durationMs: number }
  | { readonly kind: 'failed'; readonly code: ErrorCode };

/** Figures for metrics. */
export interface AnalysisStats {
  readonly waiting: number;
  readonly requests: number;
  readonly heldBytes: number;
}

/** Images of all requests in memory, their uploads included; one of the largest size always finds room. */
const BUDGET_BYTES = 64_000_000;
/** Requests that may be under way; each has one image in the queue at most. */
const MAX_REQUESTS = 64;
/** What a client may be expected to wait for; then it had better come again. */
const MAX_WAIT_MS = 60_000;
const BYTES_PER_MB = 1_000_000;

/**
 * Images that are sent in, beside the schedule: each the same answer as a camera's frame would get.
 *
 * INVARIANTS
 * - A scheduled frame waits for two images at most: the one that is looked at, and the next, which lies there already.
 * - One image is in the vision process's hands once, however often it is sent at the same time.
 */
export class Analysis {
  readonly #deps: AnalysisDeps;
  readonly #turns: AdmissionQueue;
  readonly #rooms: UploadBudget;
  readonly #fits = new FitDigests();
  readonly #strikes: PoisonImages;
  /** By key of the answer. */
  readonly #underWay = new Map<string, Promise<AnalysisResult>>();

  constructor({ maxUploadMb }: AnalysisLimits, deps: AnalysisDeps) {
    this.#deps = deps;
    this.#strikes = new PoisonImages(deps);
    this.#turns = new AdmissionQueue({ atOnce: MAX_AHEAD, mostWaiting: MAX_REQUESTS }, deps);
    this.#rooms = new UploadBudget({
      budgetBytes: Math.max(BUDGET_BYTES, maxUploadMb * BYTES_PER_MB),
      most: MAX_REQUESTS,
    });
  }

  /** To be taken before a body is read, and released. Throws `vision_busy`, with the time to come again. */
  room(sizeBytes: number): ImageRoom {
    const room = this.#rooms.take(sizeBytes);
    if (room === null) throw this.#turns.busy('too many images are under way');
    return room;
  }

  stats(): AnalysisStats {
    return {
      waiting: this.#turns.waiting,
      requests: this.#rooms.taken,
      heldBytes: this.#rooms.takenBytes,
    };
  }

  /**
   * The answer to one image. Rejects with `image_*` when the image is at fault (`image_rejected` only when `strict`),
   * `camera_unknown`, `vision_busy` when the queue is full or too slow, `vision_*` when the model is.
   */
  async analyze(bytes: Uint8Array, options: AnalysisOptions, signal: AbortSignal): Promise<AnalysisResult> {
    const { clock, onAnswered } = this.#deps;
    const startedMs = clock.monoMs();
    try {
      const result = await this.#answer(bytes, options, signal);
      const durationMs = clock.monoMs() - startedMs;
      onAnswered?.({ kind: result.cached ? 'cached' : result.status, durationMs });
      return { ...result, processing_time_seconds: Number((durationMs / 1000).toFixed(6)) };
    } catch (thrown) {
      if (!isAbort(thrown)) onAnswered?.({ kind: 'failed', code: asAgentError(thrown).code });
      throw thrown;
    }
  }

  async #answer(bytes: Uint8Array, options: AnalysisOptions, signal: AbortSignal): Promise<AnalysisResult> {
    const camera = this.#camera(options.camera);
    if (bytes.length === 0) throw new AgentError('image_empty', 'the image has no bytes');
    const digest = options.sha256 ?? sha256(bytes);
    const found = await this.#find(bytes, digest, camera, signal);
    if (options.strict === true && found.status === 'rejected')
      throw new AgentError('image_rejected', `the image is refused: ${found.reasons.join(', ')}`, {
        context: { reasons: found.reasons },
      });
    return found;
  }

  #camera(id: string | undefined): CameraSettings | null {
    if (id === undefined) return null;
    const camera = this.#deps.camera(id);
    if (camera) return camera;
    throw new AgentError('camera_unknown', `there is no camera ${id}`, { context: { camera: id } });
  }

  #conditions(camera: CameraSettings | null): Conditions {
    return {
      camera,
      modelDigest: this.#deps.model()?.digest ?? null,
      calibration: camera && this.#deps.calibrationOf(camera.id),
    };
  }

  async #find(
    bytes: Uint8Array,
    digest: string,
    camera: CameraSettings | null,
    signal: AbortSignal,
  ): Promise<AnalysisResult> {
    const key = answerKey(digest, this.#conditions(camera), this.#fits);
    const stored = this.#deps.cache?.get(key) ?? null;
    if (stored !== null) return { ...(JSON.parse(stored) as AnalysisResult), cached: true };
    for (let other = this.#underWay.get(key); other; other = this.#underWay.get(key)) {
      const answer = await settled(other, signal);
      if (!(answer instanceof Error)) return { ...answer, cached: true };
      // Who asked first went away, or waited too long: the next one asks for itself.
      if (answer instanceof AgentError && answer.code.startsWith('image_')) throw answer;
    }
    const mine = this.#inTurn(bytes, digest, camera, signal);
    this.#underWay.set(key, mine);
    try {
      return await mine;
    } finally {
      this.#underWay.delete(key);
    }
  }

  async #inTurn(
    bytes: Uint8Array,
    digest: string,
    camera: CameraSettings | null,
    signal: AbortSignal,
  ): Promise<AnalysisResult> {
    const patience = AbortSignal.timeout(MAX_WAIT_MS);
    try {
      return await this.#turns.take(
        () => this.#look(bytes, digest, camera),
        AbortSignal.any([signal, patience]),
      );
    } catch (thrown) {
      if (signal.aborted || thrown !== patience.reason) throw thrown;
      throw this.#turns.busy('the images before this one take too long');
    }
  }

  /** To its end, though nobody may wait for it any more: what it does to the process is to be known. */
  async #look(bytes: Uint8Array, digest: string, camera: CameraSettings | null): Promise<AnalysisResult> {
    const { clock, cache } = this.#deps;
    this.#strikes.check(digest);
    const before = this.#conditions(camera).calibration;
    const startedMs = clock.monoMs();
    using lease = this.#deps.lease();
    const { roi = null, privacyMasks = [] } = camera ?? {};
    const frame = await lease
      .analyze(bytes, { roi, privacyMasks, priority: 'request' })
      .catch((thrown: unknown) => {
        this.#strikes.note(digest, thrown);
        throw thrown;
      });
    const { model, provider } = lease;
    const calibration = camera && calibrationFor(lease, [this.#conditions(camera).calibration, before]);
    const atMs = clock.nowMs();
    const totalMs = clock.monoMs() - startedMs;
    const context = { camera: camera?.id ?? '', atMs, totalMs, model, provider, calibration };
    const result = analysisResult(imageRecord(frame, context), atMs, camera?.id ?? null);
    // Under the model that answered: another one may have come meanwhile.
    const modelDigest = model?.digest ?? null;
    cache?.put(answerKey(digest, { camera, calibration, modelDigest }, this.#fits), JSON.stringify(result));
    return result;
  }
}

/** What another's work came to, or why; rejects only with this signal's reason. */
async function settled<T>(work: Promise<T>, signal: AbortSignal): Promise<T | Error> {
  signal.throwIfAborted();
  let leave = (): void => undefined;
  try {
    return await new Promise<T | Error>((resolve, reject) => {
      leave = () => reject(signal.reason as Error);
      signal.addEventListener('abort', leave, { once: true });
      work.then(resolve, (thrown: unknown) =>
        resolve(thrown instanceof Error ? thrown : new Error('not answered', { cause: thrown })),
      );
    });
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
