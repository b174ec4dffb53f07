import { SiteCalibration } from '../calibration/site-calibration.ts';
import type { FitOutcome } from '../calibration/types.ts';
import type { CalibrationSummary } from '../contract/observation.ts';
import { AgentError, isAbort } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Bundle } from '../model/manifest.ts';
import { SingleFlight } from '../base/single-flight.ts';
import type { Store } from '../store/store.ts';

export interface SiteCalibrationsDeps {
  readonly log: Log;
  readonly labels: Pick<Store['labels'], 'bursts'>;
  readonly serving: { readonly bundle: Bundle | null };
  /** A camera's labels were learned. */
  readonly onLearned: (camera: string) => void;
  /** Ends every fit: what is learned after it has no store to come from. */
  readonly signal: AbortSignal;
}

/** What was learned of each camera, under the embedding of the model that serves. */
export class SiteCalibrations {
  readonly #deps: SiteCalibrationsDeps;
  readonly #calibrations = new Map<string, SiteCalibration>();
  /** Learned for a model that is about to serve. */
  #prepared: ReadonlyMap<string, SiteCalibration> = new Map();
  /** A hundred labels at once are learned in two runs, not in a hundred side by side. */
  readonly #runs = new Map<string, SingleFlight<CalibrationSummary>>();

  constructor(deps: SiteCalibrationsDeps) {
    this.#deps = deps;
  }

  /** Null when the model gives no embedding. */
  of(camera: string): SiteCalibration | null {
    return this.#calibrations.get(camera) ?? null;
  }

  /** Learns the labels of a camera that is new here, if the model gives something to learn on. */
  async open(camera: string): Promise<void> {
    if (this.#start(camera)) await this.refit(camera);
  }

  forget(camera: string): void {
    this.#calibrations.delete(camera);
    this.#runs.delete(camera);
  }

  /** Another model is about to serve: learns for it, so that not one observation goes without. */
  async prepare(cameras: Iterable<string>, { embeddingDigest }: Bundle): Promise<void> {
    const prepared = new Map<string, SiteCalibration>();
    if (embeddingDigest !== null && embeddingDigest !== this.#deps.serving.bundle?.embeddingDigest)
      for (const camera of cameras) {
        const calibration = new SiteCalibration({ camera, embeddingDigest });
        await this.#fit(calibration, camera);
        prepared.set(camera, calibration);
      }
    this.#prepared = prepared;
  }

  /** Another model serves: what was learned of the former one's embedding is put aside, and learned anew. */
  relearn(cameras: Iterable<string>): void {
    for (const camera of cameras) if (this.#start(camera)) this.refitLater(camera);
    this.#prepared = new Map();
  }

  /** False when the model gives no embedding to calibrate on. */
  #start(camera: string): boolean {
    const embeddingDigest = this.#deps.serving.bundle?.embeddingDigest;
    const ready = [this.#calibrations.get(camera), this.#prepared.get(camera)].find(
      (one) => one?.embeddingDigest === embeddingDigest,
    );
    if (ready) this.#calibrations.set(camera, ready);
    else if (embeddingDigest)
      this.#calibrations.set(camera, new SiteCalibration({ camera, embeddingDigest }));
    else this.#calibrations.delete(camera);
    return this.#calibrations.has(camera);
  }

  refitLater(camera: string): void {
    this.refit(camera).catch((thrown: unknown) => {
      if (!isAbort(thrown)) this.#deps.log.error({ camera, err: thrown }, 'labels could not be learned');
    });
  }

  /** Learns all labels that the camera has by now. Rejects with `calibration_invalid` when there is nothing to learn on, and when the agent stops. */
  refit(camera: string): Promise<CalibrationSummary> {
    const known = this.#runs.get(camera);
    if (known) return known.run();
    const run = new SingleFlight(() => this.#refit(camera));
    this.#runs.set(camera, run);
    return run.run();
  }

  async #refit(camera: string): Promise<CalibrationSummary> {
    const calibration = this.of(camera);
    if (!calibration)
      throw new AgentError('calibration_invalid', 'the model that serves gives no embedding to calibrate on');
    const { summary, ignored } = await this.#fit(calibration, camera);
    if (ignored.length > 0) this.#deps.log.warn({ camera, ignored }, 'labels ignored');
    this.#deps.onLearned(camera);
    return summary;
  }

  /** Rejects with the reason of the signal once that is aborted, also at the very end. */
  async #fit(calibration: SiteCalibration, camera: string): Promise<FitOutcome> {
    const { labels, signal } = this.#deps;
    signal.throwIfAborted();
    const outcome = await calibration.fit(labels.bursts(camera, calibration.embeddingDigest), signal);
    signal.throwIfAborted();
    return outcome;
  }
}
