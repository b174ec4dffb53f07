import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { SingleFlight } from '../base/single-flight.ts';
import { SiteCalibration } from '../calibration/site-calibration.ts';
import type { FitOutcome } from '../calibration/types.ts';
import type { CalibrationSummary } from '../contract/observation.ts';
import type { Bundle } from '../model/manifest.ts';
import type { Labels } from '../store/types.ts';

export interface SiteCalibrationsDeps {
  readonly log: Log;
  readonly store: { readonly labels: Pick<Labels, 'bursts'> };
  /** The active bundle, whose embedding the calibrations are for. */
  readonly server: { readonly bundle: Bundle | null };
  /** Ends every fit, because the store closes after it. */
  readonly signal: AbortSignal;
}

/** The calibration of each camera, for the embedding of the active model. */
export class SiteCalibrations {
  readonly #deps: SiteCalibrationsDeps;
  readonly #calibrations = new Map<string, SiteCalibration>();
  /** Fitted for a bundle that is about to become the active one. */
  #prepared: ReadonlyMap<string, SiteCalibration> = new Map();
  /** One fit at a time for each camera: a hundred labels at once cause two fits. */
  readonly #fits = new Map<string, SingleFlight<CalibrationSummary>>();

  constructor(deps: SiteCalibrationsDeps) {
    this.#deps = deps;
  }

  /** Null when the model gives no embedding. */
  of(camera: string): SiteCalibration | null {
    return this.#calibrations.get(camera) ?? null;
  }

  /** Adds a camera, and fits its calibration if the model gives an embedding. */
  async open(camera: string): Promise<void> {
    if (this.#select(camera)) await this.refit(camera);
  }

  forget(camera: string): void {
    this.#calibrations.delete(camera);
    this.#fits.delete(camera);
  }

  /** Fits the calibrations for a bundle before it becomes the active one, so that its first observation has one. */
  async prepare(cameras: Iterable<string>, { embeddingDigest }: Bundle): Promise<void> {
    const prepared = new Map<string, SiteCalibration>();
    if (embeddingDigest !== null && embeddingDigest !== this.#deps.server.bundle?.embeddingDigest)
      for (const camera of cameras) {
        const calibration = new SiteCalibration({ camera, embeddingDigest });
        await this.#fit(calibration, camera);
        prepared.set(camera, calibration);
      }
    this.#prepared = prepared;
  }

  /** Switches to the embedding of the bundle that has become the active one, and fits again in the background. */
  relearn(cameras: Iterable<string>): void {
    for (const camera of cameras)
      if (this.#select(camera))
        this.refit(camera).catch((thrown: unknown) => {
          if (!this.#deps.signal.aborted) this.#deps.log.error({ camera, err: thrown }, 'calibration failed');
        });
    this.#prepared = new Map();
  }

  /** Selects the calibration for the active bundle's embedding. False when the model gives none. */
  #select(camera: string): boolean {
    const embeddingDigest = this.#deps.server.bundle?.embeddingDigest;
    const ready = [this.#calibrations.get(camera), this.#prepared.get(camera)].find(
      (one) => one?.embeddingDigest === embeddingDigest,
    );
    if (ready) this.#calibrations.set(camera, ready);
    else if (embeddingDigest)
      this.#calibrations.set(camera, new SiteCalibration({ camera, embeddingDigest }));
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
    return summary;
  }

  async #fit(calibration: SiteCalibration, camera: string): Promise<FitOutcome> {
    const { store, signal } = this.#deps;
    signal.throwIfAborted();
    const outcome = await calibration.fit(store.labels.bursts(camera, calibration.embeddingDigest), signal);
    signal.throwIfAborted();
    return outcome;
  }
}
