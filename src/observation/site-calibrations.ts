import { AgentError, asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { SingleFlight } from '../base/single-flight.ts';
import { SiteCalibration } from '../calibration/site-calibration.ts';
import type { FitOutcome } from '../calibration/types.ts';
import type { CalibrationSummary } from '../contract/observation.ts';
import type { Bundle } from '../model/manifest.ts';
import type { KeyValue, Labels } from '../store/types.ts';

export interface SiteCalibrationsOptions {
  /** Labels less than this apart belong to one session. */
  readonly sessionHours: number;
}

export interface SiteCalibrationsDeps {
  readonly log: Log;
  /** Keeps the fit of each camera, so that a restart needs no new fit. */
  readonly memory: KeyValue;
  readonly store: { readonly labels: Pick<Labels, 'bursts'> };
  /** The active bundle, whose embedding the calibrations are for. */
  readonly server: { readonly bundle: Bundle | null };
  /** Ends every fit, because the store closes after it. */
  readonly signal: AbortSignal;
}

const keyOf = (camera: string): string => `calibration.fit/${camera}`;

/** The calibration of each camera, for the embedding of the active model. */
export class SiteCalibrations {
  readonly #options: SiteCalibrationsOptions;
  readonly #deps: SiteCalibrationsDeps;
  readonly #calibrations = new Map<string, SiteCalibration>();
  /** Fitted for a bundle that is about to become the active one. */
  #prepared: ReadonlyMap<string, SiteCalibration> = new Map();
  /** One fit at a time for each camera: a hundred labels at once cause two fits. */
  readonly #fits = new Map<string, SingleFlight<CalibrationSummary>>();

  constructor(options: SiteCalibrationsOptions, deps: SiteCalibrationsDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** A calibration without labels, which the caller fits. */
  create(camera: string, embeddingDigest: string): SiteCalibration {
    return new SiteCalibration({ ...this.#options, camera, embeddingDigest });
  }

  /** Null when the model gives no embedding. */
  of(camera: string): SiteCalibration | null {
    return this.#calibrations.get(camera) ?? null;
  }

  /**
   * Adds a camera with its stored fit. Without one, or with changed labels, fits in the background if the model gives an
   * embedding.
   */
  async open(camera: string): Promise<void> {
    if (!this.#select(camera)) return;
    const isCurrent = await this.#restore(camera).catch((thrown: unknown) => {
      this.#deps.signal.throwIfAborted();
      // Labels that cannot be read must not prevent the start. The fit reports them.
      this.#deps.log.warn({ camera, err: asAgentError(thrown) }, 'stored calibration fit not read');
      return false;
    });
    if (!isCurrent) this.#refitInBackground(camera);
  }

  forget(camera: string): void {
    this.#calibrations.delete(camera);
    this.#fits.delete(camera);
    this.#keep(camera, null);
  }

  /** False if a fit is needed. */
  async #restore(camera: string): Promise<boolean> {
    const { memory, store, signal } = this.#deps;
    const calibration = this.of(camera);
    const text = memory.get(keyOf(camera));
    if (calibration === null || text === null) return false;
    return await calibration.restore(text, store.labels.bursts(camera, calibration.embeddingDigest), signal);
  }

  /** Fits the calibrations for a bundle before it becomes the active one, so that its first observation has one. */
  async prepare(cameras: Iterable<string>, { embeddingDigest }: Bundle): Promise<void> {
    const prepared = new Map<string, SiteCalibration>();
    if (embeddingDigest !== null && embeddingDigest !== this.#deps.server.bundle?.embeddingDigest)
      for (const camera of cameras) {
        const calibration = this.create(camera, embeddingDigest);
        await this.#fit(calibration, camera);
        prepared.set(camera, calibration);
      }
    this.#prepared = prepared;
  }

  /** Switches to the embedding of the bundle that has become the active one, and fits again in the background. */
  relearn(cameras: Iterable<string>): void {
    for (const camera of cameras) if (this.#select(camera)) this.#refitInBackground(camera);
    this.#prepared = new Map();
  }

  #refitInBackground(camera: string): void {
    this.refit(camera).catch((thrown: unknown) => {
      if (!this.#deps.signal.aborted) this.#deps.log.error({ camera, err: thrown }, 'calibration failed');
    });
  }

  /** Selects the calibration for the active bundle's embedding. False when the model gives none. */
  #select(camera: string): boolean {
    const embeddingDigest = this.#deps.server.bundle?.embeddingDigest;
    const ready = [this.#calibrations.get(camera), this.#prepared.get(camera)].find(
      (one) => one?.embeddingDigest === embeddingDigest,
    );
    if (ready) this.#calibrations.set(camera, ready);
    else if (embeddingDigest) this.#calibrations.set(camera, this.create(camera, embeddingDigest));
    else this.#calibrations.delete(camera);
    return this.#calibrations.has(camera);
  }

  /**
   * Fits the calibration to all labels that the camera has now. Rejects with `calibration_invalid` when the model gives no
   * embedding, and with the abort reason of the agent when the agent stops.
   */
  refit(camera: string): Promise<CalibrationSummary> {
    const known = this.#fits.get(camera);
    if (known) return known.run();
    const fit = new SingleFlight(() => this.#refit(camera));
    this.#fits.set(camera, fit);
    return fit.run();
  }

  async #refit(camera: string): Promise<CalibrationSummary> {
    const calibration = this.of(camera);
    if (!calibration)
      throw new AgentError('calibration_invalid', 'the active model gives no embedding to calibrate on');
    const { summary, ignored } = await this.#fit(calibration, camera);
    if (ignored.length > 0) this.#deps.log.warn({ camera, ignored }, 'labels ignored');
    if (this.of(camera) === calibration) this.#keep(camera, calibration.toText());
    return summary;
  }

  /** Stores a fit, or deletes it. A fit that cannot be stored is still used: the next start fits again. */
  #keep(camera: string, text: string | null): void {
    const { memory } = this.#deps;
    try {
      if (text !== null) memory.set(keyOf(camera), text);
      else if (memory.get(keyOf(camera)) !== null) memory.delete(keyOf(camera));
    } catch (thrown) {
      this.#deps.log.warn({ camera, err: asAgentError(thrown) }, 'calibration fit not stored');
    }
  }

  async #fit(calibration: SiteCalibration, camera: string): Promise<FitOutcome> {
    const { store, signal } = this.#deps;
    signal.throwIfAborted();
    const outcome = await calibration.fit(store.labels.bursts(camera, calibration.embeddingDigest), signal);
    signal.throwIfAborted();
    return outcome;
  }
}
