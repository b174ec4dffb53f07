import { untilAborted } from '../../base/abort.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { ModelRef } from '../../contract/observation.ts';
import { installContext } from './failures.ts';
import type { PhaseDeps } from './install-phases.ts';
import { InstallRun } from './install-run.ts';
import { InstallJournal } from './journal.ts';
import { ModelSwitch } from './model-switch.ts';
import { beginInstall, findRefusal, plainRef, updateInstall } from './transitions.ts';
import type {
  InstallDeadlines,
  InstallerDeps,
  InstallerOptions,
  InstallerState,
  RequestedInstall,
} from './types.ts';
import type { InstallRecord, InstallRequest, SlotRef } from '../types.ts';

const DEFAULT_SHADOW = { frames: 5, patienceMs: 10 * 60_000 };
/** Pause after an unexpected error of an install, before the install is tried again. */
const RETRY_MS = 30_000;
const DEFAULT_DEADLINES: InstallDeadlines = {
  downloadMs: 24 * 3_600_000,
  verifyMs: 10 * 60_000,
  testMs: 30 * 60_000,
  forecastMs: 10 * 60_000,
};

/** What this process keeps in memory about the current install. Everything else is stored in the slots file. */
interface ActiveInstall {
  readonly updateId: string;
  readonly abort: AbortController;
  /** Resolves when the new model serves (analyses the frames). */
  readonly serves: PromiseWithResolvers<InstallRecord>;
  /** Resolves when the install has ended, with success or failure. Rejects when the agent stops first. */
  readonly ended: PromiseWithResolvers<undefined>;
}

/**
 * Installs models, one at a time, and rolls them back. install-run.ts is the state machine of one install;
 * docs/model-install.md describes each phase, what a power cut leaves, and why an install ends.
 */
export class Installer {
  readonly #factory: ModelRef;
  readonly #isPinned: boolean;
  readonly #deps: PhaseDeps;
  readonly #run: InstallRun;
  #activeInstall: ActiveInstall | null = null;
  #wake = new AbortController();
  #rollbackInProgress: Promise<ModelRef> | null = null;

  constructor(
    { factory, settings, shadow = DEFAULT_SHADOW, ...options }: InstallerOptions,
    deps: InstallerDeps,
  ) {
    const deadlines = { ...DEFAULT_DEADLINES, ...options.deadlines };
    this.#factory = factory.ref;
    this.#isPinned = settings.active !== null;
    this.#deps = {
      ...deps,
      journal: new InstallJournal(deps),
      modelSwitch: new ModelSwitch({ factory, testMs: deadlines.testMs }, deps),
    };
    this.#run = new InstallRun(
      { factory: factory.ref, settings, shadow, deadlines },
      { ...this.#deps, onServing: (install) => this.#activeInstallOf(install).serves.resolve(install) },
    );
  }

  /**
   * Stores the request; `run` then works on it. A request that is already stored is joined. A request for the model
   * that serves already succeeds at once. Throws `model_pinned`, `model_install_busy`, `model_refused_before`,
   * `request_invalid`, `model_space`, `store_failed`.
   */
  request(request: InstallRequest, { clearFailed }: { readonly clearFailed: boolean }): RequestedInstall {
    const { journal, modelSwitch } = this.#deps;
    if (this.#isPinned) throw pinnedError();
    const last = journal.state.install;
    if (last?.updateId === request.updateId) {
      if (last.name !== request.name || last.version !== request.version)
        throw new AgentError('request_invalid', 'this update id belongs to the install of another model');
      return { accepted: last, serves: this.#join(last) };
    }
    const serving = this.#activeModel;
    const { current } = journal;
    if (current !== null) {
      if (current.phase === 'probation' && request.digest === serving.digest)
        return { accepted: current, serves: Promise.resolve(current) };
      throw new AgentError('model_install_busy', `${current.name} ${current.version} is being installed`, {
        context: installContext(current),
      });
    }
    if (request.digest !== null && modelSwitch.isServing(request.digest))
      return this.#commitAtOnce(request, serving);
    const refusal = findRefusal(journal.state, request);
    if (refusal !== null && !clearFailed)
      throw new AgentError('model_refused_before', `the bundle failed here before: ${refusal.code}`, {
        context: { digest: refusal.digest, code: refusal.code },
      });
    return this.#begin(request, clearFailed);
  }

  #begin(request: InstallRequest, clearFailed: boolean): RequestedInstall {
    const { journal, clock, raise, log } = this.#deps;
    const nowMs = clock.nowMs();
    const { install } = journal.store((state) => beginInstall(state, request, { clearFailed, nowMs }));
    const accepted = install as InstallRecord;
    // `ModelStarts` may have ended an install while this object still watches its probation.
    this.#activeInstall?.abort.abort();
    const { serves } = this.#activeInstallOf(accepted);
    raise({
      type: 'model_install_started',
      severity: 'info',
      code: 'model_install_started',
      message: `${accepted.name} ${accepted.version} is being installed.`,
      context: installContext(accepted),
    });
    log.info(installContext(accepted), 'accepted an install');
    journal.reportProgress(accepted, null);
    this.#wake.abort();
    return { accepted, serves: serves.promise };
  }

  /** Stores an install that is committed at once, because the requested model serves already. */
  #commitAtOnce(request: InstallRequest, serving: SlotRef): RequestedInstall {
    const { journal, clock } = this.#deps;
    const nowMs = clock.nowMs();
    const { install } = journal.store((state) =>
      updateInstall(
        beginInstall(state, request, { clearFailed: false, nowMs }),
        { phase: 'committed', candidate: plainRef(serving), trusted: serving.trusted },
        nowMs,
      ),
    );
    const accepted = install as InstallRecord;
    return { accepted, serves: Promise.resolve(accepted) };
  }

  /** Returns a promise for an install that was requested before. */
  #join(install: InstallRecord): Promise<InstallRecord> {
    const { phase } = install;
    if (phase === 'probation' || phase === 'committed') return Promise.resolve(install);
    if (phase !== 'failed' && phase !== 'rolled_back') return this.#activeInstallOf(install).serves.promise;
    const { code, message } = install.reason ?? { code: 'internal', message: 'the install failed' };
    const failed = Promise.reject<InstallRecord>(new AgentError(code, message));
    failed.catch(() => undefined);
    return failed;
  }

  #activeInstallOf({ updateId }: InstallRecord): ActiveInstall {
    if (this.#activeInstall?.updateId === updateId) return this.#activeInstall;
    const serves = Promise.withResolvers<InstallRecord>();
    const ended = Promise.withResolvers<undefined>();
    // A rejected promise that no caller awaits must not end the process.
    for (const { promise } of [serves, ended]) promise.catch(() => undefined);
    this.#activeInstall = { updateId, abort: new AbortController(), serves, ended };
    return this.#activeInstall;
  }

  /**
   * Ends the current install. For an install on probation, this resolves when the former model serves again. Rejects
   * with `model_install_none` when there is no current install or it was committed before the abort.
   */
  async abort(message = 'an operator aborted the install'): Promise<void> {
    const { journal } = this.#deps;
    const install = journal.current;
    if (install === null) throw new AgentError('model_install_none', 'there is no current install');
    const active = this.#activeInstallOf(install);
    active.abort.abort(new AgentError('model_install_aborted', message));
    await active.ended.promise;
    const last = journal.state.install;
    if (last?.updateId === install.updateId && last.phase === 'committed')
      throw new AgentError('model_install_none', 'the install was committed before the abort');
  }

  /**
   * Returns to the previous model; needs no network. Resolves when it serves. The factory model serves instead if there is
   * no previous model, as after a rollback, or if it does not start. A current install is aborted first. Rejects with
   * `model_no_previous` when the factory model serves, `model_pinned`, or the error that prevented the change.
   */
  rollback(signal: AbortSignal): Promise<ModelRef> {
    this.#rollbackInProgress ??= this.#performRollback(signal).finally(() => {
      this.#rollbackInProgress = null;
    });
    return this.#rollbackInProgress;
  }

  async #performRollback(signal: AbortSignal): Promise<ModelRef> {
    const { modelSwitch, journal, raise, log, onState } = this.#deps;
    if (this.#isPinned) throw pinnedError();
    const install = journal.current;
    if (install !== null) {
      await this.abort('a rollback aborted the install').catch((thrown: unknown) => {
        if (asAgentError(thrown).code !== 'model_install_none') throw thrown;
      });
      const last = journal.state.install;
      if (last?.updateId === install.updateId && last.phase === 'rolled_back')
        return plainRef(this.#activeModel);
    }
    const from = plainRef(this.#activeModel);
    const model = await modelSwitch.runExclusive(signal, () => modelSwitch.returnToPrevious(signal));
    onState();
    raise({
      type: 'model_rollback',
      severity: 'warning',
      code: 'model_rollback',
      message: `${model.name} ${model.version} serves again.`,
      context: { ...model, from },
    });
    log.warn({ from, to: model }, 'an operator rolled the model back');
    await this.#deps.slots.collect();
    return model;
  }

  /** Starts the serving model again in a new process; no frame is lost. When that fails, the old process continues. */
  async reload(signal: AbortSignal): Promise<ModelRef> {
    const { modelSwitch, journal, onState } = this.#deps;
    const { current } = journal;
    if (current !== null && current.phase !== 'probation')
      throw new AgentError('model_install_busy', 'a model is being installed', {
        context: installContext(current),
      });
    return modelSwitch.runExclusive(signal, async () => {
      const model = await modelSwitch.reload(this.#isPinned, signal);
      onState();
      return model;
    });
  }

  /** False while another model serves than that of the active slot, which did not start. */
  get isActiveServing(): boolean {
    const { modelSwitch } = this.#deps;
    return this.#isPinned || modelSwitch.isServing(this.#activeModel.digest);
  }

  /** Completes an install that a restart interrupted, then each requested install. Rejects when the signal fires. */
  async run(signal: AbortSignal): Promise<never> {
    const { journal, clock, log, slots } = this.#deps;
    if (journal.current === null) await slots.collect();
    for (;;) {
      signal.throwIfAborted();
      this.#wake = new AbortController();
      const install = journal.current;
      if (install === null) {
        await untilAborted(AbortSignal.any([signal, this.#wake.signal]));
        continue;
      }
      try {
        await this.#complete(install, signal);
      } catch (thrown) {
        signal.throwIfAborted();
        log.error({ err: asAgentError(thrown), ...installContext(install) }, 'install failed, trying again');
        await clock.sleep(RETRY_MS, signal);
      }
    }
  }

  async #complete(install: InstallRecord, signal: AbortSignal): Promise<void> {
    const resumed = this.#activeInstall?.updateId !== install.updateId;
    const active = this.#activeInstallOf(install);
    try {
      await this.#run.run(install, resumed, signal, active.abort.signal);
    } catch (thrown) {
      const error = asAgentError(thrown);
      active.serves.reject(error);
      active.ended.reject(error);
      throw thrown;
    }
    const last = this.#deps.journal.state.install;
    const reason = last?.updateId === install.updateId ? last.reason : null;
    active.serves.reject(
      reason === null
        ? new AgentError('model_install_none', 'the install has ended')
        : new AgentError(reason.code, reason.message),
    );
    active.ended.resolve(undefined);
    if (this.#activeInstall === active) this.#activeInstall = null;
  }

  get #activeModel(): SlotRef {
    return this.#deps.modelSwitch.orFactory(this.#deps.journal.state.active);
  }

  state(): InstallerState {
    const { current, state } = this.#deps.journal;
    return {
      factory: this.#factory,
      install: current === null ? state.install : this.#deps.journal.withReceivedBytes(current),
      pinned: this.#isPinned,
    };
  }
}

const pinnedError = (): AgentError =>
  new AgentError('model_pinned', 'model.active pins the model that serves');
