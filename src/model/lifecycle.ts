import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { Backoff } from '../base/retry.ts';
import type { Settings } from '../config/schema.ts';
import type { ModelInstalling } from '../contract/api.ts';
import type { ModelAborted, ModelInstallArgs, ModelProgress, ModelServes } from '../contract/model.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { ModelState } from '../contract/states.ts';
import type { KeyValue, RaiseEvent } from '../store/types.ts';
import type { Installer } from './install/installer.ts';
import { PendingReplies, type ReplyingCommands } from './install/pending-replies.ts';
import { ModelStarts } from './install/model-starts.ts';
import { plainRef } from './install/transitions.ts';
import type { SlotStore } from './slots/slot-store.ts';
import { toInstallResult, toModelInstall, toModelState } from './state-view.ts';
import type { InstallRequest } from './types.ts';

/** The part of the model server that this class uses. */
export interface RunningModel {
  readonly model: ModelRef | null;
  readonly trusted: boolean;
  /** Resolves when a model runs. */
  start(signal: AbortSignal): Promise<void>;
  stats(): { readonly ready: boolean };
}

export interface ModelLifecycleDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly memory: KeyValue;
  readonly slots: SlotStore;
  readonly installer: Installer;
  readonly server: RunningModel;
  /** Called when the state of the models changed for a reason other than an install. */
  readonly onChanged: () => void;
}

/**
 * An install that a restart interrupted continues when the model of the last run has started, or after this time, ms.
 */
const START_GRACE_MS = 120_000;
const SWITCH_BACK_RETRY = { minMs: 2_000, maxMs: 300_000, resetAfterMs: Infinity };
/** `model/state` is published again whenever a download has advanced by this many percent. */
const PROGRESS_STEP_PERCENT = 5;

/** Controls which model runs: at the start of the agent, by installs, and for the commands that wait for installs. */
export class ModelLifecycle {
  readonly #settings: Settings['model'];
  readonly #deps: ModelLifecycleDeps;
  readonly #running = new AbortController();
  readonly #starts: ModelStarts;
  readonly #pending: PendingReplies;
  #progress: ModelProgress | null = null;
  /** True when the slots were changed back to the former model while the new model was still starting. */
  #wasSentBack = false;

  constructor({ model }: Pick<Settings, 'model'>, deps: ModelLifecycleDeps) {
    const { slots } = deps;
    this.#settings = model;
    this.#deps = deps;
    this.#starts = new ModelStarts(deps);
    this.#pending = new PendingReplies({ ...deps, install: () => slots.state.install });
  }

  /** Counts a start of the model in the active slot. Call this before the slots are read to open a model. */
  countStart(): void {
    const { slots, log, raise } = this.#deps;
    if (slots.damaged) {
      const { code, message, context } = slots.damaged;
      log.error({ err: slots.damaged }, 'the model slots file is damaged');
      raise({ type: 'model_slots_damaged', severity: 'error', code, message, context });
    }
    this.#starts.noteStart();
  }

  /**
   * Call this when an installed model could not be opened or started. `fellBack`: true when another model is tried
   * next, false when the same model is tried again.
   */
  startFailed(error: AgentError, fellBack: boolean): void {
    const wasSentBack = this.#starts.noteFailure(error, fellBack);
    if (!fellBack) this.#wasSentBack ||= wasSentBack;
  }

  /** Starts the model that the slots name. Resolves when a model runs. */
  async serve(signal: AbortSignal): Promise<void> {
    const { server, onChanged } = this.#deps;
    await server.start(signal);
    this.#running.abort();
    this.#starts.noteServing();
    onChanged();
    if (this.#wasSentBack) await this.#switchBack(signal);
  }

  /**
   * Makes the model of the slots run: they name the former model, but the new one was still starting and now runs. Retries,
   * because the new model failed its probation. Ends also when an operator has made both agree.
   */
  async #switchBack(signal: AbortSignal): Promise<void> {
    const { clock, log, raise, server, installer, onChanged } = this.#deps;
    const backoff = new Backoff(SWITCH_BACK_RETRY, { clock });
    let lastCode: string | null = null;
    while (!installer.isActiveServing) {
      try {
        const { name, version } = await installer.reload(signal);
        log.warn({ name, version }, 'switched back to the former model');
      } catch (thrown) {
        signal.throwIfAborted();
        const failure = asAgentError(thrown);
        const { code, message } = failure;
        const serves = server.model && `${server.model.name}/${server.model.version}`;
        const retryInMs = backoff.nextMs();
        log.error(
          { err: failure, serves, retry_in_ms: Math.round(retryInMs) },
          'cannot switch back to the former model, trying again',
        );
        if (code !== lastCode)
          raise({ type: 'model_fallback', severity: 'error', code, message, context: { serves, code } });
        lastCode = code;
        onChanged();
        await clock.sleep(retryInMs, signal);
      }
    }
  }

  /**
   * Continues an install that a restart of the agent interrupted, then works on new installs until the signal aborts.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, installer } = this.#deps;
    await clock
      .sleep(START_GRACE_MS, AbortSignal.any([signal, this.#running.signal]))
      .catch(() => signal.throwIfAborted());
    await installer.run(signal);
  }

  /** Sends the reply to a `model.install` command of an earlier run of the agent when its install has ended. */
  resume(commands: ReplyingCommands): void {
    this.#pending.resume(commands);
  }

  /** Replies to the commands whose install has ended. */
  answerPending(): void {
    this.#pending.answer();
  }

  /**
   * Remembers the newest progress of an install. Returns true when the progress is large enough to publish
   * `model/state` again.
   */
  noteProgress(progress: ModelProgress): boolean {
    const before = this.#progress;
    this.#progress = progress;
    return progressStep(before) !== progressStep(progress);
  }

  state(): ModelState {
    const { server, slots, installer } = this.#deps;
    const { factory, pinned, install } = installer.state();
    return toModelState({
      active: server.model,
      factory,
      ready: server.stats().ready,
      trusted: server.trusted,
      pinned,
      slots: { ...slots.state, install },
      progress: this.#progress,
    });
  }

  /** Starts an install. `serves` resolves when the new model runs. See `AgentApi.installModel`. */
  install(
    args: ModelInstallArgs,
    ids?: { readonly updateId: string; readonly commandId: string },
  ): ModelInstalling {
    this.#requireSource(args);
    const updateId = ids?.updateId ?? randomUUID();
    if (ids) this.#pending.add(updateId, ids.commandId);
    const remove = (): void => this.#pending.remove(updateId);
    try {
      const options = { clearFailed: args.clear_failed ?? false };
      const { accepted, serves } = this.#deps.installer.request(installRequest(args, updateId), options);
      if (ids) serves.then(remove, remove);
      return { install: toModelInstall(accepted), serves: serves.then(toInstallResult) };
    } catch (thrown) {
      if (ids) remove();
      throw thrown;
    }
  }

  #requireSource({ source }: ModelInstallArgs): void {
    const { repository, trustRoot, allowUnsigned } = this.#settings;
    if (source.kind === 'repository' && repository === null)
      throw new AgentError('model_no_repository', 'model.repository is not set');
    if (trustRoot === null && !allowUnsigned)
      throw new AgentError('model_no_repository', 'model.trustRoot is not set: no model can be verified');
  }

  async rollback(signal: AbortSignal): Promise<ModelServes> {
    return { model: plainRef(await this.#deps.installer.rollback(signal)) };
  }

  async abort(): Promise<ModelAborted> {
    await this.#deps.installer.abort();
    return { aborted: true };
  }

  async reload(signal: AbortSignal): Promise<ModelServes> {
    return { model: plainRef(await this.#deps.installer.reload(signal)) };
  }
}

function installRequest(args: ModelInstallArgs, updateId: string): InstallRequest {
  const { name, version, digest = null, source } = args;
  if (source.kind === 'repository') return { updateId, name, version, digest, source };
  const { kind, size_bytes: sizeBytes, digest: archiveDigest } = source;
  return { updateId, name, version, digest, source: { kind, sizeBytes, digest: archiveDigest } };
}

const progressStep = (progress: ModelProgress | null): string =>
  progress === null
    ? ''
    : `${progress.update_id} ${progress.phase} ${Math.floor((progress.percent ?? 0) / PROGRESS_STEP_PERCENT)}`;
