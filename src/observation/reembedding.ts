import { SiteCalibration } from '../calibration/site-calibration.ts';
import type { Clock } from '../base/clock.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { CalibrationSummary } from '../contract/observation.ts';
import { asAgentError, isAbort } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Bundle } from '../model/manifest.ts';
import type { CalibrationForecast, Candidate } from '../model/types.ts';
import type { LabelledImages } from './labelled-images.ts';
import type { Store } from '../store/store.ts';
import type { ModelLease } from '../vision/protocol.ts';

export interface ReembedderDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Pick<Store, 'labels' | 'embeddings'>;
  readonly pictures: LabelledImages;
  readonly cameras: () => readonly CameraSettings[];
  /** The calibration that stands, of the model that serves. */
  readonly summaryOf: (camera: string) => CalibrationSummary | null;
  readonly serving: { readonly bundle: Bundle | null; lease(): ModelLease };
  /** Learns a camera's labels anew. */
  readonly refit: (camera: string) => Promise<CalibrationSummary>;
}

/** Only so many newest labels are fitted. */
const NEWEST = 200;
/** After each picture, so that whatever is live goes before. */
const PAUSE_MS = 50;
const BATCH = 10;
/** A model that fails so often on pictures that another one saw well is not asked for more. */
const MAX_FAILURES = 3;
/** Trunks whose embeddings are remembered: of the model that serves, its former one, and a candidate. */
const MAX_TRUNKS = 3;
const CATCH_UP_MS = 3_600_000;

/**
 * Lets a model learn from labels that were given before it came: from the stored pictures of the labelled observations.
 * What it made of them is stored under its trunk, where the calibration looks for it.
 */
export class Reembedder {
  readonly #deps: ReembedderDeps;
  /** Newest last. */
  #trunks: readonly string[] = [];
  #nudged = new AbortController();

  constructor(deps: ReembedderDeps) {
    this.#deps = deps;
  }

  /** What a swap to the candidate would mean for each camera's calibration. Rejects only when the signal aborts. */
  async forecast(candidate: Candidate, signal: AbortSignal): Promise<readonly CalibrationForecast[]> {
    const forecasts: CalibrationForecast[] = [];
    for (const camera of this.#deps.cameras())
      forecasts.push(await this.#forecast(camera, candidate, signal));
    return forecasts;
  }

  async #forecast(
    camera: CameraSettings,
    candidate: Candidate,
    signal: AbortSignal,
  ): Promise<CalibrationForecast> {
    const { store, serving, summaryOf } = this.#deps;
    const labels = store.labels.list(camera.id).length;
    const looMaeBeforeM = summaryOf(camera.id)?.loo_mae_m ?? null;
    const known = { camera: camera.id, labels, looMaeBeforeM };
    if (labels === 0) return { ...known, outcome: 'none', refittedLabels: 0, looMaeAfterM: null };
    const { embeddingDigest } = candidate.bundle;
    if (embeddingDigest === null) return { ...known, outcome: 'lost', refittedLabels: 0, looMaeAfterM: null };
    const isSame = embeddingDigest === serving.bundle?.embeddingDigest;
    if (!isSame) await this.#see(camera, embeddingDigest, candidate, signal);
    const bursts = store.labels.bursts(camera.id, embeddingDigest);
    const calibration = new SiteCalibration({ camera: camera.id, embeddingDigest });
    const { summary } = await calibration.fit(bursts, signal);
    return {
      ...known,
      outcome: isSame ? 'kept' : bursts.length > 0 ? 'refitted' : 'lost',
      refittedLabels: bursts.length,
      looMaeAfterM: summary.loo_mae_m,
    };
  }

  /**
   * Lets the model that serves learn from labels that it has not seen: those given between its proof and the swap, or
   * under a model that was sent back. Resolves to the cameras that have learned something.
   */
  async catchUp(signal: AbortSignal): Promise<readonly string[]> {
    const { serving, cameras } = this.#deps;
    const digest = serving.bundle?.embeddingDigest;
    if (!digest) return [];
    // One lease for each image, so that a reload does not wait for all of them.
    const current: Pick<ModelLease, 'analyze'> = {
      analyze: async (...frame) => {
        using lease = serving.lease();
        return await lease.analyze(...frame);
      },
    };
    const learned: string[] = [];
    for (const camera of cameras())
      if ((await this.#see(camera, digest, current, signal)) > 0) learned.push(camera.id);
    return learned;
  }

  /** Catches up whenever another model serves, and now and then. Never rejects but for the signal. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, log, refit } = this.#deps;
    for (;;) {
      this.#nudged = new AbortController();
      const either = AbortSignal.any([signal, this.#nudged.signal]);
      try {
        for (const camera of await this.catchUp(either)) await refit(camera);
      } catch (thrown) {
        signal.throwIfAborted();
        if (!isAbort(thrown)) log.warn({ err: asAgentError(thrown) }, 'labels wait for another try');
      }
      await clock.sleep(CATCH_UP_MS, either).catch(() => signal.throwIfAborted());
    }
  }

  /** Another model serves. */
  nudge(): void {
    this.#nudged.abort();
  }

  /** Shows a model the pictures that its trunk has not seen. Resolves to how many it has seen now. */
  async #see(
    camera: CameraSettings,
    digest: string,
    vision: Pick<ModelLease, 'analyze'>,
    signal: AbortSignal,
  ): Promise<number> {
    const { store, pictures, clock, log } = this.#deps;
    this.#remember(digest);
    const seen: { observationId: string; embedding: Float32Array }[] = [];
    let stored = 0;
    let failures = 0;
    const flush = (): void => {
      store.embeddings.add(camera.id, digest, seen);
      stored += seen.length;
      seen.length = 0;
    };
    for (const observationId of store.embeddings.missing(camera.id, digest).slice(0, NEWEST)) {
      const picture = await pictures.read(camera, observationId);
      if (picture === null) continue;
      try {
        // The gate passed the whole frame; a small picture of it need not pass again. Masks are painted already.
        const options = { roi: camera.roi, privacyMasks: [], ignoreGate: true };
        const embedding = (await vision.analyze(picture, options, signal)).heads?.embedding;
        if (embedding) seen.push({ observationId, embedding });
      } catch (thrown) {
        if (isAbort(thrown)) throw thrown;
        failures += 1;
        const err = asAgentError(thrown);
        log.warn({ camera: camera.id, observation: observationId, err }, 'a stored picture was not seen');
        if (failures >= MAX_FAILURES) break;
      }
      if (seen.length >= BATCH) flush();
      await clock.sleep(PAUSE_MS, signal);
    }
    flush();
    return stored;
  }

  #remember(digest: string): void {
    const serving = this.#deps.serving.bundle?.embeddingDigest;
    const trunks = [...this.#trunks.filter((one) => one !== digest && one !== serving), serving, digest];
    this.#trunks = [...new Set(trunks.filter((one) => one != null))].slice(-MAX_TRUNKS);
    this.#deps.store.embeddings.keepOnly(this.#trunks);
  }
}
