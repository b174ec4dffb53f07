import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../base/clock.ts';
import type {
  ConfigChange,
  ConfigConfirmed,
  ConfigDropped,
  ConfigView,
  ConfigWithdrawn,
  Deferred,
  Restarting,
} from '../contract/config.ts';
import { asAgentError, type AgentError } from '../base/errors.ts';
import type { Scrub } from '../base/redact.ts';
import type { EventDraft } from '../contract/states.ts';
import { compareSettings, type Change } from './change.ts';
import type { ConfigFault } from './faults.ts';
import { loadLocal, type LocalConfiguration, type LocalInput } from './load.ts';
import { loadUsable } from './load-usable.ts';
import { configView, droppedEvent, overlayDroppedEvents, refusedEvent, reloadedEvent } from './messages.ts';
import { onceDelivered } from './once-delivered.ts';
import { computeConfigDigest } from './redact.ts';
import { dropRemoteSettings } from './remote-settings.ts';
import { withoutCameras } from './remote-cameras.ts';
import type { Camera, Settings } from './schema.ts';
import { listSources, type SettingSources } from './setting-sources.ts';
import type { SettingsHost } from './settings-host.ts';
import { SettingsInForce } from './settings-in-force.ts';
import { RemoteChanges } from './remote-changes.ts';
import { whenNotBusy } from './when-not-busy.ts';

export interface ConfigurationOptions extends LocalInput {
  /** How long the broker may be unreachable during a trial, seconds. */
  readonly brokerPatienceS?: number;
  /** How long to wait for the delivery of an answer before the change begins anyway, ms. */
  readonly answerPatienceMs?: number;
}

const BROKER_PATIENCE_S = 60;
const ANSWER_PATIENCE_MS = 3000;

/**
 * The settings in force: the local configuration with the overlay of remote commands. `RemoteChanges` has the changes of remote
 * commands; a change of the local configuration undoes a trial. The object exists for the lifetime of the process; the
 * parts of the agent may restart.
 */
export class Configuration {
  readonly #options: ConfigurationOptions;
  readonly #clock: Clock;
  readonly #inForce: SettingsInForce;
  readonly #remote: RemoteChanges;
  /** The event about the files that the last reload has refused. */
  #refused: EventDraft | null = null;
  #isRecovered = false;
  /** The settings with the secret files as a camera has read them again. */
  #reread: Settings | null = null;

  /** Reads the configuration and writes nothing. Throws `config_invalid`. */
  static open(options: ConfigurationOptions, deps: { readonly clock: Clock }): Configuration {
    return new Configuration(options, deps, loadLocal(options));
  }

  private constructor(
    options: ConfigurationOptions,
    deps: { readonly clock: Clock },
    local: LocalConfiguration,
  ) {
    const { brokerPatienceS = BROKER_PATIENCE_S } = options;
    this.#options = options;
    this.#clock = deps.clock;
    this.#inForce = new SettingsInForce(local);
    this.#remote = new RemoteChanges({ brokerPatienceS }, { ...deps, inForce: this.#inForce });
  }

  /** Removes the secrets of the settings from a text, of those on trial, of the former ones, and of files read again as well. */
  readonly redact: Scrub = (text) => {
    const present = [this.settings, this.#remote.trial?.change.to, this.#reread];
    return this.#inForce.secrets.redact(
      text,
      present.filter((settings) => settings != null),
    );
  };

  /** Faults of the files of the broker at the start, where the options tolerate them. */
  get fileFaults(): readonly ConfigFault[] {
    return this.#inForce.local.fileFaults;
  }

  /** Which keys of the settings come from which source. */
  get sources(): SettingSources {
    return listSources(this.#inForce.local);
  }

  /** The settings that the parts must run with. */
  get settings(): Settings {
    return this.#inForce.settings;
  }

  /**
   * Connects the parts, which run with `running` and own the state directory. If the settings in force have changed, applies
   * the change. Returns a function that disconnects them.
   */
  attach(host: SettingsHost, running: Settings): () => void {
    this.#inForce.attach(host, running);
    this.#inForce.raiseWaiting();
    if (!this.#isRecovered) this.#recover();
    if (running === this.settings) this.#remote.trial?.markApplied();
    else void this.#remote.apply(compareSettings(running, this.settings));
    return () => this.#inForce.detach(host);
  }

  view(): ConfigView {
    return configView({
      settings: this.settings,
      overlay: this.#inForce.local.saved.overlay,
      trial: this.#remote.trial,
      connected: this.#inForce.isConnected(),
      local: this.#inForce.local.local.settings,
    });
  }

  /** Applies a patch to the overlay and puts the result on trial. Throws as `RemoteChanges.start`. */
  set(patch: unknown, withinS: number): Deferred<ConfigChange> {
    const { answer, begin } = this.#remote.start(patch, withinS);
    return { answer, begin: begin === null ? () => undefined : this.#onceDelivered(begin) };
  }

  /** The settings that a patch would give now. Changes nothing. Throws as `set`, except that it plans no work. */
  preview(patch: unknown): Settings {
    return this.#remote.preview(patch);
  }

  /** Undoes the change on trial. `id` null: any trial. Throws as `RemoteChanges.withdraw`. */
  withdraw(id: string | null): Deferred<ConfigWithdrawn> {
    const { answer, begin } = this.#remote.withdraw(id);
    return { answer, begin: this.#onceDelivered(begin) };
  }

  /** Makes the change on trial permanent. `id` null: any trial. Throws as `RemoteChanges.confirm`. */
  confirm(id: string | null): ConfigConfirmed {
    return this.#remote.confirm(id);
  }

  /** Like `confirm`, but waits some seconds until the change is in force: the command may arrive earlier. */
  confirmWhenInForce(id: string | null, signal: AbortSignal): Promise<ConfigConfirmed> {
    return whenNotBusy(() => this.confirm(id), { clock: this.#clock }, signal);
  }

  /** Undoes a trial, and restarts all parts with the local files read again. Throws `config_invalid` before anything stops. */
  restart(): Deferred<Restarting> {
    loadUsable(this.#options, this.#inForce.local);
    const begin = (): void => {
      this.#remote.endUndone('interrupted');
      try {
        // Only now: a change may have been confirmed since the command.
        this.#inForce.replaceLocal(loadUsable(this.#options, this.#inForce.local));
      } catch {
        // The file has become invalid since the command: the parts restart with the settings in force.
      }
      this.#inForce.restartParts();
    };
    return { answer: { restarting: true }, begin: this.#onceDelivered(begin) };
  }

  /**
   * Reads the local files again, and applies what has changed as a remote change is applied: while running, by a new
   * connection, or by a restart of all parts. Undoes a trial. Returns the change. If the files cannot be used, changes
   * nothing, raises an event, once for equal faults, and throws `config_invalid`.
   */
  reload(): Change {
    let fresh: LocalConfiguration;
    try {
      fresh = loadUsable(this.#options, this.#inForce.local);
    } catch (thrown) {
      const failure = asAgentError(thrown);
      const event = refusedEvent(failure);
      if (!isDeepStrictEqual(event, this.#refused)) this.#inForce.raise(event);
      this.#refused = event;
      throw failure;
    }
    this.#refused = null;
    const change = this.#applyLocal(fresh);
    if (change.keys.length > 0) this.#inForce.raise(reloadedEvent(change));
    return change;
  }

  /**
   * Removes settings of remote commands, on request of somebody on the device: those of one key, or all for null. Undoes a
   * trial. Throws `request_invalid` if there are none, `config_invalid` if the rest is not valid alone, `store_failed`.
   */
  drop(key: string | null): ConfigDropped {
    const { files, refused, loadWith, saved } = this.#inForce.local;
    const { overlay, keys } = dropRemoteSettings(files.read().overlay, key);
    const usable = withoutCameras(overlay, refused);
    const settings = loadWith(usable);
    files.confirm({ ...saved, overlay });
    this.#inForce.raise(droppedEvent(keys));
    const { live, link, restart } = this.#applyLocal({
      ...this.#inForce.local,
      settings,
      saved: { ...saved, overlay: usable },
      stored: { ...saved, overlay },
    });
    const config_digest = computeConfigDigest(settings);
    return { dropped: [...keys], live: [...live], link: [...link], restart: [...restart], config_digest };
  }

  /** The settings of a camera with the secret files read again; null without the camera, or if a file cannot be used now. */
  rereadCamera(id: string): Camera | null {
    const { loadWith } = this.#inForce.local;
    try {
      const settings = loadWith(this.#remote.overlayInForce);
      if (!isDeepStrictEqual(settings, this.#reread)) this.#reread = settings;
      return settings.cameras.find((camera) => camera.id === id) ?? null;
    } catch {
      return null;
    }
  }

  /** True if settings of remote commands are in force, or on trial. */
  get isRemote(): boolean {
    return this.#remote.trial !== null || Object.keys(this.#inForce.local.saved.overlay).length > 0;
  }

  /**
   * Reports why the parts do not start with the settings `failed`. Returns true if starting may work now: other settings came
   * into force during that attempt, or it has undone a trial, or returned to the configuration before a local change, or
   * replaced the settings by the local ones, so that the device stays reachable. If the parts then start with the local
   * ones, `attach` sets the overlay file aside.
   */
  handleStartFailure(failure: AgentError, failed = this.settings): boolean {
    if (failed !== this.settings) return true;
    if (this.#remote.trial) {
      this.#remote.undo('start_failed', failure);
      return true;
    }
    if (this.#inForce.returnToFormer(failure)) return true;
    // The store does not depend on the overlay.
    if (!this.isRemote || failure.code === 'store_locked' || failure.code === 'store_failed') return false;
    this.#inForce.leaveOverlay(`the agent does not start with it: ${failure.message}`);
    this.#isRecovered = false;
    return true;
  }

  /** Stops watching a trial. The next start reports it as interrupted. */
  close(): void {
    this.#remote.close();
    this.#inForce.close();
  }

  /** Ends a trial, and applies what of a local configuration differs from the settings in force. */
  #applyLocal(fresh: LocalConfiguration): Change {
    const running = this.settings;
    const change = compareSettings(running, fresh.settings);
    this.#remote.endUndone('interrupted');
    if (change.keys.length > 0) this.#inForce.replaceLocal(fresh);
    else this.#inForce.replaceEqual(fresh, running);
    this.#inForce.raiseWaiting();
    if (change.keys.length > 0) void this.#remote.apply(change);
    return change;
  }

  #onceDelivered(work: () => void): () => void {
    return onceDelivered(work, this.#options.answerPatienceMs ?? ANSWER_PATIENCE_MS, { clock: this.#clock });
  }

  /** Handles the files of an earlier run. Call only when this process owns the state directory. */
  #recover(): void {
    this.#isRecovered = true;
    const { files, overlayFault, refused } = this.#inForce.local;
    const quarantined = overlayFault === null ? null : files.quarantine(overlayFault, this.#clock.nowMs());
    for (const event of overlayDroppedEvents(quarantined, refused)) this.#inForce.raise(event);
    this.#inForce.secrets.allow(refused.map(({ id }) => id));
    this.#remote.recover();
  }
}
