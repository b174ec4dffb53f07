import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { ConfigChange, ConfigConfirmed, ConfigView, Deferred, Restarting } from '../contract/config.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { Scrub } from '../base/redact.ts';
import type { EventDraft } from '../contract/states.ts';
import { compareSettings, type Change } from './change.ts';
import type { ConfigFault } from './faults.ts';
import { KnownSecrets } from './known-secrets.ts';
import { loadLocal, refuseNewFaults, type LocalConfiguration, type LocalInput } from './load.ts';
import { configChange, confirmedEvent, configView, overlayDroppedEvents, undoneEvent } from './messages.ts';
import { checkPatch, dropRedacted, loadWithOverlay, patchOverlay } from './patch.ts';
import { onceDelivered } from './once-delivered.ts';
import { checkPlannedWork } from './planned-work.ts';
import { computeConfigDigest, redactSettings } from './redact.ts';
import type { Settings } from './schema.ts';
import type { SettingsHost } from './settings-host.ts';
import { Trial, type UndoReason } from './trial.ts';

export interface ConfigurationOptions extends LocalInput {
  /** How long the broker may be unreachable during a trial, seconds. */
  readonly brokerPatienceS?: number;
  /** How long to wait for the delivery of an answer before the change begins anyway, ms. */
  readonly answerPatienceMs?: number;
}

const BROKER_PATIENCE_S = 60;
const ANSWER_PATIENCE_MS = 3000;
const CHECK_EVERY_MS = 500;
const MAX_CONFIRM_WAIT_MS = 5000;
const CONFIRM_RETRY_MS = 100;

/**
 * The settings in force: the local configuration with the overlay of remote commands. A change runs on trial and is undone
 * automatically. The object exists for the lifetime of the process; the parts of the agent may restart.
 *
 * INVARIANTS: the overlay on the disk is always a confirmed one; at most one trial; a trial ends with the process.
 */
export class Configuration {
  readonly #options: ConfigurationOptions;
  readonly #clock: Clock;
  #local: LocalConfiguration;
  #settings: Settings;
  #trial: Trial | null = null;
  #host: SettingsHost | null = null;
  /** Events to raise when a host attaches. */
  #events: EventDraft[] = [];
  #isRecovered = false;
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

  /** Removes the secrets of the settings from a text, of those on trial and of the former ones as well. */
  readonly redact: Scrub = (text) =>
    this.#secrets.redact(text, [this.#settings, this.#trial?.change.to ?? this.#settings]);

  /** Faults of the files of the broker at the start, where the options tolerate them. */
  get fileFaults(): readonly ConfigFault[] {
    return this.#local.fileFaults;
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
    if (!this.#isRecovered) this.#recover();
    for (const event of this.#events.splice(0)) host.raise(event);
    if (running === this.#settings) this.#trial?.markApplied();
    else void this.#apply(compareSettings(running, this.#settings));
    return () => {
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
    const { saved, files, loadWith } = this.#local;
    const cameraIds = new Set(this.#settings.cameras.map(({ id }) => id));
    const checked = checkPatch(patch, cameraIds);
    const overlay = patchOverlay(saved.overlay, dropRedacted(checked, { ...redactSettings(this.#settings) }));
    const settings = loadWithOverlay(overlay, loadWith);
    checkPlannedWork(this.#settings, settings, this.#host?.frameMs() ?? null);
    // Limits of the store are not part of the trial: the records that they delete cannot be restored.
    const onTrial: Settings = Object.freeze({ ...settings, store: this.#settings.store });
    const change = compareSettings(this.#settings, onTrial);
    const onConfirm = compareSettings(onTrial, settings);
    if (change.keys.length + onConfirm.keys.length === 0) {
      const unchanged = { overlay, trial: saved.trial };
      files.confirm(unchanged);
      this.#local = { ...this.#local, saved: unchanged };
      return { answer: configChange(null, change, onConfirm), begin: () => undefined };
    }
    const { brokerPatienceS = BROKER_PATIENCE_S } = this.#options;
    const connected = this.#isConnected();
    const trial = new Trial(
      { id: randomUUID(), change, onConfirm, overlay, withinS, brokerPatienceS, connected },
      { clock: this.#clock },
    );
    files.writeTrial({ id: trial.id, keys: trial.keys });
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
    this.#local = { ...this.#local, saved: confirmed };
    this.#raise(confirmedEvent(trial.id, trial.keys));
    if (trial.onConfirm.keys.length > 0) {
      this.#settings = trial.onConfirm.to;
      void this.#apply(trial.onConfirm);
    }
    return { trial: trial.id, changed: [...trial.keys], config_digest: computeConfigDigest(this.#settings) };
  }

  /** Like `confirm`, but waits some seconds until the change is in force: the command may arrive earlier. */
  async confirmWhenInForce(id: string | null, signal: AbortSignal): Promise<ConfigConfirmed> {
    const untilMonoMs = this.#clock.monoMs() + MAX_CONFIRM_WAIT_MS;
    for (;;) {
      try {
        return this.confirm(id);
      } catch (thrown) {
        const isEarly = asAgentError(thrown).code === 'config_busy' && this.#clock.monoMs() < untilMonoMs;
        if (!isEarly) throw thrown;
      }
      await this.#clock.sleep(CONFIRM_RETRY_MS, signal);
    }
  }

  /** Restarts all parts with the local configuration read again. Throws `config_invalid` before anything stops. */
  restart(): Deferred<Restarting> {
    const trial = this.#trial;
    const fresh = trial ? null : loadLocal(this.#options);
    refuseNewFaults(fresh?.fileFaults ?? [], this.#local.fileFaults);
    if (fresh?.overlayFault != null)
      throw new AgentError('config_invalid', `the overlay cannot be used: ${fresh.overlayFault}`);
    const begin = (): void => {
      if (fresh && !this.#trial) {
        this.#local = fresh;
        this.#settings = fresh.settings;
        this.#events.push(...overlayDroppedEvents(null, fresh.refused));
      }
      this.#host?.restart();
    };
    return { answer: { restarting: true }, begin: this.#onceDelivered(begin) };
  }

  /** Reports why the parts do not start with the settings. Returns true if it has undone a trial: starting may work now. */
  handleStartFailure(failure: AgentError): boolean {
    if (!this.#trial) return false;
    this.#undo('start_failed', failure);
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

  #begin(trial: Trial): void {
    if (this.#trial !== trial || !trial.begin()) return;
    this.#settings = trial.change.to;
    void this.#apply(trial.change);
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
      if (this.#settings === change.to) this.#trial?.markApplied();
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
    const trial = this.#trial;
    if (!trial) return;
    this.#end(trial);
    const { from } = trial.change;
    this.#raise(undoneEvent(trial.id, trial.keys, reason, failure));
    if (!trial.hasBegun) return;
    const undoing = compareSettings(this.#settings, from);
    this.#settings = from;
    void this.#apply(undoing);
  }

  #end(trial: Trial): void {
    trial.end();
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
    const trial = files.readTrial();
    if (!trial) return;
    if (trial.id !== saved.trial) this.#events.push(undoneEvent(trial.id, trial.keys, 'interrupted'));
    try {
      files.deleteTrial();
    } catch {
      // The trial file is harmless.
    }
  }
}

const busy = (message: string): AgentError => new AgentError('config_busy', message);
