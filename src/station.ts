import type { Camera, Frame } from './camera/camera.ts';
import { FrozenDetector } from './camera/frozen.ts';
import { CameraHealth, type CameraTransition } from './camera/state.ts';
import type { SiteCalibration } from './calibration/calibration.ts';
import type { HeightEstimate } from './calibration/types.ts';
import { isoTime, type Clock } from './clock.ts';
import type { Camera as CameraSettings } from './config/schema.ts';
import type { CalibrationSummary, Observation } from './contract/observation.ts';
import type { CameraState } from './contract/states.ts';
import { AgentError, isAbort } from './errors.ts';
import { estimateHeight, UNCALIBRATED } from './estimate.ts';
import type { CameraHealth as HealthLine } from './health/types.ts';
import type { Log } from './log.ts';
import { burstView, meanEmbedding, observeBurst, reasonOf, usedResults, type Burst } from './observe.ts';
import { buildRecord, type RecordContext } from './record.ts';
import type { Schedule, Slot } from './schedule/types.ts';
import type { BurstMemory, ObservationDraft, RaiseEvent } from './store/types.ts';
import type { VisionClient } from './vision/protocol.ts';

export interface StationOptions {
  readonly settings: CameraSettings;
  /** What each record carries, as it is at that moment. */
  readonly context: () => Omit<RecordContext, 'camera'>;
}

export interface StationDeps {
  readonly camera: Camera;
  readonly schedule: Schedule;
  readonly vision: VisionClient;
  /** Null until a model with an embedding serves. */
  readonly calibration: () => SiteCalibration | null;
  readonly append: (draft: ObservationDraft, memory: BurstMemory) => Observation;
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
export class Station {
  readonly settings: CameraSettings;
  readonly #context: StationOptions['context'];
  readonly #deps: StationDeps;
  readonly #log: Log;
  readonly #health: CameraHealth;
  readonly #frozen = new FrozenDetector(FROZEN);
  readonly #closing = new AbortController();
  #turn: Promise<unknown> = Promise.resolve();
  #latest: Observation | null = null;
  #latestFrame: Frame | null = null;

  constructor(options: StationOptions, deps: StationDeps) {
    this.settings = options.settings;
    this.#context = options.context;
    this.#deps = deps;
    this.#log = deps.log.child({ camera: this.settings.id });
    this.#health = new CameraHealth({ camera: this.settings.id }, { clock: deps.clock });
  }

  /** Observes slot after slot until the signal aborts; then closes the camera. */
  async run(signal: AbortSignal): Promise<void> {
    const { schedule, camera } = this.#deps;
    try {
      for await (const slot of schedule.slots(signal)) {
        try {
          await this.#inTurn(() => this.#observe(slot, signal));
        } catch (thrown) {
          if (isAbort(thrown)) throw thrown;
          // The record could not be stored: the one thing that a slot must survive without leaving a record.
          this.#log.error({ err: thrown }, 'observation lost');
        }
      }
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
    const { camera, vision, clock } = this.#deps;
    const dueMonoMs = clock.monoMs();
    const burst = slot.skipped ? null : await observeBurst(this.settings, { camera, vision, clock }, signal);
    const used = burst ? usedResults(burst) : [];
    const view = burstView(used);
    const frozen = burst ? this.#checkFrozen(burst) : null;
    const embedding = frozen === true ? null : meanEmbedding(used);
    const calibration = this.#deps.calibration();
    const estimate = estimateHeight(calibration, embedding, view);
    const moved = estimate.summary.view === 'unknown' ? null : estimate.summary.view === 'changed';
    const draft = buildRecord(
      { ...this.#context(), camera: this.settings.id },
      {
        dueAtMs: slot.dueAtMs,
        dueMonoMs,
        framesRequested: this.settings.burst.frames,
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
      embeddingDigest: embedding && calibration ? calibration.embeddingDigest : null,
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
      message: `Camera ${this.settings.id} is ${to}.`,
      context: { camera: this.settings.id, state: to, before: from, reason },
    });
  }

  #report(burst: Burst, { reasons }: Observation): CameraTransition | null {
    const last = burst.frames.at(-1);
    if (!last) return burst.cameraFailure && this.#health.failed(reasonOf(burst.cameraFailure));
    if (reasons.includes('frozen')) return this.#health.frozen(last.monoMs);
    if (reasons.includes('obstructed')) return this.#health.obstructed(last.monoMs);
    return this.#health.captured(last.monoMs);
  }

  get id(): string {
    return this.settings.id;
  }

  get schedule(): Schedule {
    return this.#deps.schedule;
  }

  get latest(): Observation | null {
    return this.#latest;
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
      camera: this.settings.id,
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
