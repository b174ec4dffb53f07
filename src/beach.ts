import { openCamera } from './camera/open.ts';
import type { SiteCalibration } from './calibration/calibration.ts';
import { SelfLabeller } from './calibration/self-label.ts';
import { isoTime, type Clock } from './clock.ts';
import { sameConnection, sameSource } from './config/camera-change.ts';
import type { Camera as CameraSettings } from './config/schema.ts';
import type { CalibrationSummary, Observation } from './contract/observation.ts';
import { isAbort } from './errors.ts';
import type { Log } from './log.ts';
import type { Bundle } from './model/manifest.ts';
import type { Link } from './mqtt/types.ts';
import { observationLine } from './observation-line.ts';
import { isUsed } from './observe.ts';
import type { Pictures } from './pictures.ts';
import type { RecordContext } from './record.ts';
import { createSchedule } from './schedule/schedule.ts';
import type { Serving } from './serving.ts';
import { SiteCalibrations } from './site-calibrations.ts';
import { Station, type Observed } from './station.ts';
import type { Store } from './store/store.ts';
import type { RaiseEvent } from './store/types.ts';

export interface BeachOptions {
  readonly cameras: readonly CameraSettings[];
  readonly device: string;
  readonly context: () => Omit<RecordContext, 'camera'>;
}

export interface BeachDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  readonly raise: RaiseEvent;
  readonly serving: Serving;
  readonly link: Link;
  /** After the record is on the disk. */
  readonly onObservation?: (observation: Observation) => void;
  /** Keeps a picture of what was observed, for models that come later. */
  readonly pictures?: Pictures;
  /** Ends what is being learned. */
  readonly signal: AbortSignal;
}

/** People read a wave to about this. */
const READING_NOISE_M = 0.05;
const SELF_LABELS_MAX = 60;
/** What a camera that is changed or taken away may take to finish. */
const LEAVE_WITHIN_MS = 15_000;

/** All cameras of the device with what was learned of each. */
export class Beach {
  readonly stations = new Map<string, Station>();
  readonly #options: BeachOptions;
  readonly #deps: BeachDeps;
  readonly #calibrations: SiteCalibrations;
  readonly #labellers = new Map<string, SelfLabeller>();
  /** Of the cameras that run, and of those that are about to end. */
  readonly #tasks = new Set<Promise<void>>();
  #signal: AbortSignal | null = null;

  constructor(options: BeachOptions, deps: BeachDeps) {
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
    for (const station of this.list()) if (!wanted.has(station.id)) this.#remove(station);
    for (const settings of cameras) {
      const station = this.stations.get(settings.id);
      if (!station) await this.#add(settings);
      else if (sameConnection(station.settings, settings)) station.adopt(settings);
      else await this.#replace(station, settings);
    }
  }

  async #add(settings: CameraSettings): Promise<void> {
    const { store, link } = this.#deps;
    const { id } = settings;
    const station = await this.#station(settings, null);
    this.stations.set(id, station);
    await this.#calibrations.open(id);
    this.#startLabelling(settings);
    link.setState(`camera/${id}/state`, station.state());
    const newest = store.observations.newest(id);
    if (newest) link.setState(`camera/${id}/latest`, newest);
    this.#launch(station);
  }

  async #replace(before: Station, settings: CameraSettings): Promise<void> {
    const station = await this.#station(settings, before);
    before.leave(LEAVE_WITHIN_MS);
    this.stations.set(settings.id, station);
    if (!sameSource(before.settings, settings)) {
      this.#startLabelling(settings);
      this.#deps.link.setState(`camera/${settings.id}/state`, station.state());
    }
    this.#launch(station);
  }

  #remove(station: Station): void {
    const { id } = station;
    station.leave(LEAVE_WITHIN_MS);
    this.stations.delete(id);
    this.#calibrations.forget(id);
    this.#labellers.delete(id);
    for (const topic of ['state', 'latest']) this.#deps.link.setState(`camera/${id}/${topic}`, null);
  }

  async #station(settings: CameraSettings, before: Station | null): Promise<Station> {
    const { clock, log, store, raise, serving } = this.#deps;
    const { id, schedule, location } = settings;
    const camera = await openCamera(settings, { clock, log });
    const station: Station = new Station(
      { settings, context: this.#options.context, ...(before ? { before } : {}) },
      {
        camera,
        schedule: createSchedule({ schedule, location, seedId: `${this.#options.device}/${id}` }, { clock }),
        vision: serving,
        hold: () => serving.hold(),
        calibration: () => this.calibrationOf(id),
        append: (draft, memory) => store.append(draft, memory),
        clock,
        log,
        raise,
        onObserved: (observed) => this.#observed(station, observed),
        onState: (state) => this.#setState(id, 'state', state),
      },
    );
    return station;
  }

  #startLabelling({ id, kind, simulation }: CameraSettings): void {
    this.#labellers.delete(id);
    if (kind !== 'simulated' || !simulation.selfLabel) return;
    const maxLabels = SELF_LABELS_MAX - this.#deps.store.labels.list(id).length;
    this.#labellers.set(id, new SelfLabeller({ noiseM: READING_NOISE_M, seed: simulation.seed, maxLabels }));
  }

  /** A camera that was taken away may still finish an observation; its topics stay cleared. */
  #setState(camera: string, topic: 'state' | 'latest', payload: unknown): void {
    if (this.stations.has(camera)) this.#deps.link.setState(`camera/${camera}/${topic}`, payload);
  }

  list(): readonly Station[] {
    return [...this.stations.values()];
  }

  /** The times of stored records were mended: tells the newest of each camera anew. */
  retell(): void {
    const { link, store } = this.#deps;
    for (const station of this.stations.values()) {
      const newest = store.observations.newest(station.id);
      if (!newest?.warnings.includes('time_corrected')) continue;
      station.replaceLatest(newest);
      link.setState(`camera/${station.id}/latest`, newest);
    }
  }

  /** Another model is about to serve: learns for it, so that not one observation goes without. */
  prepare(bundle: Bundle): Promise<void> {
    return this.#calibrations.prepare(this.stations.keys(), bundle);
  }

  /** Another model serves. */
  relearn(): void {
    this.#calibrations.relearn(this.stations.keys());
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
    const station = this.stations.get(camera);
    const { latest, latestFrame } = station ?? {};
    if (!station || !latest || !latestFrame || latest.status !== 'measured') return;
    if (this.#deps.store.labels.list(camera).some((label) => label.observationId === latest.id))
      void this.#deps.pictures?.keep(station.settings, latest.id, latestFrame.bytes, true);
  }

  /** Runs every camera, also those that come later. Resolves when the signal has ended them all. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const station of this.list()) this.#launch(station);
    if (!signal.aborted)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    await Promise.all(this.#tasks);
  }

  #launch(station: Station): void {
    if (!this.#signal) return;
    const task = station
      .run(this.#signal)
      .catch((thrown: unknown) => {
        if (!isAbort(thrown)) this.#deps.log.error({ camera: station.id, err: thrown }, 'a camera ended');
      })
      .finally(() => this.#tasks.delete(task));
    this.#tasks.add(task);
  }

  #observed(station: Station, observed: Observed): void {
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
      void this.#deps.pictures?.keep(station.settings, observation.id, burst.lastFrame.bytes);
    // With a link it goes out now; without one it was not published yet.
    const published_at = link.connected ? isoTime(clock.nowMs()) : null;
    this.#setState(station.id, 'latest', { ...observation, published_at });
    this.#deps.log.info(observationLine(observed), 'observation');
    const labeller = this.#labellers.get(station.id);
    if (labeller && burst && status === 'measured') this.#selfLabel(station.id, labeller, observed);
  }

  /** A simulated camera knows its truth, and plays the person who reads it; the estimate came before the label. */
  #selfLabel(camera: string, labeller: SelfLabeller, { observation, burst, estimate }: Observed): void {
    const { store, log } = this.#deps;
    const heightM = labeller.read(
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
