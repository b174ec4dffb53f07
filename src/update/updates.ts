import { randomUUID } from 'node:crypto';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { AgentInstallArgs, AgentVersions } from '../contract/agent-update.ts';
import type { AgentUpdating } from '../contract/api.ts';
import type { Observation } from '../contract/observation.ts';
import type { UpdaterState } from '../contract/update-files.ts';
import { UpdateJournal, type UpdateJournalDeps } from './journal.ts';
import type { ReplyingCommands } from './replies.ts';
import { checkInstall, rollbackTarget, toInstallSource } from './requests.ts';
import { UpdaterSilence } from './silence.ts';
import { fromWireDigest, toAgentUpdate, toAgentVersions, type AutoCheck } from './state-view.ts';
import {
  beginUpdate,
  followUpdater,
  isUnknownToUpdater,
  startedEvent,
  toPhase,
  toReplaced,
} from './transitions.ts';
import { TrialWatch, type TrialWatchDeps } from './trial-watch.ts';
import {
  isRunning,
  type RunningVersion,
  type UpdateIds,
  type UpdateRecord,
  type WantedUpdate,
} from './types.ts';
import { UpdateRun, type UpdateRunDeps } from './update-run.ts';

export type UpdatesDeps = UpdateJournalDeps & TrialWatchDeps & Pick<UpdateRunDeps, 'fetcher' | 'syncedNowMs'>;

/** Pause before the next step, ms: while an update is under way, without one, and after an unexpected error. */
const POLL_MS = { busy: 1000, idle: 30_000, error: 30_000 };

/**
 * The updates of the agent itself, as far as the agent may do them: it downloads and verifies a version, hands it over to
 * the updater (which is root), follows the updater's state, and confirms the version on trial. One update at a time.
 *
 * INVARIANTS
 * - Each phase is stored before its work begins. The end is stored before the event about it is raised.
 * - The process that began an update is usually not the one that ends it: everything is read from the files again.
 * - Only the version that runs on trial confirms it.
 */
export class Updates {
  readonly #running: RunningVersion;
  readonly #deps: UpdatesDeps;
  readonly #run: UpdateRun;
  readonly #trial: TrialWatch;
  readonly #journal: UpdateJournal;
  readonly #silence: UpdaterSilence;
  #updater: UpdaterState | null;
  #check: AutoCheck | null = null;
  #wake = new AbortController();

  constructor({ running }: { readonly running: RunningVersion }, deps: UpdatesDeps) {
    this.#running = running;
    this.#deps = deps;
    this.#journal = new UpdateJournal(deps);
    this.#updater = deps.files.readState();
    this.#silence = new UpdaterSilence(deps);
    this.#trial = new TrialWatch(deps);
    this.#run = new UpdateRun({
      ...deps,
      store: (record) => this.#journal.store(record),
      reportBytes: (record, { bytes, totalBytes }) =>
        this.#journal.reportBytes({ ...record, bytes, totalBytes }),
    });
  }

  state(): AgentVersions {
    return toAgentVersions({
      running: this.#running,
      updater: this.#updater,
      record: this.#journal.record,
      missing: this.#trial.missing,
      isAuto: this.#deps.settings().auto,
      check: this.#check,
    });
  }

  /** True when another update may begin. */
  get isIdle(): boolean {
    return this.#updater !== null && this.#updater.trial === null && this.#journal.current === null;
  }

  get lastRecord(): UpdateRecord | null {
    return this.#journal.record;
  }

  get updater(): UpdaterState | null {
    return this.#updater;
  }

  get running(): RunningVersion {
    return this.#running;
  }

  /** Call this for each stored observation. */
  noteObservation({ status }: Pick<Observation, 'status'>): void {
    // Without a frame of the camera, an observation proves nothing about the version.
    if (status === 'measured' || status === 'rejected') this.#trial.noteObservation();
  }

  noteCheck(check: AutoCheck): void {
    this.#check = check;
    this.#deps.onChanged();
  }

  /** Sends the result to a command of an earlier process of the agent when its update has ended. */
  resume(commands: ReplyingCommands): void {
    const { record, replies } = this.#journal;
    if (record !== null) replies.resume(record, commands);
  }

  /**
   * Starts an update to another version. `ends` settles when the version is confirmed, or the update has failed; when the
   * agent stops before, it never settles. Throws `update_*` and `store_failed`.
   */
  install(args: AgentInstallArgs, ids?: UpdateIds): AgentUpdating {
    const joined = this.#join(ids);
    if (joined) return joined;
    const { version, source } = args;
    const digest = args.digest === undefined ? null : fromWireDigest(args.digest);
    const wanted: WantedUpdate = {
      action: 'install',
      automatic: false,
      version,
      digest,
      source: toInstallSource(source),
      ...(ids ? { ids } : {}),
    };
    return this.begin(wanted);
  }

  /** Returns to the former version: during a trial to the one before it, else to the last confirmed one. */
  rollback(ids?: UpdateIds): AgentUpdating {
    const joined = this.#join(ids);
    if (joined) return joined;
    const updater = this.#requireUpdater();
    const { current } = this.#journal;
    if (current !== null && updater.trial === null) throw busy(current);
    const { version, digest } = rollbackTarget(updater, this.#running);
    const common = { action: 'rollback', automatic: false, source: null } as const;
    const wanted: WantedUpdate = { ...common, version, digest, ...(ids ? { ids } : {}) };
    return this.#accept(wanted);
  }

  /** As `install`, also for updates that the agent starts by itself. */
  begin(wanted: WantedUpdate): AgentUpdating {
    const updater = this.#requireUpdater();
    const { current } = this.#journal;
    if (current !== null) throw busy(current);
    if (updater.trial !== null) throw new AgentError('update_busy', 'a version of the agent is on trial');
    const runs = checkInstall(wanted, { updater, running: this.#running, settings: this.#deps.settings() });
    if (!runs) return this.#accept(wanted);
    // The version runs already.
    const { clock } = this.#deps;
    const begun = beginUpdate(wanted, wanted.ids?.updateId ?? randomUUID(), clock.nowMs());
    const record = this.#journal.store(toPhase(begun, 'committed', clock.nowMs()));
    return { update: toAgentUpdate(record), ends: this.#journal.replies.wait(record) };
  }

  #join(ids: UpdateIds | undefined): AgentUpdating | null {
    const { record } = this.#journal;
    if (ids === undefined || record?.id !== ids.updateId) return null;
    return { update: toAgentUpdate(record, this.#trial.missing), ends: this.#journal.replies.wait(record) };
  }

  #accept(wanted: WantedUpdate): AgentUpdating {
    const { clock, log, raise } = this.#deps;
    const id = wanted.ids?.updateId ?? randomUUID();
    const { current: replaced } = this.#journal;
    // A rollback during a trial replaces the update that led to the trial.
    if (replaced !== null) this.#journal.store(toReplaced(replaced, clock.nowMs()));
    const record = this.#journal.store(beginUpdate(wanted, id, clock.nowMs()));
    raise(startedEvent(record));
    log.info({ update_id: record.id, version: record.version, action: record.action }, 'accepted an update');
    this.#wake.abort();
    return { update: toAgentUpdate(record), ends: this.#journal.replies.wait(record) };
  }

  #requireUpdater(): UpdaterState {
    const { files } = this.#deps;
    if (!files.hasUpdater)
      throw new AgentError('update_unavailable', 'this installation of the agent has no updater');
    this.#updater = files.readState();
    if (this.#updater === null)
      throw new AgentError('update_unavailable', "the updater's state.json is missing or damaged");
    return this.#updater;
  }

  /** Works on the current update, and watches a trial, until the signal fires. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, log } = this.#deps;
    for (;;) {
      signal.throwIfAborted();
      this.#wake = new AbortController();
      let pauseMs = POLL_MS.error;
      try {
        await this.#step(signal);
        pauseMs = this.isIdle || this.#updater === null ? POLL_MS.idle : POLL_MS.busy;
      } catch (thrown) {
        signal.throwIfAborted();
        log.error({ err: asAgentError(thrown) }, 'update step failed, trying again');
      }
      const wake = AbortSignal.any([signal, this.#wake.signal]);
      await clock.sleep(pauseMs, wake).catch(() => signal.throwIfAborted());
    }
  }

  async #step(signal: AbortSignal): Promise<void> {
    const { current } = this.#journal;
    if (current !== null && current.phase !== 'installing' && current.phase !== 'trial')
      await this.#handOver(current, signal);
    await this.#readUpdater();
    const trial = this.#updater?.trial ?? null;
    if (trial === null || trial.phase === 'returning' || !isRunning(this.#running, trial)) return;
    if (await this.#trial.check(trial, signal)) this.#deps.onChanged();
  }

  async #handOver(record: UpdateRecord, signal: AbortSignal): Promise<void> {
    const { files, fetcher } = this.#deps;
    this.#silence.reset();
    try {
      await this.#run.toHandOver(record, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      this.#journal.fail(asAgentError(thrown));
      await fetcher.discard(record.id);
      await files.removeArchives();
    }
  }

  /** Reads the state of the updater, and brings the record up to it. */
  async #readUpdater(): Promise<void> {
    const { files, onChanged } = this.#deps;
    const state = files.readState();
    const hasChanged = JSON.stringify(state) !== JSON.stringify(this.#updater);
    this.#updater = state;
    const { current } = this.#journal;
    if (state !== null && current !== null) await this.#follow(current, state);
    if (hasChanged) onChanged();
  }

  async #follow(record: UpdateRecord, state: UpdaterState): Promise<void> {
    const { clock, files } = this.#deps;
    const next = followUpdater(record, state, clock.nowMs());
    if (next !== record) {
      this.#journal.store(next);
      if (next.phase !== 'installing') await files.removeArchives();
      return;
    }
    if (record.phase !== 'installing') return;
    this.#silence.note(state.working?.id === record.id ? state.working.step : null);
    if (this.#silence.isTooLong) {
      this.#journal.fail(new AgentError('update_no_answer', 'the updater did not finish the update'));
      // The updater must not begin with it later.
      files.removeRequest();
      await files.removeArchives();
    } else if (
      isUnknownToUpdater(record, state) &&
      // A power cut may have come between the record and the request.
      (!files.hasRequest(record.id) || this.#silence.takeReminder())
    )
      await this.#run.handOver(record);
  }
}

const busy = ({ version, phase }: UpdateRecord): AgentError =>
  new AgentError('update_busy', `the update to version ${version} is under way (${phase})`);
