import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Bundle } from '../model/manifest.ts';
import type { Plan } from './providers/trial.ts';
import type { ProviderReport, VisionEvent } from './protocol.ts';
import type { ProcessLimits } from './process-priority.ts';

/** Where the plan comes from when none is given: the provider ladder. */
export interface PlanSource {
  first(signal: AbortSignal): Promise<Plan>;
  /** A better plan, found in the background, or null. */
  explore(signal: AbortSignal): Promise<Plan | null>;
  /** The next plan after one that failed at work, or null when there is none. */
  demote(plan: Plan, reason: string): Plan | null;
  report(): ProviderReport | null;
}

export interface VisionOptions {
  readonly bundle: Bundle;
  /** Null: the ladder chooses, or one CPU thread without a ladder. */
  readonly plan: Plan | null;
  /** Longest that one frame may take, seconds. */
  readonly timeoutS: number;
  /** The process is replaced, between frames, above this resident size, MiB; at twice this it ends at once. */
  readonly maxRssMb: number;
  /** For a process that is only tried, beside one that serves. */
  readonly processLimits?: ProcessLimits;
  /** Another process serves while this one starts, and should hardly wait for it. */
  readonly startsBeside?: boolean;
  /** Frames that may wait. */
  readonly queueMax: number;
  /** Longest that opening and proving the model may take, seconds; default 60. */
  readonly openTimeoutS?: number;
  /** The ladder goes on looking for a better plan so long after the start, seconds; default 20. */
  readonly exploreAfterS?: number;
}

export interface VisionDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly onEvent: (event: VisionEvent) => void;
  readonly ladder?: PlanSource;
  readonly random?: () => number;
}
