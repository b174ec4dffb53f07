// Longer than 300 lines because the parts of one class keep its invariants.
import { closeAtEnd } from '../base/closing.ts';
import { withAbort } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { settleAll } from '../base/settle-all.ts';
import {
  calibrationFor,
  estimateHeight,
  UNCALIBRATED,
  type SiteCalibration,
} from '../calibration/site-calibration.ts';
import type { HeightEstimate } from '../calibration/types.ts';
import { shrinkView } from '../calibration/view/edge-field.ts';
import type { Camera, Frame } from '../camera/camera.ts';
import { isSameSource } from '../config/change.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { CalibrationSummary, Observation } from '../contract/observation.ts';
import type { CameraState } from '../contract/states.ts';
import type { CameraHealthReport } from '../health/types.ts';
import type { Schedule, Slot } from '../schedule/types.ts';
import type { BurstFeatures, ObservationDraft, RaiseEvent } from '../store/types.ts';
import type { ModelLease } from '../vision/protocol.ts';
import { burstView, meanEmbedding, observeBurst, usedResults, type Burst } from './burst.ts';
import { CameraHealth, stateEvent, stateMessage } from './camera-health.ts';
import { FrozenDetector } from './frozen-detector.ts';
import type { ClipRunner } from './clips/clip-runner.ts';
import { ObservationQueue } from './observation-queue.ts';
import { buildRecord, type RecordContext } from './record.ts';
import { LEAVE_WITHIN_MS, StepDeadline } from './step-deadline.ts';

export interface CameraRunnerOptions {
  readonly settings: CameraSettings;
  /** Values of the agent that each record carries. */
  readonly context: () => Omit<RecordContext, 'camera'>;
  /** The runner of the same camera that this one replaces. This one waits for its end and takes over its state. */
  readonly before?: CameraRunner;
}

export interface CameraRunnerDeps {
  readonly camera: Camera;
  readonly schedule: Schedule;
  /** Null and by default: the camera takes no clips. */
  readonly clips?: ClipRunner | null;
  /** One model for all frames of an observation. */
  readonly lease: () => ModelLease;
  /** Null until a model with an embedding runs. */
  readonly calibration: () => SiteCalibration | null;
  readonly append: (draft: ObservationDraft, memory: BurstFeatures) => Observation;
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  /** Called when the record is stored. */
  readonly onObserved: (observed: Observed) => void;
  readonly onState: (state: CameraState) => void;
}

/** One observation and what it was made from. */
export interface Observed {
  readonly observation: Observation;
  /** Null for a skipped slot. */
  readonly burst: Burst | null;
  readonly estimate: HeightEstimate;
}

/** Derived from real frames 75 to 100 s apart, of which no two were the same; shorter gaps were not measured. */
const FROZEN = { bursts: 3, minSpanMs: 75_000 };

/**
 * Runs one camera: slot, burst, vision, record, state.
 *
 * INVARIANTS
 * - Observations of a camera run one after another; those of the schedule go before captures on request.
 * - Each slot leaves exactly one record, unless the store fails.
 * - A stored observation is never reported as lost, whatever fails after it was stored.
 * - All frames of an observation are analysed by one model.
 */
export class CameraRunner {
  #settings: CameraSettings;
  readonly #context: CameraRunnerOptions['context'];
  readonly #deps: CameraRunnerDeps;
  readonly #log: Log;
  readonly #health: CameraHealth;
  readonly #frozen: FrozenDetector;
  readonly #step: StepDeadline;
  /** Aborts captures on request: the camera is about to close. */
  readonly #closing = new AbortController();
  /** Ends the schedule; the current observation goes on. */
  readonly #leaving = new AbortController();
  /** Aborts all observations after `leave` ran out of time. */
  readonly #abandoning = new AbortController();
  readonly #queue: ObservationQueue;
  /** Settles when the runner that this one replaces has ended. */
  readonly #mayStart: Promise<void>;
  #ended: Promise<void> = Promise.resolve();
  #latest: Observation | null = null;
  #latestFrame: { readonly frame: Frame; readonly observationId: string } | null = null;

  constructor(options: CameraRunnerOptions, deps: CameraRunnerDeps) {
    const { settings, before } = options;
    this.#settings = settings;
    this.#context = options.context;
    this.#deps = deps;
    this.#log = deps.log.child({ camera: settings.id });
    this.#step = new StepDeadline(deps);
    const sameSourceBefore = before && isSameSource(before.settings, settings) ? before : null;
    this.#health = sameSourceBefore
      ? sameSourceBefore.#health
      : new CameraHealth({ camera: settings.id }, { clock: deps.clock });
    this.#frozen = sameSourceBefore ? sameSourceBefore.#frozen : new FrozenDetector(FROZEN);
    const copyLatest = (): void => {
      this.#latest = before?.latest ?? null;
      // A frame of another source would be shown with the masks of this one.
      this.#latestFrame = sameSourceBefore ? sameSourceBefore.#latestFrame : null;
    };
    copyLatest();
    // A camera takes one client at a time, so the first observation waits for the end of the former runner.
    this.#mayStart = before ? before.#ended.then(copyLatest) : Promise.resolve();
    const failure = (): AgentError | null => this.failure;
    this.#queue = new ObservationQueue({ after: this.#mayStart }, { ...deps, failure });
  }

  /** Observes slot after slot until the signal aborts or `leave` is called; then closes the camera. */
  run(signal: AbortSignal): Promise<void> {
    const running = this.#run(AbortSignal.any([signal, this.#abandoning.signal]));
    this.#ended = running.catch(() => undefined);
    return running;
  }

  /** Takes no further slot. What still runs or waits after `withinMs` is abandoned; captures then reject with `reason`. */
  leave(withinMs: number, reason: AgentError): void {
    this.#leaving.abort(reason);
    const ended = new AbortController();
    const abandon = (): void => this.#abandoning.abort();
    void this.#deps.clock.sleep(withinMs, ended.signal).then(abandon, () => undefined);
    void this.#ended.then(() => ended.abort());
  }

  /** Uses changed settings from the next observation on. Source and schedule must be the same. */
  adopt(settings: CameraSettings): void {
    this.#settings = settings;
  }

  get settings(): CameraSettings {
    return this.#settings;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const leaving = this.#leaving.signal;
    let clips: Promise<void> | undefined;
    await using _camera = closeAtEnd(() => {
      // Before the camera closes: a capture that runs is abandoned, not recorded as a camera failure.
      const stopping = new AgentError('vision_closed', 'the agent is stopping');
      this.#closing.abort(leaving.aborted ? leaving.reason : stopping);
      if (signal.aborted || leaving.aborted) this.#step.end();
      return settleAll([this.#deps.camera.close(), clips]);
    });
    try {
      this.#step.expectWithin(LEAVE_WITHIN_MS);
      await this.#mayStart;
      // A clip is too long to be waited for.
      clips = this.clips?.run(AbortSignal.any([signal, leaving, this.#closing.signal]));
      for await (const slot of this.schedule.slots(AbortSignal.any([signal, leaving]))) {
        try {
          await this.#queue.runSlot(slot, (noRetry) => this.#observe(slot, signal, noRetry));
        } catch (thrown) {
          signal.throwIfAborted();
          // The store or a part of the observation failed. The camera goes on with the next slot.
          this.#log.error({ err: thrown }, 'observation lost');
        }
      }
      // Captures on request may still run or wait.
      await withAbort(this.#queue.drain(), signal);
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    }
  }

  /** False while so many captures on request wait that `capture` would refuse another one. */
  get hasRoomForCapture(): boolean {
    return this.#queue.hasRoomForRequest;
  }

  /**
   * Makes one observation now. Rejects with `capture_busy` when too many captures wait or the schedule leaves no time, as
   * the store does, when the signal aborts, with the reason of `leave`, and with `vision_closed` at a stop.
   */
  async capture(signal: AbortSignal): Promise<Observation> {
    const either = AbortSignal.any([signal, this.#closing.signal]);
    return await this.#queue.runRequest(() => {
      either.throwIfAborted();
      const now = { dueAtMs: this.#deps.clock.nowMs(), skipped: null };
      // A person waits: the first failure of the camera is the answer.
      return this.#observe(now, either, AbortSignal.abort());
    }, either);
  }

  async #observe(slot: Slot, signal: AbortSignal, noRetry: AbortSignal): Promise<Observation> {
    const { camera, clock } = this.#deps;
    const settings = this.#settings;
    const dueMonoMs = clock.monoMs();
    using _step = { [Symbol.dispose]: () => this.#step.endObservation() };
    const calibrationBefore = this.#deps.calibration();
    using lease = this.#deps.lease();
    const vision = this.#step.watch(settings, lease);
    const burst = slot.skipped
      ? null
      : await observeBurst(settings, { camera, vision, clock }, signal, noRetry);
    const used = burst ? usedResults(burst) : [];
    const view = burstView(used);
    const isFrozen = burst ? this.#frozen.check(burst) : null;
    const embedding = isFrozen === true ? null : meanEmbedding(used);
    const calibration = calibrationFor(lease, [this.#deps.calibration(), calibrationBefore]);
    const estimate = estimateHeight(calibration, embedding, view);
    const isMoved = estimate.summary.view === 'unknown' ? null : estimate.summary.view === 'changed';
    const draft = buildRecord(
      { ...this.#context(), model: lease.model, provider: lease.provider, camera: this.#settings.id },
      {
        dueAtMs: slot.dueAtMs,
        dueMonoMs,
        framesRequested: settings.burst.frames,
        burst,
        skipped: slot.skipped,
        covers: slot.covers ?? 1,
        frozen: isFrozen,
        moved: embedding === null ? null : isMoved,
        estimate,
      },
    );
    const observation = this.#deps.append(draft, {
      embedding,
      embeddingDigest: embedding && lease.embeddingDigest,
      view: embedding && view && shrinkView(view),
    });
    this.#latest = observation;
    if (burst?.lastFrame) this.#latestFrame = { frame: burst.lastFrame, observationId: observation.id };
    this.#afterStored(observation, () => burst && this.#updateState(burst, observation));
    this.#afterStored(observation, () => {
      const event = embedding && this.#health.reportView(observation.calibration);
      if (event) this.#deps.raise(event);
    });
    this.#afterStored(observation, () => this.#deps.onObserved({ observation, burst, estimate }));
    return observation;
  }

  /** The record is stored and will be published: a failure of what follows must not look like a lost observation. */
  #afterStored({ id, seq }: Observation, work: () => void): void {
    try {
      work();
    } catch (thrown) {
      this.#log.error({ err: thrown, id, seq }, 'observation stored, but a later step failed');
    }
  }

  #updateState(burst: Burst, observation: Observation): void {
    const transition = this.#health.update(burst, observation.reasons);
    if (transition === null) return;
    this.#deps.onState(this.state());
    if (transition.from !== 'starting' || transition.to !== 'up') this.#deps.raise(stateEvent(transition));
  }

  get id(): string {
    return this.#settings.id;
  }

  /** Monotonic time by which this camera must make its next step, ms; null while none is due. */
  get stepDueMonoMs(): number | null {
    return this.#step.dueMonoMs;
  }

  get clips(): ClipRunner | null {
    return this.#deps.clips ?? null;
  }

  /** The open camera: captures of others share its connection. */
  get camera(): Camera {
    return this.#deps.camera;
  }

  get schedule(): Schedule {
    return this.#deps.schedule;
  }

  get latest(): Observation | null {
    return this.#latest;
  }

  /** Replaces the latest record by the same one with corrected times. */
  replaceLatest(corrected: Observation): void {
    if (this.#latest?.id === corrected.id) this.#latest = corrected;
  }

  /** Unmasked, as the camera delivered it: only for the vision process. */
  get latestFrame(): Frame | null {
    return this.#latestFrame?.frame ?? null;
  }

  /** The observation of `latestFrame`: not the latest one when that has no frame. */
  get latestFrameObservationId(): string | null {
    return this.#latestFrame?.observationId ?? null;
  }

  calibrationSummary(): CalibrationSummary {
    return this.#deps.calibration()?.summary() ?? UNCALIBRATED;
  }

  state(): CameraState {
    return stateMessage(this.#health.state());
  }

  /** Why the newest burst is not complete; null when it is. */
  get failure(): AgentError | null {
    return this.#health.failure;
  }

  healthLine(): CameraHealthReport {
    const { state, lastFrameAgeS, failures1h, isMoved } = this.#health.state();
    const nextRunAtMs = this.schedule.nextRunAtMs();
    return { id: this.id, state, lastFrameAgeS, failures1h, isMoved, nextRunAtMs };
  }
}
