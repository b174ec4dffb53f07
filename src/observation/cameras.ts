import { openCamera } from '../camera/open.ts';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import { SelfLabeller } from '../calibration/self-labeller.ts';
import { isoTime, type Clock } from '../base/clock.ts';
import { sameConnection, sameSource } from '../config/camera-change.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { CalibrationSummary, Observation } from '../contract/observation.ts';
import { isAbort } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Bundle } from '../model/manifest.ts';
import type { Link } from '../mqtt/types.ts';
import { observationLine } from './log-line.ts';
import { isUsed } from './burst.ts';
import type { LabelledImages } from './labelled-images.ts';
import type { RecordContext } from './record.ts';
import { createSchedule } from '../schedule/schedule.ts';
import type { ModelServer } from '../serving/model-server.ts';
import { SiteCalibrations } from './site-calibrations.ts';
import { CameraRunner, type Observed } from './camera-runner.ts';
import type { Store } from '../store/store.ts';
import type { RaiseEvent } from '../store/types.ts';

export interface CameraSetOptions {
  readonly cameras: readonly CameraSettings[];
  readonly device: string;
  readonly context: () => Omit<RecordContext, 'camera'>;
}

export interface CameraSetDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  readonly raise: RaiseEvent;
  readonly serving: ModelServer;
  readonly link: Link;
  /** After the record is on the disk. */
  readonly onObservation?: (observation: Observation) => void;
  /** Keeps a picture of what was observed, for models that come later. */
  readonly pictures?: LabelledImages;
  /** Ends what is being learned. */
  readonly signal: AbortSignal;
}

/** People read a wave to about this. */
const READING_NOISE_M = 0.05;
const MAX_SELF_LABELS = 60;
/** What a camera that is changed or taken away may take to finish. */
const LEAVE_WITHIN_MS = 15_000;

/** All cameras of the device with what was learned of each. */
export class CameraSet {
  readonly runners = new Map<string, CameraRunner>();
  readonly #options: CameraSetOptions;
  readonly #deps: CameraSetDeps;
  readonly #calibrations: SiteCalibrations;
  readonly #labellers = new Map<string, SelfLabeller>();
  /** Of the cameras that run, and of those that are about to end. */
  readonly #tasks = new Set<Promise<void>>();
  #signal: AbortSignal | null = null;

  constructor(options: CameraSetOptions, deps: CameraSetDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#calibrations = new SiteCalibrations({
      log: deps.log,
      labels: deps.store.labels,
      serving: deps.serving,
      signal: deps.signal,
      onLearned: (camera) => this.#keepLabelled(camera),
    });
  }

  /** Opens every camera, and learns its labels for the model that serves. Nothing is connected yet. */
  async open(): Promise<void> {
    for (const settings of this.#options.cameras) await this.#add(settings);
  }

  /**
   * Other cameras, or others of their settings, while they run. Those that stay as they are miss nothing; one that changes
   * finishes what it has in hand. Rejects with `config_invalid` as `openCamera` does.
   */
  async update(cameras: readonly CameraSettings[]): Promise<void> {
    const wanted = new Set(cameras.map(({ id }) => id));
    for (const runner of this.list()) if (!wanted.has(runner.id)) this.#remove(runner);
    for (const settings of cameras) {
      const runner = this.runners.get(settings.id);
      if (!runner) await this.#add(settings);
      else if (sameConnection(runner.settings, settings)) runner.adopt(settings);
      else await this.#replace(runner, settings);
    }
  }

  async #add(settings: CameraSettings): Promise<void> {
    const { store, link } = this.#deps;
    const { id } = settings;
    const runner = await this.#runner(settings, null);
    this.runners.set(id, runner);
    await this.#calibrations.open(id);
    this.#startLabelling(settings);
    link.setState(`camera/${id}/state`, runner.state());
    const newest = store.observations.newest(id);
    if (newest) link.setState(`camera/${id}/latest`, newest);
    this.#launch(runner);
  }

  async #replace(before: CameraRunner, settings: CameraSettings): Promise<void> {
    const runner = await this.#runner(settings, before);
    before.leave(LEAVE_WITHIN_MS);
    this.runners.set(settings.id, runner);
    if (!sameSource(before.settings, settings)) {
      this.#startLabelling(settings);
      this.#deps.link.setState(`camera/${settings.id}/state`, runner.state());
    }
    this.#launch(runner);
  }

  #remove(runner: CameraRunner): void {
    const { id } = runner;
    runner.leave(LEAVE_WITHIN_MS);
    this.runners.delete(id);
    this.#calibrations.forget(id);
    this.#labellers.delete(id);
    for (const topic of ['state', 'latest']) this.#deps.link.setState(`camera/${id}/${topic}`, null);
  }

  async #runner(settings: CameraSettings, before: CameraRunner | null): Promise<CameraRunner> {
    const { clock, log, store, raise, serving } = this.#deps;
    const { id, schedule, location } = settings;
    const camera = await openCamera(settings, { clock, log });
    const runner: CameraRunner = new CameraRunner(
      { settings, context: this.#options.context, ...(before ? { before } : {}) },
      {
        camera,
        schedule: createSchedule({ schedule, location, seedId: `${this.#options.device}/${id}` }, { clock }),
        lease: () => serving.lease(),
        calibration: () => this.calibrationOf(id),
        append: (draft, memory) => store.append(draft, memory),
        clock,
        log,
        raise,
        onObserved: (observed) => this.#observed(runner, observed),
        onState: (state) => this.#setState(id, 'state', state),
      },
    );
    return runner;
  }

  #startLabelling({ id, kind, simulation }: CameraSettings): void {
    this.#labellers.delete(id);
    if (kind !== 'simulated' || !simulation.selfLabel) return;
    const maxLabels = MAX_SELF_LABELS - this.#deps.store.labels.list(id).length;
    this.#labellers.set(id, new SelfLabeller({ noiseM: READING_NOISE_M, seed: simulation.seed, maxLabels }));
  }

  /** A camera that was taken away may still finish an observation; its topics stay cleared. */
  #setState(camera: string, topic: 'state' | 'latest', payload: unknown): void {
    if (this.runners.has(camera)) this.#deps.link.setState(`camera/${camera}/${topic}`, payload);
  }

  list(): readonly CameraRunner[] {
    return [...this.runners.values()];
  }

  /** The times of stored records were mended: tells the newest of each camera anew. */
  retell(): void {
    const { link, store } = this.#deps;
    for (const runner of this.runners.values()) {
      const newest = store.observations.newest(runner.id);
      if (!newest?.warnings.includes('time_corrected')) continue;
      runner.replaceLatest(newest);
      link.setState(`camera/${runner.id}/latest`, newest);
    }
  }

  /** Another model is about to serve: learns for it, so that not one observation goes without. */
  prepare(bundle: Bundle): Promise<void> {
    return this.#calibrations.prepare(this.runners.keys(), bundle);
  }

  /** Another model serves. */
  relearn(): void {
    this.#calibrations.relearn(this.runners.keys());
  }

  /** Null when the model gives no embedding. */
  calibrationOf(camera: string): SiteCalibration | null {
    return this.#calibrations.of(camera);
  }

  /** Learns the camera's labels anew. */
  refit(camera: string): Promise<CalibrationSummary> {
    return this.#calibrations.refit(camera);
  }

  /** A picture of the newest observation, once it has a label: it may have none for want of time between them. */
  #keepLabelled(camera: string): void {
    const runner = this.runners.get(camera);
    const { latest, latestFrame } = runner ?? {};
    if (!runner || !latest || !latestFrame || latest.status !== 'measured') return;
    if (this.#deps.store.labels.list(camera).some((label) => label.observationId === latest.id))
      void this.#deps.pictures?.keep(runner.settings, latest.id, latestFrame.bytes, true);
  }

  /** Runs every camera, also those that come later. Resolves when the signal has ended them all. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const runner of this.list()) this.#launch(runner);
    if (!signal.aborted)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    await Promise.all(this.#tasks);
  }

  #launch(runner: CameraRunner): void {
    if (!this.#signal) return;
    const task = runner
      .run(this.#signal)
      .catch((thrown: unknown) => {
        if (!isAbort(thrown)) this.#deps.log.error({ camera: runner.id, err: thrown }, 'a camera ended');
      })
      .finally(() => this.#tasks.delete(task));
    this.#tasks.add(task);
  }

  #observed(runner: CameraRunner, observed: Observed): void {
    const { observation, burst } = observed;
    const { status } = observation;
    const { link, clock } = this.#deps;
    this.#deps.onObservation?.(observation);
    // Of a frame that the model has seen: the last one, if all of them came through.
    if (
      burst?.lastFrame &&
      status === 'measured' &&
      isUsed(burst.results.at(-1)) &&
      burst.failures.length === 0
    )
      void this.#deps.pictures?.keep(runner.settings, observation.id, burst.lastFrame.bytes);
    // With a link it goes out now; without one it was not published yet.
    const published_at = link.connected ? isoTime(clock.nowMs()) : null;
    this.#setState(runner.id, 'latest', { ...observation, published_at });
    this.#deps.log.info(observationLine(observed), 'observation');
    const labeller = this.#labellers.get(runner.id);
    if (labeller && burst && status === 'measured') this.#selfLabel(runner.id, labeller, observed);
  }

  /** A simulated camera knows its truth, and plays the person who reads it; the estimate came before the label. */
  #selfLabel(camera: string, labeller: SelfLabeller, { observation, burst, estimate }: Observed): void {
    const { store, log } = this.#deps;
    const heightM = labeller.label(
      estimate,
      (burst?.frames ?? []).map((frame) => frame.truth),
    );
    const { calibrated } = labeller.score();
    if (calibrated.n > 0 && calibrated.maeM !== null && calibrated.medianMaeM !== null) {
      log.info(
        {
          camera,
          mean_error_m: Number(calibrated.maeM.toFixed(2)),
          median_error_m: Number(calibrated.medianMaeM.toFixed(2)),
          n: calibrated.n,
        },
        'calibration against the simulated truth',
      );
    }
    if (heightM === null) return;
    store.labels.add({ observationId: observation.id, heightM, observer: 'simulation', note: null });
    this.#calibrations.refitLater(camera);
  }
}
