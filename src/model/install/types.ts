import type { Clock } from '../../base/clock.ts';
import type { Settings } from '../../config/schema.ts';
import type { InstallPhase, ModelProgress } from '../../contract/model.ts';
import type { ModelRef } from '../../contract/observation.ts';
import type { Log } from '../../base/log.ts';
import type { RaiseEvent } from '../../store/types.ts';
import type { Bundle } from '../manifest.ts';
import type { FactoryModel } from '../slots/active-model.ts';
import type {
  BundleFetcher,
  CalibrationForecast,
  Candidate,
  InstallRecord,
  ModelHost,
  RefusedDigest,
  SlotRef,
  SlotsState,
} from '../types.ts';

/** What an install needs of the `SlotStore`. */
export interface Slots {
  readonly state: SlotsState;
  /** On the disk when it returns, else nothing has changed. Throws `model_space` and `store_failed`. */
  update(change: (state: SlotsState) => SlotsState): SlotsState;
  bundleDir(digest: string): string;
  collect(): Promise<void>;
}

export interface ProbationOptions {
  /** Answers of the new model, and minutes, that must both have passed. */
  readonly observations: number;
  readonly minutes: number;
}

export interface ShadowOptions {
  /** Live frames that both models answer before the swap. */
  readonly frames: number;
  /** So long is waited for them. */
  readonly patienceMs: number;
}

/** Longest times, ms of the monotonic clock. */
export interface InstallDeadlines {
  readonly downloadMs: number;
  readonly verifyMs: number;
  /** Starting and proving a candidate: building an engine for an accelerator takes minutes. */
  readonly testMs: number;
  /** Foreseeing what becomes of the calibrations. */
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
  /** What the swap would mean for each camera's calibration. */
  readonly forecast: (candidate: Candidate, signal: AbortSignal) => Promise<readonly CalibrationForecast[]>;
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  /** Told after each change of phase or slots. */
  readonly onState: () => void;
  readonly onProgress: (progress: ModelProgress) => void;
}

/** What `model/state` and `model.list` show. */
export interface InstallerState {
  readonly factory: ModelRef;
  /** What serves according to the slots; the shipped one stands for itself. */
  readonly active: SlotRef;
  readonly previous: SlotRef | null;
  readonly candidate: SlotRef | null;
  /** Of the install in hand or the last one; `committed` when there was none. */
  readonly phase: InstallPhase;
  readonly install: InstallRecord | null;
  readonly refused: readonly RefusedDigest[];
  readonly pinned: boolean;
}

/** Answer to a request for an install. */
export interface RequestedInstall {
  /** As it is stored. */
  readonly accepted: InstallRecord;
  /** Resolves when the new model serves, on probation; rejects with what refused it. */
  readonly serves: Promise<InstallRecord>;
}
