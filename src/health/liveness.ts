import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock } from '../base/clock.ts';
import type { EventDraft } from '../contract/states.ts';

type DelayHistogram = ReturnType<typeof monitorEventLoopDelay>;

const TICK_MS = 1_000;
/** A finer resolution would wake an idle board more often. */
const HISTOGRAM_RESOLUTION_MS = 100;
const NS_PER_MS = 1e6;
const MAX_MAIN_LOOP_SILENCE_MS = 30_000;
/** Time for a restart of the vision process including its backoff, in addition to two frame deadlines. */
const VISION_RESTART_MS = 120_000;
/** A camera whose next step is overdue by more than this makes no progress. */
const MAX_SLOT_OVERDUE_MS = 30_000;

/** A part that the agent cannot work without. */
export interface WatchedPart {
  readonly name: string;
  /** It is stalled when its progress is overdue by more than this, ms. */
  readonly maxOverdueMs: number;
  /** Monotonic time at which its next progress is or was due, ms; null while none is expected. */
  progressDueMonoMs(): number | null;
}

export interface LivenessReport {
  readonly alive: boolean;
  /** Parts that made no progress for too long; `main_loop` is one of them. */
  readonly stalled: readonly string[];
  /** Delay of the main loop over the last minute or so, ms; null before the first measurement. */
  readonly loopDelayP99Ms: number | null;
  readonly loopDelayMaxMs: number | null;
}

/**
 * The vision process as a watched part: while requests wait for it, it must reply or start again within two frame
 * deadlines and the time of a restart.
 */
export const watchVision = (
  { timeoutS }: { readonly timeoutS: number },
  vision: { readonly unansweredSinceMonoMs: number | null },
): WatchedPart => ({
  name: 'vision',
  maxOverdueMs: VISION_RESTART_MS + timeoutS * 2_000,
  progressDueMonoMs: () => vision.unansweredSinceMonoMs,
});

/**
 * The schedules of all cameras as a watched part. The due times are monotonic and each camera sets its own, so a step of
 * the clock, a closed sun window and a long burst are no stall.
 */
export const watchScheduler = (cameras: {
  list(): readonly { readonly stepDueMonoMs: number | null }[];
}): WatchedPart => ({
  name: 'scheduler',
  maxOverdueMs: MAX_SLOT_OVERDUE_MS,
  progressDueMonoMs: () => {
    const due = cameras.list().flatMap(({ stepDueMonoMs }) => stepDueMonoMs ?? []);
    return due.length === 0 ? null : Math.min(...due);
  },
});

/** The event for parts that make no progress. */
export const noProgressEvent = (parts: readonly string[]): EventDraft => ({
  type: 'no_progress',
  severity: 'error',
  code: 'no_progress',
  message: `No progress of ${parts.join(', ')}: the service manager restarts the agent.`,
  context: { parts },
});

/** Watches whether the main loop and the watched parts make progress. */
export class Liveness {
  readonly #maxSilenceMs: number;
  readonly #clock: Clock;
  readonly #parts: readonly WatchedPart[];
  #histogram: DelayHistogram | null = null;
  #tickMonoMs: number | null = null;
  #ticks = 0;

  constructor(
    options: { readonly maxSilenceMs?: number },
    deps: { readonly clock: Clock; readonly parts: readonly WatchedPart[] },
  ) {
    this.#maxSilenceMs = options.maxSilenceMs ?? MAX_MAIN_LOOP_SILENCE_MS;
    this.#clock = deps.clock;
    this.#parts = deps.parts;
  }

  start(signal: AbortSignal): void {
    const histogram = monitorEventLoopDelay({ resolution: HISTOGRAM_RESOLUTION_MS });
    histogram.enable();
    this.#histogram = histogram;
    this.#tickMonoMs = this.#clock.monoMs();
    void this.#loop(histogram, signal);
  }

  report(): LivenessReport {
    const nowMs = this.#clock.monoMs();
    const isOverdue = (dueMs: number | null, maxMs: number): boolean =>
      dueMs !== null && nowMs - dueMs > maxMs;
    const stalled = this.#parts
      .filter((part) => isOverdue(part.progressDueMonoMs(), part.maxOverdueMs))
      .map((part) => part.name);
    if (isOverdue(this.#tickMonoMs, this.#maxSilenceMs)) stalled.unshift('main_loop');
    const measured = this.#histogram !== null && this.#histogram.count > 0 ? this.#histogram : null;
    return {
      alive: stalled.length === 0,
      stalled,
      loopDelayP99Ms: measured === null ? null : delayMs(measured.percentile(99)),
      loopDelayMaxMs: measured === null ? null : delayMs(measured.max),
    };
  }

  async #loop(histogram: DelayHistogram, signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        await this.#clock.sleep(TICK_MS, signal);
        this.#tickMonoMs = this.#clock.monoMs();
        this.#ticks += 1;
        if (this.#ticks % 60 === 0) histogram.reset();
      }
    } catch {
      histogram.disable();
    }
  }
}

/** The histogram measures the whole time between two timers, so the interval itself is subtracted. */
function delayMs(intervalNs: number): number {
  return Math.max(0, Math.round((intervalNs / NS_PER_MS - HISTOGRAM_RESOLUTION_MS) * 10) / 10);
}
