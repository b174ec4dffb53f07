// Longer than 300 lines because every way in which the settings in force change has to end a trial in the same way.
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../base/clock.ts';
import type {
  ConfigChange,
  ConfigConfirmed,
  ConfigDropped,
  ConfigView,
  Deferred,
  Restarting,
} from '../contract/config.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { Scrub } from '../base/redact.ts';
import type { EventDraft } from '../contract/states.ts';
import { compareSettings, type Change } from './change.ts';
import type { ConfigFault } from './faults.ts';
import { KnownSecrets } from './known-secrets.ts';
import { loadLocal, withoutOverlay, type LocalConfiguration, type LocalInput } from './load.ts';
import { loadUsable } from './load-usable.ts';
import {
  configChange,
  confirmedEvent,
  configView,
  droppedEvent,
  overlayDroppedEvents,
  refusedEvent,
  reloadedEvent,
  undoneEvent,
} from './messages.ts';
import { onceDelivered } from './once-delivered.ts';
import { planChange } from './plan-change.ts';
import { computeConfigDigest } from './redact.ts';
import { dropRemoteSettings } from './remote-settings.ts';
import { withoutCameras } from './remote-cameras.ts';
import type { Camera, Settings } from './schema.ts';
import { listSources, type SettingSources } from './setting-sources.ts';
import type { SettingsHost } from './settings-host.ts';
import { Trial, type UndoReason } from './trial.ts';
import { whenNotBusy } from './when-not-busy.ts';

export interface ConfigurationOptions extends LocalInput {
  /** How long the broker may be unreachable during a trial, seconds. */
  readonly brokerPatienceS?: number;
  /** How long to wait for the delivery of an answer before the change begins anyway, ms. */
  readonly answerPatienceMs?: number;
}

const BROKER_PATIENCE_S = 60;
const ANSWER_PATIENCE_MS = 3000;
const CHECK_EVERY_MS = 500;

/**
 * The settings in force: the local configuration with the overlay of remote commands. A remote change runs on trial and is
 * undone automatically. The object exists for the lifetime of the process; the parts of the agent may restart.
 *
 * INVARIANTS: the overlay on the disk is always a confirmed one; at most one trial; a trial ends with the process.
 */
export class Configuration {
  readonly #options: ConfigurationOptions;
  readonly #clock: Clock;
  #local: LocalConfiguration;
  #settings: Settings;
  /** The configuration before a local change with which the parts have not started yet. */
  #former: LocalConfiguration | null = null;
  #trial: Trial | null = null;
  /** The event about the files that the last reload has refused. */
  #refused: EventDraft | null = null;
  #host: SettingsHost | null = null;
  /** Events to raise when a host attaches. */
  #events: EventDraft[] = [];
  #isRecovered = false;
  /** Measured by parts that ran before. A restart must not reset the limit of planned work. */
  #frameMs: number | null = null;
  /** The settings with the secret files as a camera has read them again. */
  #reread: Settings | null = null;
  readonly #secrets = new KnownSecrets();

  /** Reads the configuration and writes nothing. Throws `config_invalid`. */
  static open(options: ConfigurationOptions, deps: { readonly clock: Clock }): Configuration {
    return new Configuration(options, deps, loadLocal(options));
  }

  private constructor(
    options: ConfigurationOptions,
    deps: { readonly clock: Clock },
    local: LocalConfiguration,
  ) {
    this.#options = options;
    this.#clock = deps.clock;
    this.#local = local;
    this.#settings = local.settings;
  }

  /** Removes the secrets of the settings from a text, of those on trial, of the former ones, and of files read again as well. */
  readonly redact: Scrub = (text) => {
    const present = [this.#settings, this.#trial?.change.to, this.#reread];
    return this.#secrets.redact(
      text,
      present.filter((settings) => settings != null),
    );
  };

  /** Faults of the files of the broker at the start, where the options tolerate them. */
  get fileFaults(): readonly ConfigFault[] {
    return this.#local.fileFaults;
  }

  /** Which keys of the settings come from which source. */
  get sources(): SettingSources {
    return listSources(this.#local);
  }

  /** The settings that the parts must run with. */
  get settings(): Settings {
    return this.#settings;
  }

  /**
   * Connects the parts, which run with `running` and own the state directory. If the settings in force have changed, applies
   * the change. Returns a function that disconnects them.
   */
  attach(host: SettingsHost, running: Settings): () => void {
    this.#host = host;
    // After a reload during the start, the newest settings are not known to work.
    if (running === this.#settings) this.#former = null;
    if (!this.#isRecovered) this.#recover();
    for (const event of this.#events.splice(0)) host.raise(event);
    if (running === this.#settings) this.#trial?.markApplied();
    else void this.#apply(compareSettings(running, this.#settings));
    return () => {
      this.#measuredFrameMs();
      if (this.#host === host) this.#host = null;
    };
  }

  view(): ConfigView {
    return configView({
      settings: this.#settings,
      overlay: this.#local.saved.overlay,
      trial: this.#trial,
      connected: this.#isConnected(),
    });
  }

  /**
   * Applies a patch to the overlay and puts the result on trial. Throws `config_busy` during another trial, `config_locked`
   * for keys that cannot be set remotely, `config_invalid` with all other faults, `store_failed`.
   */
  set(patch: unknown, withinS: number): Deferred<ConfigChange> {
    if (this.#trial) throw busy('another change is on trial');
    const planned = planChange(patch, this.#settings, this.#local, this.#measuredFrameMs());
    const { change, onConfirm, overlay } = planned;
    if (planned.isEmpty) return { answer: configChange(null, change, onConfirm), begin: () => undefined };
    const { brokerPatienceS = BROKER_PATIENCE_S } = this.#options;
    const connected = this.#isConnected();
    const trial = new Trial(
      { id: randomUUID(), change, onConfirm, overlay, withinS, brokerPatienceS, connected },
      { clock: this.#clock },
    );
    this.#local.files.writeTrial({ id: trial.id, keys: trial.keys });
    this.#trial = trial;
    void this.#watch(trial);
    const answer = configChange({ trial, withinS }, change, onConfirm);
    return { answer, begin: this.#onceDelivered(() => this.#begin(trial)) };
  }

  /**
   * Makes the change on trial permanent. `id` null: any trial. Throws `config_trial_unknown` without a trial or for another
   * id, `config_busy` while the change is not in force, `store_failed`.
   */
  confirm(id: string | null): ConfigConfirmed {
    const trial = this.#trial;
    const { saved, files } = this.#local;
    // The sender repeats the command because it lost the answer.
    if (id !== null && id === saved.trial && trial?.id !== id)
      return { trial: id, changed: [], config_digest: computeConfigDigest(this.#settings) };
    if (!trial || (id !== null && id !== trial.id))
      throw new AgentError('config_trial_unknown', 'there is no such change on trial');
    if (!trial.isConfirmable(this.#isConnected())) throw busy('the change is not in force yet');
    const confirmed = { overlay: trial.overlay, trial: trial.id };
    files.confirm(confirmed);
    this.#end(trial);
    const { onConfirm } = trial;
    if (onConfirm.keys.length > 0) this.#settings = onConfirm.to;
    this.#local = { ...this.#local, settings: this.#settings, saved: confirmed, stored: confirmed };
    this.#raise(confirmedEvent(trial.id, trial.keys));
    if (onConfirm.keys.length > 0) void this.#apply(onConfirm);
    return { trial: trial.id, changed: [...trial.keys], config_digest: computeConfigDigest(this.#settings) };
  }

  /** Like `confirm`, but waits some seconds until the change is in force: the command may arrive earlier. */
  confirmWhenInForce(id: string | null, signal: AbortSignal): Promise<ConfigConfirmed> {
    return whenNotBusy(() => this.confirm(id), { clock: this.#clock }, signal);
  }

  /** Undoes a trial, and restarts all parts with the local files read again. Throws `config_invalid` before anything stops. */
  restart(): Deferred<Restarting> {
    loadUsable(this.#options, this.#local);
    const begin = (): void => {
      this.#endUndone('interrupted');
      try {
        // Only now: a change may have been confirmed since the command.
        this.#replaceLocal(loadUsable(this.#options, this.#local));
      } catch {
        // The file has become invalid since the command: the parts restart with the settings in force.
      }
      this.#host?.restart();
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
      fresh = loadUsable(this.#options, this.#local);
    } catch (thrown) {
      const failure = asAgentError(thrown);
      const event = refusedEvent(failure);
      if (!isDeepStrictEqual(event, this.#refused)) this.#raise(event);
      this.#refused = event;
      throw failure;
    }
    this.#refused = null;
    const change = this.#applyLocal(fresh);
    if (change.keys.length > 0) this.#raise(reloadedEvent(change));
    return change;
  }

  /**
   * Removes settings of remote commands, on request of somebody on the device: those of one key, or all for null. Undoes a
   * trial. Throws `request_invalid` if there are none, `config_invalid` if the rest is not valid alone, `store_failed`.
   */
  drop(key: string | null): ConfigDropped {
    const { files, refused, loadWith, saved } = this.#local;
    const { overlay, keys } = dropRemoteSettings(files.read().overlay, key);
    const usable = withoutCameras(overlay, refused);
    const settings = loadWith(usable);
    files.confirm({ ...saved, overlay });
    this.#raise(droppedEvent(keys));
    const { live, link, restart } = this.#applyLocal({
      ...this.#local,
      settings,
      saved: { ...saved, overlay: usable },
      stored: { ...saved, overlay },
    });
    const config_digest = computeConfigDigest(settings);
    return { dropped: [...keys], live: [...live], link: [...link], restart: [...restart], config_digest };
  }

  /** The settings of a camera with the secret files read again; null without the camera, or if a file cannot be used now. */
  rereadCamera(id: string): Camera | null {
    const overlay = this.#trial?.hasBegun ? this.#trial.overlay : this.#local.saved.overlay;
    try {
      const settings = this.#local.loadWith(overlay);
      if (!isDeepStrictEqual(settings, this.#reread)) this.#reread = settings;
      return settings.cameras.find((camera) => camera.id === id) ?? null;
    } catch {
      return null;
    }
  }

  /** True if settings of remote commands are in force, or on trial. */
  get isRemote(): boolean {
    return this.#trial !== null || Object.keys(this.#local.saved.overlay).length > 0;
  }

  /**
   * Reports why the parts do not start with the settings `failed`. Returns true if starting may work now: other settings came
   * into force during that attempt, or it has undone a trial, or returned to the configuration before a local change, or
   * replaced the settings by the local ones, so that the device stays reachable. If the parts then start with the local
   * ones, `attach` sets the overlay file aside.
   */
  handleStartFailure(failure: AgentError, failed = this.#settings): boolean {
    if (failed !== this.#settings) return true;
    if (this.#trial) {
      this.#undo('start_failed', failure);
      return true;
    }
    if (this.#former) {
      this.#local = this.#former;
      this.#settings = this.#former.settings;
      this.#former = null;
      this.#restoreDropped();
      this.#raise(refusedEvent(failure));
      return true;
    }
    // The store does not depend on the overlay.
    if (!this.isRemote || failure.code === 'store_locked' || failure.code === 'store_failed') return false;
    this.#local = withoutOverlay(this.#local, `the agent does not start with it: ${failure.message}`);
    this.#settings = this.#local.settings;
    this.#isRecovered = false;
    return true;
  }

  /** Stops watching a trial. The next start reports it as interrupted. */
  close(): void {
    this.#trial?.end();
    this.#host = null;
  }

  #isConnected(): boolean {
    return this.#host?.isConnected() ?? false;
  }

  #measuredFrameMs(): number | null {
    return (this.#frameMs = this.#host?.frameMs() ?? this.#frameMs);
  }

  #begin(trial: Trial): void {
    if (this.#trial !== trial || !trial.begin()) return;
    this.#settings = trial.change.to;
    void this.#apply(trial.change);
  }

  /** Ends a trial, and applies what of a local configuration differs from the settings in force. */
  #applyLocal(fresh: LocalConfiguration): Change {
    const running = this.#settings;
    const former = this.#former;
    this.#endUndone('interrupted');
    this.#replaceLocal(fresh);
    for (const event of this.#events.splice(0)) this.#raise(event);
    const change = compareSettings(running, fresh.settings);
    if (change.keys.length > 0) void this.#apply(change);
    else {
      // The parts compare the object of their settings with this one.
      this.#settings = running;
      this.#former = former;
    }
    return change;
  }

  #replaceLocal(fresh: LocalConfiguration): void {
    const { refused } = this.#local;
    // The parts have not started yet with what came after the former configuration: it may not work.
    this.#former ??= this.#local;
    this.#local = fresh;
    this.#settings = fresh.settings;
    if (!isDeepStrictEqual(fresh.refused, refused))
      this.#events.push(...overlayDroppedEvents(null, fresh.refused));
    this.#secrets.allow(fresh.refused.map(({ id }) => id));
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

  /** Makes the parts apply a change. Without a host, `attach` applies it later. */
  async #apply(change: Change): Promise<void> {
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
      this.#trial?.markApplied();
    } catch (thrown) {
      if (this.#trial?.change === change) this.#undo('not_applied', asAgentError(thrown));
      // The former settings worked before: apply them by a restart.
      else host.restart();
    }
  }

  async #watch(trial: Trial): Promise<void> {
    while (this.#trial === trial && !trial.ended.aborted) {
      const reason = trial.check(this.#isConnected());
      if (reason !== null) this.#undo(reason);
      else await this.#clock.sleep(CHECK_EVERY_MS, trial.ended).catch(() => undefined);
    }
  }

  #undo(reason: UndoReason, failure: AgentError | null = null): void {
    const undoing = this.#endUndone(reason, failure);
    if (undoing) void this.#apply(undoing);
  }

  /** Ends a trial with the former settings. Returns what the parts must undo; null for nothing. */
  #endUndone(reason: UndoReason, failure: AgentError | null = null): Change | null {
    const trial = this.#trial;
    if (!trial) return null;
    this.#end(trial);
    const { from } = trial.change;
    this.#raise(undoneEvent(trial.id, trial.keys, reason, failure));
    if (!trial.hasBegun) return null;
    const undoing = compareSettings(this.#settings, from);
    this.#settings = from;
    return undoing;
  }

  #end(trial: Trial | null): void {
    trial?.end();
    this.#trial = null;
    try {
      this.#local.files.deleteTrial();
    } catch {
      // The next start reports and deletes the remaining file.
    }
  }

  #onceDelivered(work: () => void): () => void {
    return onceDelivered(work, this.#options.answerPatienceMs ?? ANSWER_PATIENCE_MS, { clock: this.#clock });
  }

  #raise(event: EventDraft): void {
    if (this.#host) this.#host.raise(event);
    else this.#events.push(event);
  }

  /** Handles the files of an earlier run. Call only when this process owns the state directory. */
  #recover(): void {
    this.#isRecovered = true;
    const { files, overlayFault, refused, saved } = this.#local;
    const quarantined = overlayFault === null ? null : files.quarantine(overlayFault, this.#clock.nowMs());
    this.#events.push(...overlayDroppedEvents(quarantined, refused));
    this.#secrets.allow(refused.map(({ id }) => id));
    const trial = files.readTrial();
    if (!trial) return;
    this.#secrets.allow(trial.keys);
    if (trial.id !== saved.trial) this.#events.push(undoneEvent(trial.id, trial.keys, 'interrupted'));
    this.#end(null);
  }
}

const busy = (message: string): AgentError => new AgentError('config_busy', message);
