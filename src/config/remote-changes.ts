import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { ConfigChange, ConfigConfirmed, ConfigWithdrawn } from '../contract/config.ts';
import { compareSettings, type Change } from './change.ts';
import { configChange, confirmedEvent, undoneEvent } from './messages.ts';
import type { Overlay } from './overlay.ts';
import { applyPatch, planChange } from './plan-change.ts';
import { computeConfigDigest } from './redact.ts';
import type { Settings } from './schema.ts';
import type { SettingsInForce } from './settings-in-force.ts';
import { Trial, type UndoReason } from './trial.ts';

export interface RemoteChangesDeps {
  readonly clock: Clock;
  readonly inForce: SettingsInForce;
}

const CHECK_EVERY_MS = 500;

/**
 * The changes of remote commands: each runs on trial and is undone unless it is confirmed in time.
 *
 * INVARIANTS: the overlay on the disk is always a confirmed one; at most one trial; a trial ends with the process.
 */
export class RemoteChanges {
  /** How long the broker may be unreachable during a trial, seconds. */
  readonly #brokerPatienceS: number;
  readonly #clock: Clock;
  readonly #inForce: SettingsInForce;
  #trial: Trial | null = null;

  constructor(options: { readonly brokerPatienceS: number }, deps: RemoteChangesDeps) {
    this.#brokerPatienceS = options.brokerPatienceS;
    this.#clock = deps.clock;
    this.#inForce = deps.inForce;
  }

  get trial(): Trial | null {
    return this.#trial;
  }

  /**
   * Puts a patch of the overlay on trial. `begin` makes the parts apply it. Throws `config_busy` during another trial,
   * `config_locked` for keys that cannot be set remotely, `config_invalid` with all other faults, `store_failed`.
   */
  start(
    patch: unknown,
    withinS: number,
  ): { readonly answer: ConfigChange; readonly begin: (() => void) | null } {
    if (this.#trial) throw busy('another change is on trial');
    const { local, settings } = this.#inForce;
    const planned = planChange(patch, settings, local, this.#inForce.measuredFrameMs());
    const { change, onConfirm, overlay } = planned;
    if (planned.isEmpty) return { answer: configChange(null, change, onConfirm), begin: null };
    const connected = this.#inForce.isConnected();
    const trial = new Trial(
      {
        id: randomUUID(),
        change,
        onConfirm,
        overlay,
        withinS,
        brokerPatienceS: this.#brokerPatienceS,
        connected,
      },
      { clock: this.#clock },
    );
    local.files.writeTrial({ id: trial.id, keys: trial.keys });
    this.#trial = trial;
    void this.#watch(trial);
    return { answer: configChange({ trial, withinS }, change, onConfirm), begin: () => this.#begin(trial) };
  }

  /** The overlay of the settings in force: that on trial, or the saved one. */
  get overlayInForce(): Overlay {
    return this.#trial?.hasBegun ? this.#trial.overlay : this.#inForce.local.saved.overlay;
  }

  /** The settings that a patch of the settings in force gives. Throws `config_locked` and `config_invalid`. */
  preview(patch: unknown): Settings {
    const { local, settings } = this.#inForce;
    return applyPatch(patch, settings, this.overlayInForce, local).settings;
  }

  /**
   * Makes the change on trial permanent. `id` null: any trial. Throws `config_trial_unknown` without a trial or for another
   * id, `config_busy` while the change is not in force, `store_failed`.
   */
  confirm(id: string | null): ConfigConfirmed {
    const trial = this.#trial;
    const { saved, files } = this.#inForce.local;
    // The sender repeats the command because it lost the answer.
    if (id !== null && id === saved.trial && trial?.id !== id)
      return { trial: id, changed: [], config_digest: computeConfigDigest(this.#inForce.settings) };
    if (!trial || (id !== null && id !== trial.id)) throw unknownTrial();
    if (!trial.isConfirmable(this.#inForce.isConnected())) throw busy('the change is not in force yet');
    const confirmed = { overlay: trial.overlay, trial: trial.id };
    files.confirm(confirmed);
    this.#end(trial);
    const { onConfirm } = trial;
    if (onConfirm.keys.length > 0) this.#inForce.use(onConfirm.to);
    this.#inForce.confirm(confirmed);
    this.#inForce.raise(confirmedEvent(trial.id, trial.keys));
    if (onConfirm.keys.length > 0) void this.apply(onConfirm);
    const config_digest = computeConfigDigest(this.#inForce.settings);
    return { trial: trial.id, changed: [...trial.keys], config_digest };
  }

  /**
   * Undoes a change on trial on request. `id` null: any trial. `begin` makes the parts apply the former settings. Throws
   * `config_trial_unknown` without a trial or for another id.
   */
  withdraw(id: string | null): { readonly answer: ConfigWithdrawn; readonly begin: () => void } {
    const trial = this.#trial;
    if (!trial || (id !== null && id !== trial.id)) throw unknownTrial();
    const config_digest = computeConfigDigest(trial.change.from);
    return {
      answer: { trial: trial.id, changed: [...trial.keys], config_digest },
      begin: () => {
        if (this.#trial === trial) this.undo('withdrawn');
      },
    };
  }

  /** Makes the parts apply a change. Undoes a trial that they cannot apply. */
  apply(change: Change): Promise<void> {
    return this.#inForce.apply(change, {
      onApplied: () => this.#trial?.markApplied(),
      onFailed: (failed, failure) => {
        const isOfTrial = this.#trial?.change === failed;
        if (isOfTrial) this.undo('not_applied', failure);
        return isOfTrial;
      },
    });
  }

  undo(reason: UndoReason, failure: AgentError | null = null): void {
    const undoing = this.endUndone(reason, failure);
    if (undoing) void this.apply(undoing);
  }

  /** Ends a trial with the former settings. Returns what the parts must undo; null for nothing. */
  endUndone(reason: UndoReason, failure: AgentError | null = null): Change | null {
    const trial = this.#trial;
    if (!trial) return null;
    this.#end(trial);
    const { from } = trial.change;
    this.#inForce.raise(undoneEvent(trial.id, trial.keys, reason, failure));
    if (!trial.hasBegun) return null;
    const undoing = compareSettings(this.#inForce.settings, from);
    this.#inForce.use(from);
    return undoing;
  }

  /** Reports a trial that ended with an earlier process. */
  recover(): void {
    const { files, saved } = this.#inForce.local;
    const trial = files.readTrial();
    if (!trial) return;
    this.#inForce.secrets.allow(trial.keys);
    if (trial.id !== saved.trial) this.#inForce.raise(undoneEvent(trial.id, trial.keys, 'interrupted'));
    this.#end(null);
  }

  /** Stops watching. The next start reports a trial as interrupted. */
  close(): void {
    this.#trial?.end();
  }

  #begin(trial: Trial): void {
    if (this.#trial !== trial || !trial.begin()) return;
    this.#inForce.use(trial.change.to);
    void this.apply(trial.change);
  }

  async #watch(trial: Trial): Promise<void> {
    while (this.#trial === trial && !trial.ended.aborted) {
      const reason = trial.check(this.#inForce.isConnected());
      if (reason !== null) this.undo(reason);
      else await this.#clock.sleep(CHECK_EVERY_MS, trial.ended).catch(() => undefined);
    }
  }

  #end(trial: Trial | null): void {
    trial?.end();
    this.#trial = null;
    try {
      this.#inForce.local.files.deleteTrial();
    } catch {
      // The next start reports and deletes the remaining file.
    }
  }
}

const unknownTrial = (): AgentError =>
  new AgentError('config_trial_unknown', 'there is no such change on trial');

const busy = (message: string): AgentError => new AgentError('config_busy', message);
