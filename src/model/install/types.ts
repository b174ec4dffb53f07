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
  /**
   * Changes the state. When this returns, the new state is on the disk. Throws `model_space` and `store_failed`; then
   * nothing has changed.
   */
  update(change: (state: SlotsState) => SlotsState): SlotsState;
  bundleDir(digest: string): string;
  /** Removes the bundles that no slot refers to. Never rejects. */
  collect(): Promise<void>;
}

/** The number of answered observations and the minutes of a probation. A new model must reach both. */
export type ProbationLimits = Settings['model']['probation'];

export interface ShadowOptions {
  /** Number of live frames that both models analyse before the swap. */
  readonly frames: number;
  /** Longest wait until these frames have arrived, ms. */
  readonly patienceMs: number;
}

/** Time limits of the phases of an install, measured on the monotonic clock, ms. */
export interface InstallDeadlines {
  readonly downloadMs: number;
  readonly verifyMs: number;
  /** Time limit for the start and the test of a candidate. An accelerator may need minutes to compile the model. */
  readonly testMs: number;
  /** Time limit for the forecast of the calibrations. */
  readonly forecastMs: number;
}

export interface InstallerOptions {
  readonly factory: FactoryModel;
  /**
   * The model settings at the start of the agent. While `active` names a model, that model serves, and installs are
   * refused.
   */
  readonly settings: Pick<Settings['model'], 'active' | 'repository' | 'trustRoot' | 'allowUnsigned'>;
  readonly shadow?: ShadowOptions;
  readonly deadlines?: Partial<InstallDeadlines>;
}

export interface InstallerDeps {
  readonly slots: Slots;
  readonly fetcher: BundleFetcher;
  readonly host: ModelHost;
  readonly openBundle: (dir: string, options: { readonly signal: AbortSignal }) => Promise<Bundle>;
  /** Returns the present model settings, which may change while the agent runs. */
  readonly liveSettings: () => Pick<Settings['model'], 'probation' | 'maxKbPerS'>;
  /** Returns the time, ms since the epoch; null while the wall clock is not synchronised. */
  readonly syncedNowMs: () => number | null;
  /** Forecasts what the new model would mean for the calibration of each camera. */
  readonly forecast: (candidate: Candidate, signal: AbortSignal) => Promise<readonly CalibrationForecast[]>;
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  /** Called after each stored change of an install phase or of the slots. */
  readonly onState: () => void;
  readonly onProgress: (progress: ModelProgress) => void;
}

export interface InstallerState {
  readonly factory: ModelRef;
  /** The current or the last install, with the newest byte counts. */
  readonly install: InstallRecord | null;
  /** True when `model.active` names a model. */
  readonly pinned: boolean;
}

/** The result of a request for an install. */
export interface RequestedInstall {
  /** The install record as it was stored for the request. */
  readonly accepted: InstallRecord;
  /** Resolves when the new model serves (phase `probation`); rejects with the error that ended the install. */
  readonly serves: Promise<InstallRecord>;
}
