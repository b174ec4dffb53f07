import type { Clock } from '../base/clock.ts';
import type { LevelledLog } from '../base/log.ts';
import type { RecentLog } from './recent-log.ts';
import type { Configuration } from '../config/configuration.ts';
import type { Settings } from '../config/schema.ts';
import type { AgentApi } from '../contract/api.ts';
import type { Status } from '../contract/states.ts';
import type { ClockState } from '../health/types.ts';
import type { Hardware } from '../vision/hardware/hardware.ts';

export interface AgentOptions {
  readonly settings: Settings;
  readonly version: string;
  /** Directory of the package: of the checkout, or of the installed version. */
  readonly installationDir: string;
  /** Directory of the bundles that ship with the agent. */
  readonly shippedModelsDir: string;
  readonly env: NodeJS.ProcessEnv;
}

export interface AgentDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly levels: LevelledLog;
  /** Supplies later changes of `settings`. */
  readonly configuration: Configuration;
  /** Called when settings or an operator require a restart: the caller then stops this agent and starts another one. */
  readonly onRestartWanted: () => void;
  /** Warnings and errors of the log, for the report of `diagnostics`. */
  readonly recentLog?: RecentLog;
  /** Replaces the kernel's clock state in tests. */
  readonly kernelClock?: () => ClockState | null;
}

/** A running agent. */
export interface Agent {
  readonly api: AgentApi;
  /**
   * Publishes `stopped`, abandons the current slot and releases everything, in bounded time. `isRestart`: another agent
   * starts at once, and the service manager is not notified of a stop.
   */
  stop(options?: { readonly isRestart?: boolean }): Promise<void>;
}

/** Who this run of the agent is. */
export interface AgentIdentity {
  readonly site: string;
  readonly device: string;
  readonly version: string;
  /** One run of the agent. */
  readonly session: string;
  /** One boot of the machine. */
  readonly bootId: string;
}

/** What changes while the agent runs and belongs to no part. */
export interface AgentState {
  phase: Status['state'];
  /** The settings in force. */
  settings: Settings;
  /** Null until the inventory of the machine is complete. */
  hardware: Hardware | null;
  /** Address of the web page for other machines; null while there is none. */
  pageUrl: string | null;
}
