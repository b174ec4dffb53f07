import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from './clock.ts';
import type { ModelInstalling } from './contract/api.ts';
import type {
  ModelAborted,
  ModelInstallArgs,
  ModelInstallResult,
  ModelProgress,
  ModelServes,
} from './contract/model.ts';
import type { ModelRef } from './contract/observation.ts';
import type { ModelState } from './contract/states.ts';
import { AgentError, asAgentError, type ErrorCode } from './errors.ts';
import type { Log } from './log.ts';
import { installView, modelState, shadowView } from './model-view.ts';
import type { InstallerState, RequestedInstall } from './model/install-types.ts';
import { SlotStore } from './model/slot-store.ts';
import type { InstallRecord, InstallRequest } from './model/types.ts';
import type { KeyValue, RaiseEvent } from './store/types.ts';

/** What this needs of the `Installer`. */
export interface InstallerPort {
  request(request: InstallRequest, options: { readonly clearFailed: boolean }): RequestedInstall;
  rollback(signal: AbortSignal): Promise<ModelRef>;
  abort(): Promise<void>;
  reload(signal: AbortSignal): Promise<ModelRef>;
  run(signal: AbortSignal): Promise<void>;
  startFailed(error: AgentError, gaveWay: boolean): void;
  state(): InstallerState;
}

/** The serving model, as far as its state is told. */
export interface ServingView {
  readonly model: ModelRef | null;
  readonly trusted: boolean;
  stats(): { readonly ready: boolean };
}

/** A command of an earlier run whose install goes on, or has ended meanwhile. */
export interface ResumedInstall {
  readonly id: string;
  readonly receivedAtMs: number;
  readonly running: Promise<ModelInstallResult>;
}

export interface ModelsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly memory: KeyValue;
  readonly raise: RaiseEvent;
  readonly serving: () => ServingView;
  /** Something of the state has changed. */
  readonly onState: () => void;
  /** For `model/progress`. */
  readonly onProgress: (progress: ModelProgress) => void;
}

/** In the store's memory, by the install's id: the command that waits for its end. */
const COMMAND_KEY = 'model.install.';

/**
 * Which model runs, and what changes that: slots, installs, and the commands that wait for them. Between `open` and
 * `begin` only the slots can be read, for a model must be chosen by them before anything can be installed.
 */
export class Models {
  readonly slots: SlotStore;
  readonly #deps: ModelsDeps;
  #installer: InstallerPort | null = null;
  #progress: ModelProgress | null = null;
  /** Starts that failed before there was an installer to be told. */
  #failedStarts: (readonly [AgentError, boolean])[] = [];
  /** Those who wait for the installs that went on after a restart. */
  readonly #waiting = new Map<string, (end: ModelInstallResult | AgentError) => void>();

  /** Reads the slots; a file that is broken is set aside, and told. */
  static open(options: { readonly stateDir: string }, deps: ModelsDeps): Models {
    const { log, raise } = deps;
    const slots = SlotStore.open(join(options.stateDir, 'models'), { log });
    if (slots.damaged) {
      const { code, message, context } = slots.damaged;
      log.error({ err: slots.damaged }, 'the slots of the models are lost');
      raise({ type: 'model_slots_damaged', severity: 'error', code, message, context });
    }
    return new Models(slots, deps);
  }

  private constructor(slots: SlotStore, deps: ModelsDeps) {
    this.slots = slots;
    this.#deps = deps;
  }

  /** From here on models can be installed. */
  begin(installer: InstallerPort): void {
    this.#installer = installer;
    for (const [error, gaveWay] of this.#failedStarts.splice(0)) installer.startFailed(error, gaveWay);
  }

  /** An installed model could not be opened or started at boot. */
  startFailed(error: AgentError, gaveWay: boolean): void {
    if (this.#installer) this.#installer.startFailed(error, gaveWay);
    else this.#failedStarts.push([error, gaveWay]);
  }

  /** The command whose install was in hand when the agent ended, if there is one: its answer is still owed. */
  owed(): ResumedInstall | null {
    const { install } = this.slots.state;
    const id = install === null ? null : this.#deps.memory.get(COMMAND_KEY + install.updateId);
    if (install === null || id === null) return null;
    const { updateId, startedAtMs } = install;
    const running = new Promise<ModelInstallResult>((resolve, reject) => {
      this.#waiting.set(updateId, (end) => (end instanceof AgentError ? reject(end) : resolve(end)));
    });
    const forget = (): void => this.#forget(updateId);
    running.then(forget, forget);
    this.#tellWaiting();
    return { id, receivedAtMs: startedAtMs, running };
  }

  /** Works until the signal aborts: goes on with what a restart left. */
  run(signal: AbortSignal): Promise<void> {
    return this.#ready().run(signal);
  }

  /** To be called after each change of phase or slots. */
  changed(): void {
    this.#tellWaiting();
    this.#deps.onState();
  }

  /** To be called with how far the install has come. */
  progressed(progress: ModelProgress): void {
    const before = this.#progress;
    this.#progress = progress;
    this.#deps.onProgress(progress);
    if (step(before) !== step(progress)) this.#deps.onState();
  }

  state(): ModelState {
    const serving = this.#deps.serving();
    const installer = this.#installer?.state();
    return modelState({
      active: serving.model,
      factory: installer?.factory ?? null,
      ready: serving.stats().ready,
      trusted: serving.trusted,
      pinned: installer?.pinned ?? false,
      slots: installer ? { ...this.slots.state, install: installer.install } : this.slots.state,
      progress: this.#progress,
    });
  }

  /** Begins an install, and says when its model serves. As `AgentApi.installModel`. */
  install(
    args: ModelInstallArgs,
    ids?: { readonly updateId: string; readonly commandId: string },
  ): ModelInstalling {
    const { memory } = this.#deps;
    const { name, version, digest = null, source, clear_failed: clearFailed = false } = args;
    const updateId = ids?.updateId ?? randomUUID();
    const request: InstallRequest = {
      updateId,
      name,
      version,
      digest,
      source:
        source.kind === 'mqtt'
          ? { kind: 'mqtt', sizeBytes: source.size_bytes, digest: source.digest }
          : source,
    };
    // Before it is stored: after a power cut it must be known whom to answer.
    if (ids) memory.set(COMMAND_KEY + updateId, ids.commandId);
    const forget = (): void => {
      if (ids) this.#forget(updateId);
    };
    try {
      const { accepted, serves } = this.#ready().request(request, { clearFailed });
      serves.then(forget, forget);
      return { install: installView(accepted), serves: serves.then(resultOf) };
    } catch (thrown) {
      forget();
      throw thrown;
    }
  }

  async rollback(signal: AbortSignal): Promise<ModelServes> {
    return { model: bare(await this.#ready().rollback(signal)) };
  }

  async abort(): Promise<ModelAborted> {
    await this.#ready().abort();
    return { aborted: true };
  }

  async reload(signal: AbortSignal): Promise<ModelServes> {
    return { model: bare(await this.#ready().reload(signal)) };
  }

  #ready(): InstallerPort {
    if (this.#installer) return this.#installer;
    throw new AgentError('model_install_busy', 'the agent is starting');
  }

  #tellWaiting(): void {
    const { install } = this.slots.state;
    for (const [updateId, waiting] of this.#waiting) {
      const end = install?.updateId === updateId ? endOf(install) : interrupted();
      if (end === null) continue;
      this.#waiting.delete(updateId);
      waiting(end);
    }
  }

  /** Not while the install is in hand: the agent is stopping then, and the answer is owed by the next run. */
  #forget(updateId: string): void {
    const { install } = this.slots.state;
    if (install?.updateId === updateId && endOf(install) === null) return;
    // The answer is stored first: whoever awaits it has done so by then.
    setImmediate(() => {
      try {
        this.#deps.memory.delete(COMMAND_KEY + updateId);
      } catch (thrown) {
        this.#deps.log.warn({ code: asAgentError(thrown).code }, 'the command of an install not forgotten');
      }
    });
  }
}

/** What the command is answered with; null while there is nothing to say. */
function endOf(install: InstallRecord): ModelInstallResult | AgentError | null {
  switch (install.phase) {
    case 'requested':
    case 'downloading':
    case 'verifying':
    case 'testing':
    case 'shadow':
      return null;
    case 'probation':
    case 'committed':
      return resultOf(install);
    case 'failed':
    case 'rolled_back': {
      const code: ErrorCode = install.reason?.code ?? 'model_candidate_failed';
      return new AgentError(code, install.reason?.message ?? 'the install ended badly');
    }
  }
}

const resultOf = (install: InstallRecord): ModelInstallResult => {
  const { updateId, phase, candidate, name, version, digest, shadow } = install;
  const model = candidate ?? { name, version, digest: digest ?? '' };
  return { update_id: updateId, phase, model: bare(model), shadow: shadow && shadowView(shadow) };
};

const interrupted = (): AgentError =>
  new AgentError('command_interrupted', 'the agent ended before the install was stored');

const bare = ({ name, version, digest }: ModelRef): ModelRef => ({ name, version, digest });

/** Each step is worth a new retained state. */
const step = (progress: ModelProgress | null): string =>
  progress === null
    ? ''
    : `${progress.update_id} ${progress.phase} ${Math.floor((progress.percent ?? 0) / 5)}`;
