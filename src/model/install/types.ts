import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { Settings } from '../../config/schema.ts';
import type { ModelProgress } from '../../contract/model.ts';
import type { ModelRef } from '../../contract/observation.ts';
import type { RaiseEvent } from '../../store/types.ts';
import type { Bundle } from '../manifest.ts';
import type { FactoryModel } from '../slots/active-model.ts';
import type {
  BundleFetcher,
  CalibrationForecast,
  Candidate,
  InstallRecord,
  ModelHost,
  SlotsState,
} from '../types.ts';

/** The part of `SlotStore` that installs use. */
export interface Slots {
  readonly state: SlotsState;
  /** The new state is on the disk when this returns. Throws `model_space` and `store_failed`; nothing has changed then. */
  update(change: (state: SlotsState) => SlotsState): SlotsState;
  bundleDir(digest: string): string;
  collect(): Promise<void>;
}

/** Both must have passed: answers of the new model, and minutes. */
export type ProbationLimits = Settings['model']['probation'];

export interface ShadowOptions {
  /** Live frames that both models analyze before the swap. */
  readonly frames: number;
  /** Longest wait for these frames, ms. */
  readonly patienceMs: number;
}

/** Time limits on the monotonic clock, ms. */
export interface InstallDeadlines {
  readonly downloadMs: number;
  readonly verifyMs: number;
  /** Start and test of a candidate. Building an engine for an accelerator takes minutes. */
  readonly testMs: number;
  /** Forecast of the calibrations. */
  readonly forecastMs: number;
}

export interface InstallerOptions {
  readonly factory: FactoryModel;
  /** The model settings at the start of the agent. While `active` is set that model serves, and installs are refused. */
  readonly settings: Pick<Settings['model'], 'active' | 'repository' | 'trustRoot' | 'allowUnsigned'>;
  readonly shadow?: ShadowOptions;
  readonly deadlines?: Partial<InstallDeadlines>;
}

export interface InstallerDeps {
  readonly slots: Slots;
  readonly fetcher: BundleFetcher;
  readonly host: ModelHost;
  readonly openBundle: (dir: string, options: { readonly signal: AbortSignal }) => Promise<Bundle>;
  /** The model settings now. They may change while the agent runs. */
  readonly liveSettings: () => Pick<Settings['model'], 'probation' | 'maxKbPerS'>;
  /** Milliseconds since the epoch; null while the wall clock is not synchronized. */
  readonly syncedNowMs: () => number | null;
  /** What the swap would mean for the calibration of each camera. */
  readonly forecast: (candidate: Candidate, signal: AbortSignal) => Promise<readonly CalibrationForecast[]>;
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  /** Called after each stored change of a phase or of the slots. */
  readonly onState: () => void;
  readonly onProgress: (progress: ModelProgress) => void;
}

export interface InstallerState {
  readonly factory: ModelRef;
  /** The current or the last install, with the newest byte counts. */
  readonly install: InstallRecord | null;
  /** `model.active` is set. */
  readonly pinned: boolean;
}

/** The reply to a request for an install. */
export interface RequestedInstall {
  /** The stored record. */
  readonly accepted: InstallRecord;
  /** Resolves when the new model serves (phase `probation`); rejects with the reason of the failure. */
  readonly serves: Promise<InstallRecord>;
}
