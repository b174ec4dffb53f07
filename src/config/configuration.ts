import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { ConfigChange, ConfigConfirmed, ConfigView, Deferred, Restarting } from '../contract/config.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { EventDraft } from '../contract/states.ts';
import { changeBetween, type Change } from './change.ts';
import { confirmedEvent, overlayDroppedEvent, undoneEvent } from './configuration-events.ts';
import { answerOf, viewOf } from './configuration-view.ts';
import { readLocal, type LocalConfiguration } from './local.ts';
import type { SettingsInput } from './load.ts';
import { patched } from './patch.ts';
import { configDigest } from './redact.ts';
import type { Settings } from './schema.ts';
import { checkPatch, settingsWith } from './patch-check.ts';
import { Trial, type UndoReason } from './trial.ts';

/** The running parts, as far as a change of the settings concerns them. */
export interface SettingsHost {
  /** Takes over what needs no restart. Resolves when it is under way in every part; must not wait for the network. */
  apply(change: Change): Promise<void>;
  /** Asks for a new start of all parts. */
  restart(): void;
  connected(): boolean;
  raise(event: EventDraft): void;
}

export interface ConfigurationOptions extends Omit<SettingsInput, 'overlay' | 'document'> {
  /** How long a change on trial may be without the broker, seconds. */
  readonly brokerPatienceS?: number;
  /** How long an answer may take before the change begins without it, ms. */
  readonly answerPatienceMs?: number;
}

const BROKER_PATIENCE_S = 60;
const ANSWER_PATIENCE_MS = 3000;
const LOOK_EVERY_MS = 500;
const IN_FORCE_WITHIN_MS = 5000;
const TRY_AGAIN_MS = 100;

/**
 * The settings in force: what the device says, and over it what remote commands have set. A change runs on trial and is
 * undone by itself. Lives as long as the process, while the parts come and go.
 *
 * INVARIANTS: the overlay on the disk is a confirmed one, whatever happens; at most one trial; a trial never outlives the
 * process.
 */
export class Configuration {
  readonly #options: ConfigurationOptions;
  readonly #clock: Clock;
  #local: LocalConfiguration;
  #settings: Settings;
  #trial: Trial | null = null;
  #host: SettingsHost | null = null;
  /** Raised when there is someone to raise them. */
  #events: EventDraft[] = [];
  #settled = false;

  /** Reads the configuration, and writes nothing yet. Throws `config_invalid`. */
  static open(options: ConfigurationOptions, deps: { readonly clock: Clock }): Configuration {
    return new Configuration(options, deps, readLocal(options));
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

  /** What the parts are to run with. */
  get settings(): Settings {
    return this.#settings;
  }

  /**
   * The parts run with these settings and hold the state folder. When others are in force by now, they are told at once.
   * Returns how to leave.
   */
  attach(host: SettingsHost, running: Settings): () => void {
    this.#host = host;
    if (!this.#settled) this.#settle();
    for (const event of this.#events.splice(0)) host.raise(event);
    if (running === this.#settings) this.#trial?.applied();
    else void this.#bring(changeBetween(running, this.#settings));
    return () => {
      if (this.#host === host) this.#host = null;
    };
  }

  view(): ConfigView {
    return viewOf({
      settings: this.#settings,
      overlay: this.#local.saved.overlay,
      trial: this.#trial,
      connected: this.#connected(),
    });
  }

  /**
   * Lays a patch over the overlay and puts the outcome on trial. Throws `config_busy` while another one is, `config_locked`
   * for keys that are not to be set remotely, `config_invalid` with every other fault, `store_failed`.
   */
  set(patch: unknown, withinS: number): Deferred<ConfigChange> {
    if (this.#trial) throw busy('another change is on trial');
    const { saved, files, withOverlay } = this.#local;
    const known = new Set(this.#settings.cameras.map(({ id }) => id));
    const overlay = patched(saved.overlay, checkPatch(patch, known));
    const settings = settingsWith(overlay, withOverlay);
    // Records that a smaller bound deletes cannot be brought back: the store's bounds are not tried.
    const tried: Settings = Object.freeze({ ...settings, store: this.#settings.store });
    const change = changeBetween(this.#settings, tried);
    const held = changeBetween(tried, settings);
    if (change.keys.length + held.keys.length === 0) {
      const kept = { overlay, trial: saved.trial };
      files.confirm(kept);
      this.#local = { ...this.#local, saved: kept };
      return { answer: answerOf(null, change, held), begin: () => undefined };
    }
    const { brokerPatienceS = BROKER_PATIENCE_S } = this.#options;
    const connected = this.#connected();
    const trial = new Trial(
      { id: randomUUID(), change, held, overlay, withinS, brokerPatienceS, connected },
      { clock: this.#clock },
    );
    files.writeTrial({ id: trial.id, keys: trial.keys });
    this.#trial = trial;
    void this.#watch(trial);
    const answer = answerOf({ trial, withinS }, change, held);
    return { answer, begin: this.#soon(() => this.#begin(trial)) };
  }

  /**
   * Keeps the change on trial for good; `id` may be left out. Throws `config_trial_unknown` when there is none, or
   * another one, `config_busy` while it is not yet in force, `store_failed`.
   */
  confirm(id: string | null): ConfigConfirmed {
    const trial = this.#trial;
    const { saved, files } = this.#local;
    // Again, for the answer was lost.
    if (id !== null && id === saved.trial && trial?.id !== id)
      return { trial: id, changed: [], config_digest: configDigest(this.#settings) };
    if (!trial || (id !== null && id !== trial.id))
      throw new AgentError('config_trial_unknown', 'there is no such change on trial');
    if (!trial.inForce(this.#connected())) throw busy('the change is not in force yet');
    const confirmed = { overlay: trial.overlay, trial: trial.id };
    files.confirm(confirmed);
    this.#end(trial);
    this.#local = { ...this.#local, saved: confirmed };
    this.#raise(confirmedEvent(trial.id, trial.keys));
    if (trial.held.keys.length > 0) {
      this.#settings = trial.held.to;
      void this.#bring(trial.held);
    }
    return { trial: trial.id, changed: [...trial.keys], config_digest: configDigest(this.#settings) };
  }

  /** As `confirm`, but waits some seconds for the change to come into force: word of it may have come before. */
  async confirmSoon(id: string | null, signal: AbortSignal): Promise<ConfigConfirmed> {
    const untilMonoMs = this.#clock.monoMs() + IN_FORCE_WITHIN_MS;
    for (;;) {
      try {
        return this.confirm(id);
      } catch (thrown) {
        const early = asAgentError(thrown).code === 'config_busy' && this.#clock.monoMs() < untilMonoMs;
        if (!early) throw thrown;
      }
      await this.#clock.sleep(TRY_AGAIN_MS, signal);
    }
  }

  /** A new start of all parts, with the local configuration read anew. Throws `config_invalid` instead of failing then. */
  restart(): Deferred<Restarting> {
    const trial = this.#trial;
    const fresh = trial ? null : readLocal(this.#options);
    if (fresh?.broken != null)
      throw new AgentError('config_invalid', `the overlay cannot be used: ${fresh.broken}`);
    const begin = (): void => {
      if (fresh && !this.#trial) {
        this.#local = fresh;
        this.#settings = fresh.settings;
      }
      this.#host?.restart();
    };
    return { answer: { restarting: true }, begin: this.#soon(begin) };
  }

  /** The parts do not start with the settings. True when a change on trial was undone, so that they may with others. */
  startFailed(): boolean {
    if (!this.#trial) return false;
    this.#undo('start_failed');
    return true;
  }

  /** Ends the watch over a trial; the next start tells that it was interrupted. */
  close(): void {
    this.#trial?.end();
    this.#host = null;
  }

  #connected(): boolean {
    return this.#host?.connected() ?? false;
  }

  #begin(trial: Trial): void {
    if (this.#trial !== trial || !trial.begin()) return;
    this.#settings = trial.change.to;
    void this.#bring(trial.change);
  }

  /** Makes the parts take a change over. Without a host the next one is told when it comes. */
  async #bring(change: Change): Promise<void> {
    const host = this.#host;
    if (!host) return;
    if (change.restart.length > 0) {
      host.restart();
      return;
    }
    try {
      await host.apply(change);
      if (this.#settings === change.to) this.#trial?.applied();
    } catch {
      if (this.#trial?.change === change) this.#undo('not_applied');
      // The former settings worked once: a new start brings them back.
      else host.restart();
    }
  }

  async #watch(trial: Trial): Promise<void> {
    while (this.#trial === trial && !trial.ended.aborted) {
      const reason = trial.look(this.#connected());
      if (reason !== null) this.#undo(reason);
      else await this.#clock.sleep(LOOK_EVERY_MS, trial.ended).catch(() => undefined);
    }
  }

  #undo(reason: UndoReason): void {
    const trial = this.#trial;
    if (!trial) return;
    this.#end(trial);
    const { from } = trial.change;
    this.#raise(undoneEvent(trial.id, trial.keys, reason));
    if (!trial.begun) return;
    const back = changeBetween(this.#settings, from);
    this.#settings = from;
    void this.#bring(back);
  }

  #end(trial: Trial): void {
    trial.end();
    this.#trial = null;
    try {
      this.#local.files.dropTrial();
    } catch {
      // It stays on the disk and is told of, and dropped, at the next start.
    }
  }

  #raise(event: EventDraft): void {
    if (this.#host) this.#host.raise(event);
    else this.#events.push(event);
  }

  /** What an earlier run left behind. Done when the state folder is known to be this process's own. */
  #settle(): void {
    this.#settled = true;
    const { files, broken, saved } = this.#local;
    if (broken !== null) this.#events.push(overlayDroppedEvent(files.setAside(broken, this.#clock.nowMs())));
    const trial = files.readTrial();
    if (!trial) return;
    if (trial.id !== saved.trial) this.#events.push(undoneEvent(trial.id, trial.keys, 'interrupted'));
    try {
      files.dropTrial();
    } catch {
      // As above.
    }
  }

  /** Once: when it is called, or some seconds from now. */
  #soon(work: () => void): () => void {
    let done = false;
    const once = (): void => {
      if (done) return;
      done = true;
      work();
    };
    void this.#clock.sleep(this.#options.answerPatienceMs ?? ANSWER_PATIENCE_MS).then(once);
    return once;
  }
}

const busy = (why: string): AgentError => new AgentError('config_busy', why);
