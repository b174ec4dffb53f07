import { isDeepStrictEqual } from 'node:util';
import { asAgentError, type AgentError } from '../base/errors.ts';
import type { EventDraft } from '../contract/states.ts';
import type { Change } from './change.ts';
import { KnownSecrets } from './known-secrets.ts';
import { withoutOverlay, type LocalConfiguration } from './load.ts';
import { overlayDroppedEvents, refusedEvent } from './messages.ts';
import type { SavedOverlay } from './overlay-files.ts';
import type { Settings } from './schema.ts';
import type { SettingsHost } from './settings-host.ts';

/** Who changes the settings, as `SettingsInForce.apply` informs it. */
export interface ApplyListener {
  /** The parts run with the settings in force. */
  readonly onApplied: () => void;
  /** The parts could not apply a change. Returns false if they must restart with the settings in force. */
  readonly onFailed: (change: Change, failure: AgentError) => boolean;
}

/** The settings in force with the local configuration from which they come, and the running parts of the agent. */
export class SettingsInForce {
  readonly secrets = new KnownSecrets();
  #local: LocalConfiguration;
  #settings: Settings;
  /** The configuration before a local change with which the parts have not started yet. */
  #former: LocalConfiguration | null = null;
  #host: SettingsHost | null = null;
  /** Events to raise when a host attaches. */
  #events: EventDraft[] = [];
  /** Measured by parts that ran before. A restart must not reset the limit of planned work. */
  #frameMs: number | null = null;

  constructor(local: LocalConfiguration) {
    this.#local = local;
    this.#settings = local.settings;
  }

  get local(): LocalConfiguration {
    return this.#local;
  }

  get settings(): Settings {
    return this.#settings;
  }

  /** Connects the parts, which run with `running`. */
  attach(host: SettingsHost, running: Settings): void {
    this.#host = host;
    // After a reload during the start, the newest settings are not known to work.
    if (running === this.#settings) this.#former = null;
  }

  detach(host: SettingsHost): void {
    this.measuredFrameMs();
    if (this.#host === host) this.#host = null;
  }

  close(): void {
    this.#host = null;
  }

  isConnected(): boolean {
    return this.#host?.isConnected() ?? false;
  }

  measuredFrameMs(): number | null {
    return (this.#frameMs = this.#host?.frameMs() ?? this.#frameMs);
  }

  raise(event: EventDraft): void {
    if (this.#host) this.#host.raise(event);
    else this.#events.push(event);
  }

  /** Raises the events that have waited for the parts. */
  raiseWaiting(): void {
    if (this.#host) for (const event of this.#events.splice(0)) this.#host.raise(event);
  }

  restartParts(): void {
    this.#host?.restart();
  }

  /** Other settings over the same local configuration. */
  use(settings: Settings): void {
    this.#settings = settings;
  }

  /** The settings in force come from this overlay, which is stored. */
  confirm(saved: SavedOverlay): void {
    this.#local = { ...this.#local, settings: this.#settings, saved, stored: saved };
  }

  replaceLocal(fresh: LocalConfiguration): void {
    const { refused } = this.#local;
    // The parts have not started yet with what came after the former configuration: it may not work.
    this.#former ??= this.#local;
    this.#local = fresh;
    this.#settings = fresh.settings;
    if (!isDeepStrictEqual(fresh.refused, refused))
      this.#events.push(...overlayDroppedEvents(null, fresh.refused));
    this.secrets.allow(fresh.refused.map(({ id }) => id));
  }

  /** As `replaceLocal`, for a configuration whose settings equal the `running` ones. */
  replaceEqual(fresh: LocalConfiguration, running: Settings): void {
    const former = this.#former;
    this.replaceLocal(fresh);
    // The parts compare the object of their settings with this one.
    this.#settings = running;
    this.#former = former;
  }

  /** Returns to the configuration before a local change with which the parts do not start. False if there is none. */
  returnToFormer(failure: AgentError): boolean {
    if (!this.#former) return false;
    this.#local = this.#former;
    this.#settings = this.#former.settings;
    this.#former = null;
    this.#restoreDropped();
    this.raise(refusedEvent(failure));
    return true;
  }

  /** Leaves out the overlay, with which the parts do not start. */
  leaveOverlay(reason: string): void {
    this.#local = withoutOverlay(this.#local, reason);
    this.#settings = this.#local.settings;
  }

  /** Makes the parts apply a change to the settings in force. Without parts, `attach` applies it later. */
  async apply(change: Change, { onApplied, onFailed }: ApplyListener): Promise<void> {
    const host = this.#host;
    if (!host) return;
    if (change.restart.length > 0) {
      host.restart();
      return;
    }
    try {
      await host.apply(change);
      if (this.#settings !== change.to) return;
      this.#former = null;
      onApplied();
    } catch (thrown) {
      // The former settings worked before: apply them by a restart.
      if (!onFailed(change, asAgentError(thrown))) host.restart();
    }
  }

  /** Stores remote settings again that were removed, but without which the agent does not start. */
  #restoreDropped(): void {
    const { files, stored } = this.#local;
    try {
      if (!isDeepStrictEqual(files.read(), stored)) files.confirm(stored);
    } catch {
      // They stay in force until the process ends.
    }
  }
}
