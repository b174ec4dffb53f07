import type { Clock } from '../base/clock.ts';
import { deadlineSignal } from '../base/deadline.ts';
import type { Log } from '../base/log.ts';
import type { Settings } from '../config/schema.ts';
import type { Health } from '../contract/health.ts';
import type { UpdateTrial } from '../contract/update-files.ts';
import { missingCriteria, type TrialFacts } from './criteria.ts';
import type { UpdateFiles } from './update-files.ts';

export interface TrialWatchDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly files: UpdateFiles;
  readonly settings: () => Settings['update'];
  readonly health: () => Promise<Health>;
  readonly isVisionReady: () => boolean;
  readonly isStoreWritable: () => boolean;
  readonly isConnected: () => boolean;
  readonly cameras: () => readonly { capture(signal: AbortSignal): Promise<unknown> }[];
}

/** When the schedule gives no observation for this time, the trial captures by itself. */
const CAPTURE_AFTER_MS = 30_000;
const CAPTURE_TIMEOUT_MS = 300_000;

/**
 * Judges the version that runs on trial, and confirms it to the updater when it meets all criteria. Without a
 * confirmation the updater returns to the former version at its deadline; this class never ends a trial by itself.
 */
export class TrialWatch {
  readonly #deps: TrialWatchDeps;
  readonly #startedMonoMs: number;
  #observations = 0;
  #lastCaptureMonoMs: number;
  #missing: readonly string[] = [];
  #confirmed: string | null = null;
  #capturing: Promise<void> | null = null;

  constructor(deps: TrialWatchDeps) {
    this.#deps = deps;
    this.#startedMonoMs = this.#lastCaptureMonoMs = deps.clock.monoMs();
  }

  /** What was missing at the last check. */
  get missing(): readonly string[] {
    return this.#missing;
  }

  /** Call this for each stored observation that has a frame. */
  noteObservation(): void {
    this.#observations += 1;
  }

  /** Checks the criteria once, and writes the confirmation when all are met. Returns true when `missing` changed. */
  async check(trial: UpdateTrial, signal: AbortSignal): Promise<boolean> {
    const { clock, files, health, settings, log } = this.#deps;
    const before = files.readBefore();
    const { degraded } = await health();
    const facts: TrialFacts = {
      elapsedMs: clock.monoMs() - this.#startedMonoMs,
      observations: this.#observations,
      visionReady: this.#deps.isVisionReady(),
      storeWritable: this.#deps.isStoreWritable(),
      connected: this.#deps.isConnected(),
      degraded,
    };
    const former = this.#missing;
    this.#missing = missingCriteria(facts, before?.id === trial.id ? before : null, settings().probation);
    const hasChanged = former.join() !== this.#missing.join();
    if (hasChanged) log.info({ version: trial.version, missing: this.#missing }, 'update on trial');
    if (this.#missing.includes('observations')) this.#captureIfIdle(signal);
    if (hasChanged) files.writeWaiting({ format: 1, trial: trial.id, missing: [...this.#missing] });
    if (this.#missing.length > 0 || this.#confirmed === trial.id) return hasChanged;
    files.writeConfirmation({ format: 1, trial: trial.id, digest: trial.digest });
    this.#confirmed = trial.id;
    log.info({ version: trial.version }, 'confirmed the version on trial');
    return true;
  }

  /** A camera may have a schedule of hours, or of daylight only. A dark frame is enough: it is stored as rejected. */
  #captureIfIdle(signal: AbortSignal): void {
    const { clock, cameras } = this.#deps;
    const nowMonoMs = clock.monoMs();
    if (this.#capturing !== null || nowMonoMs - this.#lastCaptureMonoMs < CAPTURE_AFTER_MS) return;
    this.#lastCaptureMonoMs = nowMonoMs;
    const until = deadlineSignal(CAPTURE_TIMEOUT_MS, signal);
    const captures = cameras().map((camera) => camera.capture(until));
    this.#capturing = Promise.allSettled(captures).then(() => void (this.#capturing = null));
  }
}
