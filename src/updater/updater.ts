// INVARIANTS
// 1. `current` always points to a complete version. It changes only by a rename.
// 2. Each step can be repeated: after a power cut, the next run continues from what is on the disk.
// 3. A trial is decided once, by the file `verdict-{id}` (see trial-file.ts). The updater and count-start both obey it.
// 4. The running, the last good and the factory version, and during a trial the former one, are never deleted.
// 5. A banned version is never pointed to.
import { isoTime } from '../base/clock.ts';
import { isDiskFull } from '../base/disk-errors.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { UpdateRequest, UpdaterState } from '../contract/update-files.ts';
import { withLock } from '../model/repository/lock.ts';
import type { UpdaterPaths } from './paths.ts';
import type { Machine } from './platform.ts';
import { removePreflightCopy } from './preflight.ts';
import { prepareInstall, prepareRollback, type PrepareDeps } from './prepare.ts';
import { RequestDirectory, type ReadRequest } from './request-directory.ts';
import { makeReserve } from './reserve.ts';
import type { ServiceControl } from './service-control.ts';
import {
  isBanned,
  newState,
  readState,
  withInstalledFactory,
  withRunning,
  writeState,
} from './state-file.ts';
import { readTrial, removeTrialRests } from './trial-file.ts';
import { NO_REPORTS, Trials, type AgentReports } from './trials.ts';
import { readOnlyError, Versions } from './versions.ts';

export interface UpdaterDeps {
  readonly control: ServiceControl;
  readonly machine: Machine;
  readonly log: (message: string, fields?: Readonly<Record<string, unknown>>) => void;
}

export interface UpdaterOptions {
  readonly paths: UpdaterPaths;
  readonly updaterVersion: string;
}

/** Requests that one run handles at most; the agent writes them, so their number cannot be trusted. */
const MAX_REQUESTS = 8;
/** A request that was interrupted so often, for example by a power supply that fails under load, is refused. */
const MAX_ATTEMPTS = 5;

/** The privileged part of an update of the agent. */
export class Updater {
  readonly #options: UpdaterOptions;
  readonly #deps: UpdaterDeps;
  readonly #versions: Versions;
  readonly #trials: Trials;

  constructor(options: UpdaterOptions, deps: UpdaterDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#versions = new Versions(options.paths.root);
    this.#trials = new Trials({ stateDir: options.paths.state }, { ...deps, versions: this.#versions });
  }

  /**
   * Continues what was interrupted, then handles the request of the agent, or `own` instead of it. Throws `update_busy`
   * when another updater runs.
   */
  async run(signal: AbortSignal, own: UpdateRequest | null = null): Promise<void> {
    const { paths } = this.#options;
    await exclusive(paths.run, async () => {
      ensureReserve(paths.state);
      let state = await this.#loadState();
      await using directory = await RequestDirectory.open(paths.requests);
      // Whatever the agent asked for before is replaced by the operator's request.
      if (own !== null) await directory?.removeRequest();
      const nextRequest = async (): Promise<ReadRequest> => newRequest(await directory?.readRequest(), state);
      let request = own === null ? await nextRequest() : ({ kind: 'request', request: own } as const);
      state = await this.#trials.resume(state, await readReports(directory), request);
      state = await this.#cleanUp(state);
      for (let handled = 0; request.kind !== 'none' && handled < MAX_REQUESTS; handled += 1) {
        // A rollback during a trial ends it.
        if (handled > 0 && state.trial !== null && isRollback(request))
          state = await this.#trials.resume(state, NO_REPORTS, request);
        if (state.last_request !== idOf(request))
          state = await this.#handle(request, directory, state, signal);
        request = await nextRequest();
        // A refused version takes space.
        state = await this.#cleanUp(state);
      }
    });
  }

  async #loadState(): Promise<UpdaterState> {
    const { paths, updaterVersion } = this.#options;
    const stored = await readState(paths.state);
    const installed = await this.#versions.list();
    if (stored !== null)
      return { ...withInstalledFactory(stored, installed), updater_version: updaterVersion };
    const running = (await this.#versions.current()) ?? installed.at(-1);
    if (running === undefined)
      throw new AgentError('internal', `${paths.root} has no version of the agent; run the installer again`);
    this.#deps.log('created a new state', { running: running.version });
    const state = newState(running, installed, updaterVersion);
    writeState(paths.state, state);
    return state;
  }

  /** Removes the rests of former runs and unneeded versions, and repairs the link. Does nothing while a trial is on. */
  async #cleanUp(state: UpdaterState): Promise<UpdaterState> {
    const { paths } = this.#options;
    if ((await readTrial(paths.state)) !== null) return state;
    const next = await this.#checkLink(state);
    await removeTrialRests(paths.state);
    await removePreflightCopy(paths.state, this.#deps.control);
    try {
      await this.#versions.removeRests();
      const { running, last_good, factory } = next;
      await this.#versions.removeAllBut([running, factory, ...(last_good ? [last_good] : [])]);
    } catch (error) {
      // A read-only root needs no cleaning: nothing can be installed.
      if (readOnlyError(error) === null) throw error;
    }
    return this.#store({ ...next, installed: await this.#versions.list() }, state);
  }

  /**
   * The installer or an operator may have changed the link: what it points to runs, and what ran before is the last good
   * version. A broken link is repaired.
   */
  async #checkLink(state: UpdaterState): Promise<UpdaterState> {
    const current = await this.#versions.current();
    const installed = await this.#versions.list();
    if (current !== null) return withRunning(state, current, installed);
    const { running, last_good, factory } = state;
    const usable = [running, last_good, factory].find(
      (version) =>
        version !== null &&
        !isBanned(state, version.digest) &&
        installed.some(({ digest }) => digest === version.digest),
    );
    if (!usable) throw new AgentError('internal', 'no complete version of the agent is on the disk');
    this.#deps.log('repairing the link to the running version', { version: usable.version });
    this.#versions.switchTo(usable);
    await this.#deps.control.restart();
    return { ...state, running: usable };
  }

  async #handle(
    request: Exclude<ReadRequest, { kind: 'none' }>,
    directory: RequestDirectory | null,
    before: UpdaterState,
    signal: AbortSignal,
  ): Promise<UpdaterState> {
    const { log } = this.#deps;
    if (request.kind === 'invalid') {
      const reason = new AgentError('update_request_invalid', 'request.json is damaged');
      return this.#refuse({ id: request.id, action: 'install', version: null, digest: null }, reason, before);
    }
    const { id, action } = request.request;
    let state = before;
    try {
      if (state.trial !== null) throw new AgentError('update_busy', 'another version is on trial');
      const attempts = state.working?.id === id ? state.working.attempts : 0;
      if (attempts >= MAX_ATTEMPTS)
        throw new AgentError('update_interrupted', `the update was interrupted ${attempts} times`);
      const onStep: PrepareDeps['onStep'] = (step) => {
        state = this.#store({ ...state, working: { id, step, attempts: attempts + 1 } }, state);
        log(step, { id });
      };
      const deps = { ...this.#options, ...this.#deps, versions: this.#versions, onStep };
      const version =
        action === 'install'
          ? await prepareInstall(request.request, directory, state, deps, signal)
          : await prepareRollback(state, deps, signal);
      return await this.#trials.begin(request.request, version, {
        ...state,
        installed: await this.#versions.list(),
      });
    } catch (error) {
      signal.throwIfAborted();
      // The trial has begun: the next run continues it.
      if ((await readTrial(this.#options.paths.state))?.id === id) throw error;
      return this.#refuse(request.request, refusalOf(error), state);
    }
  }

  #refuse(
    { id, action, version, digest }: Pick<UpdateRequest, 'id' | 'action' | 'version' | 'digest'>,
    { code, message }: AgentError,
    state: UpdaterState,
  ): UpdaterState {
    this.#deps.log('refused', { id, code, message });
    return this.#store(
      {
        ...state,
        working: null,
        last_request: id,
        last_result: {
          id,
          action,
          version,
          digest,
          status: 'refused',
          code,
          message,
          at: isoTime(Date.now()),
        },
      },
      state,
    );
  }

  /** Writes the state if it has changed. */
  #store(next: UpdaterState, before: UpdaterState): UpdaterState {
    if (JSON.stringify(next) !== JSON.stringify(before)) writeState(this.#options.paths.state, next);
    return next;
  }
}

async function exclusive(dir: string, work: () => Promise<void>): Promise<void> {
  try {
    await withLock(dir, work);
  } catch (error) {
    if (error instanceof AgentError && error.code === 'repo_busy')
      throw new AgentError('update_busy', 'another updater is running', { cause: error });
    throw error;
  }
}

async function readReports(directory: RequestDirectory | null): Promise<AgentReports> {
  if (directory === null) return NO_REPORTS;
  return { confirmation: await directory.readConfirmation(), waiting: await directory.readWaiting() };
}

/** A full disk must not prevent the end of a trial. */
function ensureReserve(dir: string): void {
  try {
    makeReserve(dir);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}

function refusalOf(error: unknown): AgentError {
  if (isDiskFull(error)) return new AgentError('update_space', 'the disk is full', { cause: error });
  return readOnlyError(error) ?? asAgentError(error);
}

const newRequest = (read: ReadRequest | undefined, state: UpdaterState): ReadRequest =>
  read === undefined || idOf(read) === state.last_request ? { kind: 'none' } : read;

const isRollback = (read: ReadRequest): boolean =>
  read.kind === 'request' && read.request.action === 'rollback';

const idOf = (read: ReadRequest): string | null =>
  read.kind === 'request' ? read.request.id : read.kind === 'invalid' ? read.id : null;
