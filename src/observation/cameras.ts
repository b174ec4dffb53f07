// Longer than 300 lines because the parts of one class keep its invariants.
import { untilAborted } from '../base/abort.ts';
import { isoTime, type Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { SelfLabeller } from '../calibration/self-labeller.ts';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { Camera } from '../camera/camera.ts';
import type { createCameraOpener } from '../camera/open.ts';
import { isSameConnection, isSameSource } from '../config/change.ts';
import type { Configuration } from '../config/configuration.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { CalibrationSummary, Observation } from '../contract/observation.ts';
import type { CaptureSlowdown } from '../health/types.ts';
import type { Bundle } from '../model/manifest.ts';
import type { Link } from '../mqtt/types.ts';
import type { Schedule } from '../schedule/types.ts';
import type { ModelServer } from '../serving/model-server.ts';
import type { BurstFeatures, Labels, ObservationDraft, RaiseEvent } from '../store/types.ts';
import { isUsed } from './burst.ts';
import { CameraRunner, type Observed } from './camera-runner.ts';
import { ClipRunner, type ClipRunnerDeps } from './clips/clip-runner.ts';
import type { LabelledImages } from './labelled-images.ts';
import { logFields } from './log-fields.ts';
import type { RecordContext } from './record.ts';
import type { SeaStateReports } from './sea-state-reports.ts';
import type { SiteCalibrations } from './site-calibrations.ts';
import { LEAVE_WITHIN_MS } from './step-deadline.ts';

export interface CameraSetOptions {
  readonly settings: { readonly cameras: readonly CameraSettings[] };
  readonly identity: { readonly site: string; readonly device: string; readonly bootId: string };
}

export interface CameraSetDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly store: {
    append(draft: ObservationDraft, memory: BurstFeatures): Observation;
    readonly observations: { newest(camera: string): Observation | null };
    readonly labels: Pick<Labels, 'add' | 'list'>;
  };
  readonly server: Pick<ModelServer, 'lease' | 'model' | 'report'>;
  readonly link: Pick<Link, 'connected' | 'setState'>;
  readonly time: { wire(): RecordContext['clock'] };
  readonly calibrations: SiteCalibrations;
  readonly images: Pick<LabelledImages, 'keep'>;
  readonly seaStates: SeaStateReports;
  /** Measures and draws clips. */
  readonly seaStateProcess: ClipRunnerDeps['process'];
  readonly figureFiles: ClipRunnerDeps['files'];
  readonly waterLevel: ClipRunnerDeps['waterLevel'];
  readonly openCamera: ReturnType<typeof createCameraOpener>;
  readonly configuration: Pick<Configuration, 'rereadCamera'>;
  readonly createSchedule: (
    options: Pick<CameraSettings, 'schedule' | 'location'> & { readonly seedId: string },
    deps: { readonly clock: Clock; readonly slowdown: () => CaptureSlowdown },
  ) => Schedule;
  readonly board: { readonly slowdown: () => CaptureSlowdown };
  /** Called when the record is stored. */
  readonly onObservation: (observation: Observation) => void;
}

/** Standard deviation of the error that a simulated person makes when reading a wave height. */
const READING_NOISE_M = 0.05;
const MAX_SELF_LABELS = 60;

/** All cameras of the device: adds, changes and removes them while they run. */
export class CameraSet {
  readonly runners = new Map<string, CameraRunner>();
  readonly #options: CameraSetOptions;
  readonly #deps: CameraSetDeps;
  readonly #labellers = new Map<string, SelfLabeller>();
  /** The running task of each runner, including runners that were replaced or removed and have not ended yet. */
  readonly #tasks = new Set<Promise<void>>();
  #signal: AbortSignal | null = null;
  #hasStopped = false;

  constructor(options: CameraSetOptions, deps: CameraSetDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Opens every camera and restores its calibration. Connects to no camera, and waits for no fit. */
  async open(): Promise<void> {
    for (const settings of this.#options.settings.cameras) await this.#add(settings);
  }

  /**
   * Applies changed settings while cameras run. An unchanged camera misses no slot; a changed one finishes its observation
   * first. Rejects with `config_invalid` as `openCamera` does.
   */
  async update(cameras: readonly CameraSettings[]): Promise<void> {
    const wanted = new Set(cameras.map(({ id }) => id));
    for (const runner of this.list()) if (!wanted.has(runner.id)) this.#remove(runner);
    for (const settings of cameras) {
      const runner = this.runners.get(settings.id);
      if (!runner) await this.#add(settings);
      else if (isSameConnection(runner.settings, settings)) runner.adopt(settings);
      else await this.#replace(runner, settings);
    }
  }

  /** What a broker must retain when the agent stops or leaves it, by topic: no camera is observed for its readers. */
  stoppedStates(): readonly (readonly [string, object])[] {
    const stopped = { state: 'down', reason: 'agent_stopped', since: isoTime(this.#deps.clock.nowMs()) };
    return this.list().map((runner) => [`camera/${runner.id}/state`, { ...runner.state(), ...stopped }]);
  }

  publishStopped(): void {
    for (const [topic, state] of this.stoppedStates()) this.#deps.link.setState(topic, state);
    this.#hasStopped = true;
  }

  async #add(settings: CameraSettings): Promise<void> {
    const { store, link, calibrations } = this.#deps;
    const { id } = settings;
    const runner = await this.#createRunner(settings, null);
    this.runners.set(id, runner);
    await calibrations.open(id);
    this.#startSelfLabelling(settings);
    link.setState(`camera/${id}/state`, runner.state());
    this.#deps.seaStates.open(settings);
    const newest = store.observations.newest(id);
    if (newest) link.setState(`camera/${id}/latest`, newest);
    this.#launch(runner);
  }

  async #replace(before: CameraRunner, settings: CameraSettings): Promise<void> {
    const runner = await this.#createRunner(settings, before);
    const reason = new AgentError('capture_busy', 'the camera was changed', { hint: 'try again' });
    before.leave(LEAVE_WITHIN_MS, reason);
    this.runners.set(settings.id, runner);
    const isNewSource = !isSameSource(before.settings, settings);
    this.#deps.seaStates.open(settings, isNewSource);
    if (isNewSource) {
      this.#startSelfLabelling(settings);
      this.#deps.link.setState(`camera/${settings.id}/state`, runner.state());
    }
    this.#launch(runner);
  }

  #remove(runner: CameraRunner): void {
    const { id } = runner;
    runner.leave(LEAVE_WITHIN_MS, new AgentError('camera_unknown', `the camera ${id} was removed`));
    this.runners.delete(id);
    this.#deps.calibrations.forget(id);
    this.#deps.seaStates.close(id);
    this.#labellers.delete(id);
    for (const topic of ['state', 'latest']) this.#deps.link.setState(`camera/${id}/${topic}`, null);
  }

  async #createRunner(settings: CameraSettings, before: CameraRunner | null): Promise<CameraRunner> {
    const { clock, log, store, raise, server, board } = this.#deps;
    const { configuration, openCamera, createSchedule } = this.#deps;
    const { id, schedule, location } = settings;
    const rereadSettings = (): CameraSettings | null => configuration.rereadCamera(id);
    const seedId = `${this.#options.identity.device}/${id}`;
    const camera = await openCamera(settings, { clock, log, rereadSettings });
    const runner: CameraRunner = new CameraRunner(
      { settings, context: () => this.#recordContext(settings), ...(before ? { before } : {}) },
      {
        camera,
        schedule: createSchedule({ schedule, location, seedId }, { clock, slowdown: board.slowdown }),
        clips: this.#createClips(settings, camera, () => runner.settings),
        lease: () => server.lease(),
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

  #createClips(settings: CameraSettings, camera: Camera, present: () => CameraSettings): ClipRunner | null {
    const { id, location, seaState } = settings;
    if (!seaState) return null;
    const { clock, log, server, board, seaStates, seaStateProcess, figureFiles, waterLevel } = this.#deps;
    const seedId = `${this.#options.identity.device}/${id}/clips`;
    return new ClipRunner(
      {
        seaState,
        settings: present,
        context: () => ({ ...this.#recordContext(settings), camera: id }),
      },
      {
        ...{ camera, clock, log, process: seaStateProcess, files: figureFiles, waterLevel },
        schedule: this.#deps.createSchedule(
          { schedule: seaState.schedule, location, seedId },
          { clock, slowdown: board.slowdown },
        ),
        lease: () => server.lease(),
        add: (draft, truth) => seaStates.add(draft, truth),
      },
    );
  }

  #recordContext({ id, kind }: CameraSettings): Omit<RecordContext, 'camera'> {
    const { site, device, bootId } = this.#options.identity;
    const { server, time } = this.#deps;
    const provider = server.report?.provider ?? null;
    const seen = { period: this.#deps.seaStates.period(id), simulated: kind === 'simulated' };
    return { site, device, bootId, model: server.model, provider, clock: time.wire(), ...seen };
  }

  /** Does nothing for a removed camera that finishes its last observation: its topics stay cleared. */
  #setState(camera: string, topic: 'state' | 'latest', payload: unknown): void {
    const isLate = this.#hasStopped && topic === 'state';
    if (this.runners.has(camera) && !isLate) this.#deps.link.setState(`camera/${camera}/${topic}`, payload);
  }

  settingsOf(camera: string): CameraSettings | undefined {
    return this.runners.get(camera)?.settings;
  }

  list(): readonly CameraRunner[] {
    return [...this.runners.values()];
  }

  /** Publishes the newest record of each camera again after its times were corrected. */
  publishCorrected(): void {
    const { link, store } = this.#deps;
    for (const runner of this.runners.values()) {
      const newest = store.observations.newest(runner.id);
      if (!newest?.warnings.includes('time_corrected')) continue;
      runner.replaceLatest(newest);
      link.setState(`camera/${runner.id}/latest`, newest);
    }
  }

  /** Fits the calibrations for a bundle before it becomes the active one, so that its first observation has one. */
  prepare(bundle: Bundle): Promise<void> {
    return this.#deps.calibrations.prepare(this.runners.keys(), bundle);
  }

  /** Switches the calibrations to the bundle that has become the active one. */
  relearn(): void {
    this.#deps.calibrations.relearn(this.runners.keys());
  }

  /** Null when the model gives no embedding. */
  calibrationOf(camera: string): SiteCalibration | null {
    return this.#deps.calibrations.of(camera);
  }

  /** Fits the camera's calibration to its present labels. */
  async refit(camera: string): Promise<CalibrationSummary> {
    const summary = await this.#deps.calibrations.refit(camera);
    this.#keepLabelledImage(camera);
    return summary;
  }

  /**
   * Keeps the image of the newest observation when that observation gets a label. It may not be stored yet, because images
   * without a label are stored at a limited rate.
   */
  #keepLabelledImage(camera: string): void {
    const runner = this.runners.get(camera);
    const { latest, latestFrame } = runner ?? {};
    if (!runner || !latest || !latestFrame || latest.status !== 'measured') return;
    if (this.#deps.store.labels.list(camera).some((label) => label.observationId === latest.id))
      void this.#deps.images.keep(runner.settings, latest.id, latestFrame.bytes, true);
  }

  /** Runs every camera, also those that are added later. Resolves when the signal has ended all of them. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const runner of this.list()) this.#launch(runner);
    await untilAborted(signal);
    await Promise.all(this.#tasks);
  }

  #launch(runner: CameraRunner): void {
    const signal = this.#signal;
    if (!signal) return;
    const task = runner
      .run(signal)
      .catch((thrown: unknown) => {
        if (!signal.aborted) this.#deps.log.error({ camera: runner.id, err: thrown }, 'camera task ended');
      })
      .finally(() => this.#tasks.delete(task));
    this.#tasks.add(task);
  }

  #observed(runner: CameraRunner, observed: Observed): void {
    const { observation, burst } = observed;
    const { link, clock, log, images, onObservation } = this.#deps;
    onObservation(observation);
    const isMeasured = observation.status === 'measured';
    if (isMeasured && burst?.lastFrame && burst.failures.length === 0 && isUsed(burst.results.at(-1)))
      void images.keep(runner.settings, observation.id, burst.lastFrame.bytes);
    // Null without a connection: the record is published later.
    const published_at = link.connected ? isoTime(clock.nowMs()) : null;
    this.#setState(runner.id, 'latest', { ...observation, published_at });
    log.info(logFields(observed), 'observation');
    const labeller = this.#labellers.get(runner.id);
    if (labeller && burst && isMeasured) this.#selfLabel(runner.id, labeller, observed);
  }

  #startSelfLabelling({ id, kind, simulation }: CameraSettings): void {
    this.#labellers.delete(id);
    if (kind !== 'simulated' || !simulation.selfLabel) return;
    const maxLabels = MAX_SELF_LABELS - this.#deps.store.labels.list(id).length;
    this.#labellers.set(id, new SelfLabeller({ noiseM: READING_NOISE_M, seed: simulation.seed, maxLabels }));
  }

  /**
   * Labels an observation of a simulated camera with its true height. The estimate was made before this label, so the
   * comparison of both is fair.
   */
  #selfLabel(camera: string, labeller: SelfLabeller, { observation, burst, estimate }: Observed): void {
    const { store, log } = this.#deps;
    const truths = (burst?.frames ?? []).map((frame) => frame.truth);
    const heightM = labeller.label(estimate, truths);
    const { n, maeM, medianMaeM } = labeller.score().calibrated;
    if (n > 0 && maeM !== null && medianMaeM !== null) {
      const [mean_error_m, median_error_m] = [maeM, medianMaeM].map((m) => Number(m.toFixed(2)));
      log.info({ camera, mean_error_m, median_error_m, n }, 'calibration compared with the simulated truth');
    }
    if (heightM === null) return;
    // The simulated sea changes within minutes, so each label is a session of its own.
    const group = `simulation/${observation.id}`;
    store.labels.add({ observationId: observation.id, heightM, observer: 'simulation', note: null, group });
    this.refit(camera).catch((thrown: unknown) => {
      if (!this.#signal?.aborted) log.error({ camera, err: thrown }, 'calibration failed');
    });
  }
}
