import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Settings } from '../config/schema.ts';
import type { ModelInstalling } from '../contract/api.ts';
import type { ModelAborted, ModelInstallArgs, ModelProgress, ModelServes } from '../contract/model.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { ModelState } from '../contract/states.ts';
import type { Delivery } from '../mqtt/delivery.ts';
import { AgentError } from '../base/errors.ts';
import type { ClockState } from '../health/types.ts';
import { openBundle } from './bundle/bundle.ts';
import { Fetcher } from './fetch/fetcher.ts';
import { toInstallResult, toModelInstall, toModelState } from './state-view.ts';
import { plainRef } from './install/transitions.ts';
import { ModelStarts } from './install/model-starts.ts';
import { Installer } from './install/installer.ts';
import type { InstallerDeps } from './install/types.ts';
import { readFactoryModel } from './slots/active-model.ts';
import { SlotStore } from './slots/slot-store.ts';
import type { InstallRequest, ModelHost } from './types.ts';
import type { Commands } from '../mqtt/commands/commands.ts';
import { BLOCK_COMMAND } from '../mqtt/blocks/model-block.ts';
import { ModelBlocks } from '../mqtt/blocks/model-blocks.ts';
import type { CommandPacket } from '../mqtt/types.ts';
import { PendingReplies } from './install/pending-replies.ts';
import type { KeyValue } from '../store/types.ts';

export interface ModelLifecycleOptions {
  readonly stateDir: string;
  /** As they were at the start; where it is asked anew, `model` of the dependencies tells. */
  readonly model: Settings['model'];
  readonly shippedDir: string;
}

export interface ModelLifecycleDeps extends Pick<InstallerDeps, 'clock' | 'log' | 'raise' | 'forecast'> {
  /** The settings in force, which may change while the agent runs. */
  readonly model: () => Settings['model'];
  readonly memory: KeyValue;
  readonly time: () => ClockState;
  readonly serving: () => ModelHost & ServingView;
  readonly delivery: () => Delivery;
  /** Something of the state has changed, and is published. */
  readonly onState: () => void;
}

/** The model that serves, beside what an install needs of it. */
interface ServingView {
  readonly model: ModelRef | null;
  readonly trusted: boolean;
  start(signal: AbortSignal): Promise<void>;
  stats(): { readonly ready: boolean };
}

/** So long the model that serves has to itself after the start, ms, before an install goes on beside it. */
const START_PATIENCE_MS = 120_000;

/**
 * Which model runs, and what changes that: slots, installs, and the commands that wait for them. Between `open` and
 * `begin` only the slots can be read.
 */
export class ModelLifecycle {
  readonly slots: SlotStore;
  readonly #options: ModelLifecycleOptions;
  readonly #deps: ModelLifecycleDeps;
  readonly #served = new AbortController();
  #installer: Installer | null = null;
  #blocks: ModelBlocks | null = null;
  #progress: ModelProgress | null = null;
  /** The model on probation was sent back while it was being started. */
  #overruled = false;
  readonly #starts: ModelStarts;
  readonly #owed: PendingReplies;

  /** Reads the slots, and counts the start of their model; a file that is broken is set aside, and told. */
  static open(options: ModelLifecycleOptions, deps: ModelLifecycleDeps): ModelLifecycle {
    const { log, raise } = deps;
    const slots = SlotStore.open(join(options.stateDir, 'models'), { log });
    if (slots.damaged) {
      const { code, message, context } = slots.damaged;
      log.error({ err: slots.damaged }, 'the slots of the models are lost');
      raise({ type: 'model_slots_damaged', severity: 'error', code, message, context });
    }
    const models = new ModelLifecycle(slots, options, deps);
    models.#starts.noteStart();
    return models;
  }

  private constructor(slots: SlotStore, options: ModelLifecycleOptions, deps: ModelLifecycleDeps) {
    this.slots = slots;
    this.#options = options;
    this.#deps = deps;
    this.#starts = new ModelStarts({ ...deps, slots });
    this.#owed = new PendingReplies({ ...deps, install: () => slots.state.install });
  }

  /** From here on models can be installed. */
  async begin(signal: AbortSignal): Promise<void> {
    const { clock, log, serving, delivery, time } = this.#deps;
    const { link } = delivery();
    this.#blocks = new ModelBlocks({}, { link, clock, log });
    const { stateDir, shippedDir, model } = this.#options;
    const factory = await readFactoryModel({ shippedDir }, { log }, signal);
    const fetcher = new Fetcher({ dir: join(stateDir, 'models') }, { blocks: this.#blocks, log });
    this.#installer = new Installer(
      { factory, settings: model },
      {
        ...this.#deps,
        slots: this.slots,
        fetcher,
        host: serving(),
        openBundle,
        liveSettings: this.#deps.model,
        syncedNowMs: () => (time().synced ? clock.nowMs() : null),
        onState: () => this.#changed(),
        onProgress: (progress) => this.#progressed(progress),
      },
    );
  }

  /** An installed model could not be opened or started. `fellBack`: another one is tried; else it is tried again. */
  startFailed(error: AgentError, fellBack: boolean): void {
    const sentBack = this.#starts.noteFailure(error, fellBack);
    if (!fellBack) this.#overruled ||= sentBack;
  }

  /** Starts the model that is to serve. Resolves when one does. */
  async serve(signal: AbortSignal): Promise<void> {
    const { log, serving } = this.#deps;
    await serving().start(signal);
    this.#served.abort();
    this.#starts.noteServing();
    this.#changed();
    if (!this.#overruled) return;
    // The slots name the former model by now.
    const { name, version } = await this.#ready().reload(signal);
    log.warn({ name, version }, 'the former model takes the place of the one that was sent back');
  }

  /** Works until the signal aborts: goes on with what a restart left. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    await clock
      .sleep(START_PATIENCE_MS, AbortSignal.any([signal, this.#served.signal]))
      .catch(() => signal.throwIfAborted());
    await this.#ready().run(signal);
  }

  /** Takes what comes on `cmd/{name}` and is no command; false for all else. */
  receive(name: string, packet: CommandPacket): boolean {
    if (name !== BLOCK_COMMAND) return false;
    this.#blocks?.receive(packet);
    return true;
  }

  /** There is a new connection to the broker. */
  linkUp(): void {
    this.#blocks?.linkUp();
  }

  /** The command whose install was in hand when the agent ended, if there is one, is still answered. */
  resume(commands: Pick<Commands, 'resume'>): void {
    this.#owed.resume(commands);
  }

  #changed(): void {
    this.#owed.tell();
    this.#deps.delivery().publishStates();
    this.#deps.onState();
  }

  #progressed(progress: ModelProgress): void {
    const before = this.#progress;
    this.#progress = progress;
    const delivery = this.#deps.delivery();
    delivery.tell('model/progress', progress);
    if (step(before) !== step(progress)) delivery.publishStates();
  }

  state(): ModelState {
    const serving = this.#deps.serving();
    const installer = this.#installer?.state();
    return toModelState({
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
    const { repository, trustRoot, allowUnsigned } = this.#options.model;
    if (args.source.kind === 'repository' && repository === null)
      throw new AgentError('model_no_repository', 'model.repository is not set');
    if (trustRoot === null && !allowUnsigned)
      throw new AgentError(
        'model_no_repository',
        'model.trustRoot is not set: nothing that comes can be trusted',
      );
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
    if (ids) this.#owed.note(updateId, ids.commandId);
    const settled = (): void => this.#owed.settled(updateId);
    try {
      const { accepted, serves } = this.#ready().request(request, { clearFailed });
      if (ids) serves.then(settled, settled);
      return { install: toModelInstall(accepted), serves: serves.then(toInstallResult) };
    } catch (thrown) {
      if (ids) settled();
      throw thrown;
    }
  }

  async rollback(signal: AbortSignal): Promise<ModelServes> {
    return { model: plainRef(await this.#ready().rollback(signal)) };
  }

  async abort(): Promise<ModelAborted> {
    await this.#ready().abort();
    return { aborted: true };
  }

  async reload(signal: AbortSignal): Promise<ModelServes> {
    return { model: plainRef(await this.#ready().reload(signal)) };
  }

  #ready(): Installer {
    if (this.#installer) return this.#installer;
    throw new AgentError('model_install_busy', 'the agent is starting');
  }
}

/** Each step is worth a new retained state. */
const step = (progress: ModelProgress | null): string =>
  progress === null
    ? ''
    : `${progress.update_id} ${progress.phase} ${Math.floor((progress.percent ?? 0) / 5)}`;
