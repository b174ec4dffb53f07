import type { EventDraft } from '../contract/states.ts';
import type { Change } from './change.ts';

/** The running parts of the agent, as a change of the settings needs them. */
export interface SettingsHost {
  /** Applies a change that needs no restart. Resolves when every part has begun; must not wait for the network. */
  apply(change: Change): Promise<void>;
  /** Requests a restart of all parts. */
  restart(): void;
  isConnected(): boolean;
  /** Measured median time of the analysis of one frame, ms; null before the first one. */
  frameMs(): number | null;
  raise(event: EventDraft): void;
}
