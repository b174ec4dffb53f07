import type { Camera, Frame } from '../camera/camera.ts';
import { FrozenDetector } from './frozen-detector.ts';
import { CameraHealth, type CameraTransition } from './camera-health.ts';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { HeightEstimate } from '../calibration/types.ts';
import { isoTime, type Clock } from '../base/clock.ts';
import { sameSource } from '../config/camera-change.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { CalibrationSummary, Observation } from '../contract/observation.ts';
import type { CameraState } from '../contract/states.ts';
import { AgentError, isAbort } from '../base/errors.ts';
import { calibrationFor, estimateHeight, UNCALIBRATED } from './height-estimate.ts';
import type { CameraHealth as HealthLine } from '../health/types.ts';
import type { Log } from '../base/log.ts';
import { burstView, meanEmbedding, observeBurst, reasonOf, usedResults, type Burst } from './burst.ts';
import { buildRecord, type RecordContext } from './record.ts';
import type { Schedule, Slot } from '../schedule/types.ts';
import type { BurstFeatures, ObservationDraft, RaiseEvent } from '../store/types.ts';
import type { ModelLease } from '../vision/protocol.ts';

export interface CameraRunnerOptions {
  readonly settings: CameraSettings;
  /** What each record carries, as it is at that moment. */
  readonly context: () => Omit<RecordContext, 'camera'>;
  /** The runner of the same camera whose place it takes: it waits for that one to end, and goes on with what it knew. */
  readonly before?: CameraRunner;
}

export interface CameraRunnerDeps {
  readonly camera: Camera;
  readonly schedule: Schedule;
  /** One model for the frames of one observation, also when another one takes its place meanwhile. */
  readonly lease: () => ModelLease;
  /** Null until a model with an embedding serves. */
  readonly calibration: () => SiteCalibration | null;
  readonly append: (draft: ObservationDraft, memory: BurstFeatures) => Observation;
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  /** After the record is on the disk. */
  readonly onObserved: (observed: Observed) => void;
  readonly onState: (state: CameraState) => void;
}

/** One observation with what it was made of. */
export interface Observed {
  readonly observation: Observation;
  readonly burst: Burst | null;
  readonly estimate: HeightEstimate;
}

/** Measured on real frames 75 to 100 s apart, none of which is the same picture; nearer ones were not measured. */
const FROZEN = { bursts: 3, minSpanMs: 75_000 };

/** One camera's life: slot, burst, vision, record, state. Nothing overlaps: a capture on request waits its turn. */
export class CameraRunner {
  #settings: CameraSettings;
  readonly #context: CameraRunnerOptions['context'];
  readonly #deps: CameraRunnerDeps;
  readonly #log: Log;
  readonly #health: CameraHealth;
  readonly #frozen: FrozenDetector;
  readonly #closing = new AbortController();
  readonly #leaving = new AbortController();
  readonly #givingUp = new AbortController();
  #turn: Promise<unknown> = Promise.resolve();
  #ended: Promise<void> = Promise.resolve();
  #latest: Observation | null = null;
  #latestFrame: Frame | null = null;

  constructor(options: CameraRunnerOptions, deps: CameraRunnerDeps) {
    const { settings, before } = options;
    this.#settings = settings;
    this.#context = options.context;
    this.#deps = deps;
    this.#log = deps.log.child({ camera: settings.id });
    const known = before && sameSource(before.settings, settings) ? before : null;
    this.#health = known ? known.#health : new CameraHealth({ camera: settings.id }, { clock: deps.clock });
    this.#frozen = known ? known.#frozen : new FrozenDetector(FROZEN);
    if (before) this.#succeed(before);
  }

  /** A camera cannot be used twice at a time: the first turn comes when the former runner has ended. */
  #succeed(before: CameraRunner): void {
    const takeOver = (): void => {
      this.#latest = before.#latest;
      this.#latestFrame = before.#latestFrame;
    };
    takeOver();
    this.#turn = before.#ended.then(takeOver);
  }

  /**
   * Observes slot after slot until the signal aborts or `leave` is called; then closes the camera. Only a signal gives up
   * what is in hand.
   */
  run(signal: AbortSignal): Promise<void> {
    const running = this.#run(AbortSignal.any([signal, this.#givingUp.signal]));
    this.#ended = running.catch(() => undefined);
    return running;
  }

  /** Takes no further slot, finishes what is in hand, within this time, and ends. */
  leave(withinMs: number): void {
    this.#leaving.abort();
    const patience = new AbortController();
    const giveUp = (): void => this.#givingUp.abort();
    void this.#deps.clock.sleep(withinMs, patience.signal).then(giveUp, () => undefined);
    void this.#ended.then(() => patience.abort());
  }

  /** Other settings of the same source and schedule, from the next observation on. */
  adopt(settings: CameraSettings): void {
    this.#settings = settings;
  }

  get settings(): CameraSettings {
    return this.#settings;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { schedule, camera } = this.#deps;
    const leaving = this.#leaving.signal;
    try {
      await this.#turn;
      for await (const slot of schedule.slots(AbortSignal.any([signal, leaving]))) {
        try {
          await this.#inTurn(() => this.#observe(slot, signal));
        } catch (thrown) {
          if (isAbort(thrown)) throw thrown;
          // The record could not be stored: the one thing that a slot must survive without leaving a record.
          this.#log.error({ err: thrown }, 'observation lost');
        }
      }
      // A capture on request may still be in hand.
      if (!signal.aborted) await this.#turn;
    } catch (thrown) {
      if (!isAbort(thrown)) throw thrown;
    } finally {
      // First, so that a capture in hand is given up and not recorded as the camera's failure.
      this.#closing.abort();
      await camera.close();
    }
  }

  /** One observation now. Rejects as the store does, when the signal aborts, or with `vision_closed` at the end. */
  async capture(signal: AbortSignal): Promise<Observation> {
    const closing = this.#closing.signal;
    const either = AbortSignal.any([signal, closing]);
    try {
      return await this.#inTurn(() => {
        either.throwIfAborted();
        return this.#observe({ dueAtMs: this.#deps.clock.nowMs(), skipped: null }, either);
      });
    } catch (thrown) {
      if (!closing.aborted || !isAbort(thrown)) throw thrown;
      throw new AgentError('vision_closed', 'the agent is stopping', { cause: thrown });
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #observe(slot: Slot, signal: AbortSignal): Promise<Observation> {
    const { camera, clock } = this.#deps;
    const settings = this.#settings;
    const dueMonoMs = clock.monoMs();
    const before = this.#deps.calibration();
    using lease = this.#deps.lease();
    const burst = slot.skipped
      ? null
      : await observeBurst(settings, { camera, vision: lease, clock }, signal);
    const used = burst ? usedResults(burst) : [];
    const view = burstView(used);
    const frozen = burst ? this.#checkFrozen(burst) : null;
    const embedding = frozen === true ? null : meanEmbedding(used);
    const calibration = calibrationFor(lease, [this.#deps.calibration(), before]);
    const estimate = estimateHeight(calibration, embedding, view);
    const moved = estimate.summary.view === 'unknown' ? null : estimate.summary.view === 'changed';
    const draft = buildRecord(
      {
        ...this.#context(),
        model: lease.model,
        provider: lease.provider,
        camera: this.#settings.id,
      },
      {
        dueAtMs: slot.dueAtMs,
        dueMonoMs,
        framesRequested: settings.burst.frames,
        burst,
        skipped: slot.skipped,
        covers: slot.covers ?? 1,
        frozen,
        moved: embedding === null ? null : moved,
        estimate,
      },
    );
    const observation = this.#deps.append(draft, {
      embedding,
      embeddingDigest: embedding && lease.embeddingDigest,
      view: embedding && view,
    });
    this.#latest = observation;
    this.#latestFrame = burst?.lastFrame ?? this.#latestFrame;
    if (burst) this.#follow(burst, observation);
    this.#deps.onObserved({ observation, burst, estimate });
    return observation;
  }

  #checkFrozen(burst: Burst): boolean | null {
    const last = burst.results.at(-1);
    const frame = burst.frames.at(-1);
    if (!last || !frame) return null;
    const verdict = this.#frozen.add(last.view, frame.monoMs);
    return verdict === 'unknown' ? null : verdict === 'frozen';
  }

  /** The camera's state follows from what it gave, not from what the sea looked like. */
  #follow(burst: Burst, observation: Observation): void {
    const transition = this.#report(burst, observation);
    if (transition === null) return;
    const { from, to, reason } = transition;
    this.#deps.onState(this.state());
    if (from === 'starting' && to === 'up') return;
    this.#deps.raise({
      type: 'camera_state',
      severity: to === 'up' ? 'info' : 'warning',
      code: reason ?? to,
      message: `Camera ${this.#settings.id} is ${to}.`,
      context: { camera: this.#settings.id, state: to, before: from, reason },
    });
  }

  #report(burst: Burst, { reasons }: Observation): CameraTransition | null {
    const last = burst.frames.at(-1);
    if (!last) return burst.cameraFailure && this.#health.reportFailed(reasonOf(burst.cameraFailure));
    if (reasons.includes('frozen')) return this.#health.reportFrozen(last.monoMs);
    if (reasons.includes('obstructed')) return this.#health.reportObstructed(last.monoMs);
    return this.#health.reportCaptured(last.monoMs);
  }

  get id(): string {
    return this.#settings.id;
  }

  get schedule(): Schedule {
    return this.#deps.schedule;
  }

  get latest(): Observation | null {
    return this.#latest;
  }

  /** The same record after its time was mended. */
  replaceLatest(mended: Observation): void {
    if (this.#latest?.id === mended.id) this.#latest = mended;
  }

  /** As the camera gave it, not masked: only for the vision process. */
  get latestFrame(): Frame | null {
    return this.#latestFrame;
  }

  calibrationSummary(): CalibrationSummary {
    return this.#deps.calibration()?.summary() ?? UNCALIBRATED;
  }

  state(): CameraState {
    const { state, reason, sinceMs } = this.#health.state();
    return {
      schema: 'swellsight.camera_state/1',
      camera: this.#settings.id,
      state,
      reason,
      since: isoTime(sinceMs),
      last_frame_age_s: this.#lastFrameAgeS(),
    };
  }

  healthLine(): HealthLine {
    const { state, failures1h } = this.#health.state();
    return {
      id: this.id,
      state,
      lastFrameAgeS: this.#lastFrameAgeS(),
      failures1h,
      nextRunAtMs: this.#deps.schedule.nextRunAtMs(),
    };
  }

  #lastFrameAgeS(): number | null {
    const { lastFrameMonoMs } = this.#health.state();
    return lastFrameMonoMs === null ? null : Math.round(this.#deps.clock.monoMs() - lastFrameMonoMs) / 1000;
  }
}
