import { AgentError, asAgentError } from '../../base/errors.ts';
import type { ModelRef } from '../../contract/observation.ts';
import { InstallDrive } from './drive.ts';
import { InstallEnds } from './ends.ts';
import { goodEvent, label } from './events.ts';
import { ActiveInstall, endOf } from './active-install.ts';
import { InstallJournal } from './journal.ts';
import { ProgressTeller } from './progress.ts';
import { ServingChanges } from './serving.ts';
import { begun, changed, inHand, plain, refusedBefore } from './slots.ts';
import type { StepDeps } from './steps.ts';
import type {
  InstallDeadlines,
  InstallerDeps,
  InstallerOptions,
  InstallerState,
  RequestedInstall,
} from './types.ts';
import type { InstallRecord, InstallRequest, SlotRef } from '../types.ts';

const SHADOW = { frames: 5, patienceMs: 10 * 60_000 };
/** Between two tries at an install that failed for what should not be. */
const RETRY_MS = 30_000;
const DEADLINES: InstallDeadlines = {
  downloadMs: 24 * 3_600_000,
  verifyMs: 10 * 60_000,
  testMs: 30 * 60_000,
  forecastMs: 10 * 60_000,
};

/**
 * Installs models, one at a time, and takes them back: `requested -> downloading -> verifying -> testing -> shadow ->
 * probation -> committed`, or `failed` before the swap and `rolled_back` after it. docs/model-install.md tells what each
 * phase does, what a power cut leaves, and why an install ends.
 */
export class Installer {
  readonly #options: InstallerOptions;
  readonly #pinned: boolean;
  readonly #deps: StepDeps;
  readonly #ends: InstallEnds;
  readonly #drive: InstallDrive;
  /** What of the install in hand lives in this process only. */
  #hand: ActiveInstall | null = null;
  #wake = new AbortController();
  #rollingBack: Promise<ModelRef> | null = null;

  constructor(options: InstallerOptions, deps: InstallerDeps) {
    this.#options = options;
    const deadlines = { ...DEADLINES, ...options.deadlines };
    const { factory, settings, shadow = SHADOW } = options;
    this.#pinned = settings.active !== null;
    this.#deps = {
      ...deps,
      journal: new InstallJournal(deps),
      changes: new ServingChanges({ factory, testMs: deadlines.testMs }, deps),
      progress: new ProgressTeller(deps),
    };
    this.#ends = new InstallEnds({ pinned: this.#pinned }, this.#deps);
    this.#drive = new InstallDrive(
      { factory: factory.ref, settings, shadow, deadlines },
      {
        ...this.#deps,
        ends: this.#ends,
        onServes: (install) => this.#handOf(install).serves.resolve(install),
      },
    );
  }

  /**
   * Stores the request; `run` works on it. The same request again is joined, and one for what serves already succeeds at
   * once. Throws `model_pinned`, `model_install_busy`, `model_refused_before`, `request_invalid`, `model_space`,
   * `store_failed`.
   */
  request(request: InstallRequest, { clearFailed }: { readonly clearFailed: boolean }): RequestedInstall {
    const { journal, changes, clock, raise, log } = this.#deps;
    if (this.#pinned) throw pinnedError();
    const last = journal.state.install;
    if (last?.updateId === request.updateId) {
      if (last.name !== request.name || last.version !== request.version)
        throw new AgentError('request_invalid', 'this update id is of the install of another model');
      return { accepted: last, serves: this.#joined(last) };
    }
    const active = this.#active;
    const hand = journal.inHand;
    if (hand !== null) {
      if (hand.phase === 'probation' && request.digest === active.digest)
        return { accepted: hand, serves: Promise.resolve(hand) };
      throw new AgentError('model_install_busy', `${hand.name} ${hand.version} is being installed`, {
        context: label(hand),
      });
    }
    if (request.digest !== null && changes.serves(request.digest))
      return this.#servesAlready(request, active);
    const refused = refusedBefore(journal.state, request);
    if (refused !== null && !clearFailed)
      throw new AgentError('model_refused_before', `it failed here before: ${refused.code}`, {
        context: { digest: refused.digest, code: refused.code },
      });
    const nowMs = clock.nowMs();
    const { install } = journal.store((state) => begun(state, request, { clearFailed, nowMs }));
    const accepted = install as InstallRecord;
    // One whose model was sent back where the agent starts may still be watched.
    this.#hand?.abort.abort();
    this.#hand = new ActiveInstall(accepted.updateId);
    raise(goodEvent('model_install_started', accepted, 'is being installed'));
    log.info(label(accepted), 'an install begins');
    this.#deps.progress.tell(accepted, null);
    this.#wake.abort();
    return { accepted, serves: this.#hand.serves.promise };
  }

  #servesAlready(request: InstallRequest, active: SlotRef): RequestedInstall {
    const { journal, clock } = this.#deps;
    const nowMs = clock.nowMs();
    const { install } = journal.store((state) =>
      changed(
        begun(state, request, { clearFailed: false, nowMs }),
        { phase: 'committed', candidate: plain(active), trusted: active.trusted },
        nowMs,
      ),
    );
    const accepted = install as InstallRecord;
    return { accepted, serves: Promise.resolve(accepted) };
  }

  #joined(install: InstallRecord): Promise<InstallRecord> {
    const { phase } = install;
    if (phase === 'probation' || phase === 'committed') return Promise.resolve(install);
    if (phase === 'failed' || phase === 'rolled_back') {
      const { code, message } = install.reason ?? { code: 'internal', message: 'it ended badly' };
      const refused = Promise.reject<InstallRecord>(new AgentError(code, message));
      refused.catch(() => undefined);
      return refused;
    }
    return this.#handOf(install).serves.promise;
  }

  #handOf({ updateId }: InstallRecord): ActiveInstall {
    if (this.#hand?.updateId !== updateId) this.#hand = new ActiveInstall(updateId);
    return this.#hand;
  }

  /**
   * Ends the install in hand; on probation the former model serves again when this resolves. Rejects with
   * `model_install_none`, also when it was committed first.
   */
  async abort(message = 'an operator stopped the install'): Promise<void> {
    const install = this.#deps.journal.inHand;
    if (install === null) throw new AgentError('model_install_none', 'no install is in hand');
    const hand = this.#handOf(install);
    hand.abort.abort(new AgentError('model_install_aborted', message));
    await hand.ended.promise;
    const end = this.#deps.journal.state.install;
    if (end?.updateId === install.updateId && end.phase === 'committed')
      throw new AgentError('model_install_none', 'the install was committed before it could be stopped');
  }

  /**
   * The previous model serves when this resolves, and the active one is the previous one then; without network. When the
   * previous one does not start, the shipped one serves. An install in hand is aborted first; on probation that is the
   * rollback. A second call joins the first. Rejects with `model_no_previous`, `model_pinned`, or why nothing changed.
   */
  rollback(signal: AbortSignal): Promise<ModelRef> {
    this.#rollingBack ??= this.#rollback(signal).finally(() => {
      this.#rollingBack = null;
    });
    return this.#rollingBack;
  }

  async #rollback(signal: AbortSignal): Promise<ModelRef> {
    const { changes, journal } = this.#deps;
    if (this.#pinned) throw pinnedError();
    const install = journal.inHand;
    if (install !== null) {
      await this.abort('a rollback stopped the install').catch((thrown: unknown) => {
        if (asAgentError(thrown).code !== 'model_install_none') throw thrown;
      });
      const end = journal.state.install;
      if (end?.updateId === install.updateId && end.phase === 'rolled_back') return plain(this.#active);
    }
    const from = this.#active;
    const model = await changes.exclusive(signal, () => changes.toPrevious(signal));
    const { raise, log, onState } = this.#deps;
    onState();
    raise({
      type: 'model_rollback',
      severity: 'warning',
      code: 'model_rollback',
      message: `${model.name} ${model.version} serves again.`,
      context: { ...model, from: plain(from) },
    });
    log.warn({ from: plain(from), to: model }, 'an operator returned to the former model');
    await this.#collect();
    return model;
  }

  /** Opens the model that should serve once more, in a new process, without losing a frame. Rejects and changes nothing. */
  async reload(signal: AbortSignal): Promise<ModelRef> {
    const { changes, journal, host, openBundle, onState } = this.#deps;
    const hand = journal.inHand;
    if (hand !== null && hand.phase !== 'probation')
      throw new AgentError('model_install_busy', 'a model is being installed', { context: label(hand) });
    return changes.exclusive(signal, async () => {
      const active = this.#active;
      if (this.#pinned && host.bundle !== null) {
        const bundle = await openBundle(host.bundle.dir, { signal });
        await changes.adopt(await changes.proveBundle(bundle, signal), changes.isFactory(bundle.digest));
        onState();
        return { name: bundle.manifest.name, version: bundle.manifest.version, digest: bundle.digest };
      }
      await changes.adopt(await changes.prove(active, signal), active.trusted);
      onState();
      return plain(active);
    });
  }

  /** Works on the install that a restart left, then on each that is asked for. Rejects when the signal fires. */
  async run(signal: AbortSignal): Promise<never> {
    const { journal, clock, log } = this.#deps;
    if (journal.inHand === null) await this.#collect();
    for (;;) {
      signal.throwIfAborted();
      this.#wake = new AbortController();
      const install = journal.inHand;
      if (install === null) {
        const wake = AbortSignal.any([signal, this.#wake.signal]);
        await new Promise((resolve) => wake.addEventListener('abort', resolve, { once: true }));
        continue;
      }
      try {
        await this.#work(install, signal);
      } catch (thrown) {
        signal.throwIfAborted();
        log.error(
          { err: asAgentError(thrown), ...label(install) },
          'an install stands still; it is tried again',
        );
        await clock.sleep(RETRY_MS, signal);
      }
    }
  }

  async #collect(): Promise<void> {
    const { slots, log } = this.#deps;
    await slots
      .collect()
      .catch((thrown: unknown) =>
        log.warn({ err: asAgentError(thrown) }, 'unused bundles could not be removed'),
      );
  }

  async #work(install: InstallRecord, signal: AbortSignal): Promise<void> {
    const resumed = this.#hand?.updateId !== install.updateId;
    const hand = this.#handOf(install);
    try {
      await this.#drive.run(resumed, signal, hand.abort.signal);
      await this.#ends.clean(install);
      const end = this.#deps.journal.state.install;
      hand.settle(end?.updateId === install.updateId ? endOf(end) : null);
      if (this.#hand === hand) this.#hand = null;
    } catch (thrown) {
      hand.drop(asAgentError(thrown));
      throw thrown;
    }
  }

  get #active(): SlotRef {
    return this.#deps.changes.orFactory(this.#deps.journal.state.active);
  }

  state(): InstallerState {
    const { journal, progress } = this.#deps;
    const { previous, candidate, install, refused } = journal.state;
    return {
      factory: this.#options.factory.ref,
      active: this.#active,
      previous,
      candidate,
      phase: install?.phase ?? 'committed',
      install: install !== null && inHand(journal.state) !== null ? progress.withBytes(install) : install,
      refused,
      pinned: this.#pinned,
    };
  }
}

const pinnedError = (): AgentError =>
  new AgentError('model_pinned', 'model.active names the model that serves');
