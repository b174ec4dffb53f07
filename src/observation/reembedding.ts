import type { Clock } from '../base/clock.ts';
import { asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { CalibrationSummary } from '../contract/observation.ts';
import type { Bundle } from '../model/manifest.ts';
import type { CalibrationForecast, Candidate } from '../model/types.ts';
import type { Labels } from '../store/types.ts';
import type { ModelLease } from '../vision/protocol.ts';
import type { LabelledImages } from './labelled-images.ts';
import type { SiteCalibrations } from './site-calibrations.ts';

/** Embeddings of labelled observations, by the digest of the model part that made them. */
export interface StoredEmbeddings {
  /** Labelled observations of a camera that have no embedding of this digest, newest first. */
  missing(camera: string, digest: string): readonly string[];
  add(
    camera: string,
    digest: string,
    seen: readonly { readonly observationId: string; readonly embedding: Float32Array }[],
  ): void;
  /** Deletes the embeddings of all other digests. */
  keepOnly(digests: readonly string[]): void;
}

export interface ReembedderDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: { readonly labels: Pick<Labels, 'list' | 'bursts'>; readonly embeddings: StoredEmbeddings };
  readonly images: Pick<LabelledImages, 'read'>;
  readonly server: { readonly bundle: Bundle | null; lease(): ModelLease };
  readonly calibrations: Pick<SiteCalibrations, 'create'>;
  readonly cameras: {
    list(): readonly { readonly settings: CameraSettings; calibrationSummary(): CalibrationSummary }[];
    refit(camera: string): Promise<CalibrationSummary>;
  };
}

/** Newest labels of a camera that are embedded again. */
const MAX_LABELS = 200;
/** Pause after each image, so that live frames come first. */
const PAUSE_MS = 50;
/** Embeddings that are stored in one transaction. */
const BATCH = 10;
/** A model that fails on so many images, which another model could analyse, gets no more of them. */
const MAX_FAILURES = 3;
/** Embeddings are kept for so many models: the active one, the former one and a candidate. */
const MAX_EMBEDDING_DIGESTS = 3;
const INTERVAL_MS = 3_600_000;

/**
 * Re-embedding: lets a new model use labels that were given under a former one. Runs the stored images of the labelled
 * observations through the model and stores the embeddings, from which the calibration is fitted.
 */
export class Reembedder {
  readonly #deps: ReembedderDeps;
  /** Digests of the embeddings to keep, newest last. */
  #digests: readonly string[] = [];
  #nudged = new AbortController();

  constructor(deps: ReembedderDeps) {
    this.#deps = deps;
  }

  /** What a swap to the candidate would do to each camera's calibration. Rejects only when the signal aborts. */
  readonly forecast = async (
    candidate: Candidate,
    signal: AbortSignal,
  ): Promise<readonly CalibrationForecast[]> => {
    const forecasts: CalibrationForecast[] = [];
    for (const camera of this.#deps.cameras.list())
      forecasts.push(
        await this.#forecast(camera.settings, camera.calibrationSummary().loo_mae_m, candidate, signal),
      );
    return forecasts;
  };

  async #forecast(
    camera: CameraSettings,
    looMaeBeforeM: number | null,
    candidate: Candidate,
    signal: AbortSignal,
  ): Promise<CalibrationForecast> {
    const { store, server, calibrations } = this.#deps;
    const labels = store.labels.list(camera.id).length;
    const known = { camera: camera.id, labels, looMaeBeforeM };
    if (labels === 0) return { ...known, outcome: 'none', refittedLabels: 0, looMaeAfterM: null };
    const { embeddingDigest } = candidate.bundle;
    if (embeddingDigest === null) return { ...known, outcome: 'lost', refittedLabels: 0, looMaeAfterM: null };
    const isSame = embeddingDigest === server.bundle?.embeddingDigest;
    if (!isSame) await this.#embedStored(camera, embeddingDigest, candidate, signal);
    const bursts = store.labels.bursts(camera.id, embeddingDigest);
    const calibration = calibrations.create(camera.id, embeddingDigest);
    const { summary } = await calibration.fit(bursts, signal);
    return {
      ...known,
      outcome: isSame ? 'kept' : bursts.length > 0 ? 'refitted' : 'lost',
      refittedLabels: bursts.length,
      looMaeAfterM: summary.loo_mae_m,
    };
  }

  /**
   * Embeds the labelled images that the active model has not embedded: labels that came between its proof and the swap, or
   * under a model that was rolled back. Resolves to the cameras with new embeddings.
   */
  async catchUp(signal: AbortSignal): Promise<readonly string[]> {
    const { server, cameras } = this.#deps;
    const digest = server.bundle?.embeddingDigest;
    if (!digest) return [];
    // One lease for each image, so that a swap does not wait for all of them.
    const active: Pick<ModelLease, 'analyze'> = {
      analyze: async (...frame) => {
        using lease = server.lease();
        return await lease.analyze(...frame);
      },
    };
    const changed: string[] = [];
    for (const { settings } of cameras.list())
      if ((await this.#embedStored(settings, digest, active, signal)) > 0) changed.push(settings.id);
    return changed;
  }

  /** Catches up whenever the active model changes, and every hour. Rejects only when the signal aborts. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, log, cameras } = this.#deps;
    for (;;) {
      this.#nudged = new AbortController();
      const either = AbortSignal.any([signal, this.#nudged.signal]);
      try {
        for (const camera of await this.catchUp(either)) await cameras.refit(camera);
      } catch (thrown) {
        signal.throwIfAborted();
        if (!either.aborted) log.warn({ err: asAgentError(thrown) }, 're-embedding failed, retrying later');
      }
      await clock.sleep(INTERVAL_MS, either).catch(() => signal.throwIfAborted());
    }
  }

  /** The active model changed: catches up now. */
  nudge(): void {
    this.#nudged.abort();
  }

  /** Embeds the stored images of labelled observations that have no embedding of this digest. Resolves to their number. */
  async #embedStored(
    camera: CameraSettings,
    digest: string,
    vision: Pick<ModelLease, 'analyze'>,
    signal: AbortSignal,
  ): Promise<number> {
    const { store, images, clock, log } = this.#deps;
    this.#keepDigest(digest);
    const batch: { observationId: string; embedding: Float32Array }[] = [];
    let stored = 0;
    let failures = 0;
    const flush = (): void => {
      store.embeddings.add(camera.id, digest, batch);
      stored += batch.length;
      batch.length = 0;
    };
    for (const observationId of store.embeddings.missing(camera.id, digest).slice(0, MAX_LABELS)) {
      const image = await images.read(camera, observationId);
      if (image === null) continue;
      try {
        // The full frame passed the gate, so the small image need not pass it again. Its masks are painted already.
        const options = { roi: camera.roi, privacyMasks: [], ignoreGate: true };
        const embedding = (await vision.analyze(image, options, signal)).heads?.embedding;
        if (embedding) batch.push({ observationId, embedding });
      } catch (thrown) {
        signal.throwIfAborted();
        failures += 1;
        const err = asAgentError(thrown);
        log.warn({ camera: camera.id, observation: observationId, err }, 'stored image not embedded');
        if (failures >= MAX_FAILURES) break;
      }
      if (batch.length >= BATCH) flush();
      await clock.sleep(PAUSE_MS, signal);
    }
    flush();
    return stored;
  }

  #keepDigest(digest: string): void {
    const active = this.#deps.server.bundle?.embeddingDigest;
    const digests = [...this.#digests.filter((one) => one !== digest && one !== active), active, digest];
    this.#digests = [...new Set(digests.filter((one) => one != null))].slice(-MAX_EMBEDDING_DIGESTS);
    this.#deps.store.embeddings.keepOnly(this.#digests);
  }
}
