import { closeAtEnd } from '../../base/closing.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { failureEvent, installContext, type FailedEnd } from './failures.ts';
import { InstallPhases, type PhaseDeps, type PhaseOptions } from './install-phases.ts';
import { Probation, type ProbationCounts } from './probation.ts';
import { commitInstall, failInstall, rollBackInstall } from './transitions.ts';
import type { ProbationLimits } from './types.ts';
import type { Candidate, InstallRecord, SlotRef, SlotsState } from '../types.ts';

export interface InstallRunDeps extends PhaseDeps {
  /** Called when the new model serves. */
  readonly onServing: (install: InstallRecord) => void;
}

/**
 * When the agent has ended abnormally this often in one phase, the install fails, because the candidate may be the
 * cause.
 */
const MAX_ATTEMPTS = 5;

/**
 * The state machine of one install. It runs the install from the stored phase to its end:
 *
 *     requested -> downloading -> verifying -> testing -> shadow -> (swap) -> probation -> committed
 *         |             |             |           |          |                    |
 *         +-------------+---------- failed -------+----------+               rolled_back
 *
 * An install whose bundle already serves (analyses the frames) goes from `verifying` to `committed`. After a restart of
 * the agent, `downloading` and `verifying` continue or run again, `shadow` goes back to `testing` because the process
 * of the candidate has ended, and `probation` continues.
 *
 * INVARIANTS
 * - Each phase is stored before its work begins, and the end of the install is stored before the event about it is
 *   raised.
 * - The power may be cut at any moment. The next start finds one complete state: the state before a transition or the
 *   state after it.
 * - The slots name only models that passed their test on this device. The swap stores the new slots first, then the new
 *   model takes over. The model changes only between observations: all frames of one observation are analysed by the
 *   same model.
 * - A failure before the swap leaves the slots `active` and `previous` unchanged. A failure after the swap restores
 *   both slots first and then the former model. Only when the disk is full is the order reversed: the former model
 *   serves first, and the slots are stored later.
 * - When a bundle failed because of its bytes, its digest is remembered, and later installs of this bundle are refused.
 * - When the agent stops (signal `stop`), the phase stays stored, and the next start of the agent continues the
 *   install. When the install is aborted (signal `abort`), it ends with the reason of that signal.
 */
export class InstallRun {
  readonly #isPinned: boolean;
  readonly #deps: InstallRunDeps;
  readonly #phases: InstallPhases;

  constructor(options: PhaseOptions, deps: InstallRunDeps) {
    this.#isPinned = options.settings.active !== null;
    this.#deps = deps;
    this.#phases = new InstallPhases(options, deps);
  }

  /**
   * Resolves when the end of the install is stored and its files are removed. Rejects when the agent stops, or with an
   * unexpected error. `resumed`: an earlier process of the agent began this install.
   */
  async run(install: InstallRecord, resumed: boolean, stop: AbortSignal, abort: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([stop, abort]);
    try {
      if (this.#isPinned) throw new AgentError('model_pinned', 'model.active was set during the install');
      if (install.phase === 'probation') await this.#resumeProbation(install, signal);
      else await this.#runToCommit(install, resumed, signal);
    } catch (thrown) {
      if (stop.aborted) {
        this.#uncountAttempt();
        throw stop.reason;
      }
      const current = this.#deps.journal.current;
      // `ModelStarts` may already have ended this install.
      if (current?.updateId === install.updateId) {
        const error = asAgentError(abort.aborted ? abort.reason : thrown);
        if (current.phase === 'probation') await this.#rollBack(current, error, stop);
        else await this.#fail(current, error, stop);
      }
    }
    await this.#removeFiles(install);
  }

  async #runToCommit(install: InstallRecord, resumed: boolean, signal: AbortSignal): Promise<void> {
    const { modelSwitch, onServing } = this.#deps;
    if (resumed) this.#countAttempt(install);
    const ref = await this.#obtainBundle(install, resumed, signal);
    if (ref === null) {
      onServing(await this.#commit(install, signal));
      return;
    }
    const candidate = await this.#phases.test(install, ref, signal);
    let probation: Probation | null = null;
    {
      await using _candidate = closeAtEnd(() =>
        probation === null ? modelSwitch.closeCandidate(candidate) : null,
      );
      await this.#phases.shadow(install, candidate, signal);
      probation = await modelSwitch.runExclusive(signal, () => this.#swap(candidate, ref));
    }
    await this.#passProbation(probation, signal);
  }

  /** Downloads and verifies the bundle. Returns null when this bundle already serves. */
  async #obtainBundle(
    install: InstallRecord,
    resumed: boolean,
    signal: AbortSignal,
  ): Promise<SlotRef | null> {
    const { phase } = install;
    if (phase === 'testing' || phase === 'shadow') return this.#phases.verifiedCandidate(install);
    if (phase === 'verifying') {
      try {
        return await this.#phases.verify(install, signal);
      } catch (thrown) {
        signal.throwIfAborted();
        if (!resumed) throw thrown;
        // Either a power cut has damaged the part file, or the bundle is already unpacked and the part file is gone.
        // Download the bundle once more.
        this.#deps.log.warn(
          { err: asAgentError(thrown) },
          'verification failed after a restart, downloading the bundle again',
        );
        await this.#deps.fetcher.discard(install.updateId);
      }
    }
    await this.#phases.download(install, signal);
    return this.#phases.verify(install, signal);
  }

  /**
   * When the new model does not take over, this rejects. The caller then ends the install and restores the former
   * slots.
   */
  async #swap(candidate: Candidate, ref: SlotRef): Promise<Probation> {
    const install = this.#phases.storeSwap();
    const probation = this.#startProbation(install);
    try {
      await this.#deps.modelSwitch.adopt(candidate, ref.trusted);
    } catch (thrown) {
      probation.close();
      throw thrown;
    }
    this.#deps.log.info(installContext(install), 'started the probation of the new model');
    this.#deps.onServing(install);
    return probation;
  }

  async #resumeProbation(install: InstallRecord, signal: AbortSignal): Promise<void> {
    const probation = this.#startProbation(install);
    this.#deps.onServing(install);
    await this.#passProbation(probation, signal);
  }

  #startProbation(install: InstallRecord): Probation {
    const { host, clock, journal, liveSettings } = this.#deps;
    const { observations, minutes } = liveSettings().probation;
    const counts = install.probation ?? { answers: 0, failures: 0, failedStarts: 0 };
    const onCounts = (now: ProbationCounts): void => {
      if (journal.current?.updateId !== install.updateId) return;
      // Only `ModelStarts` changes the number of failed starts: keep its value.
      const failedStarts = journal.current.probation?.failedStarts ?? 0;
      journal.note({ probation: { ...now, failedStarts } });
      const byAnswers = observations === 0 ? 1 : now.answers / observations;
      const byTime = minutes === 0 ? 1 : (now.elapsedMs ?? 0) / (minutes * 60_000);
      journal.reportProgress(install, Math.min(byAnswers, byTime));
    };
    const limits = (): ProbationLimits => liveSettings().probation;
    return new Probation(install.candidate?.digest ?? '', counts, { host, clock, limits, onCounts });
  }

  async #passProbation(probation: Probation, signal: AbortSignal): Promise<void> {
    await probation.waitUntilPassed(signal);
    const install = this.#deps.journal.current;
    if (install !== null) await this.#commit(install, signal);
  }

  async #commit(install: InstallRecord, signal: AbortSignal): Promise<InstallRecord> {
    const { clock, journal, raise, log } = this.#deps;
    const change = (state: SlotsState): SlotsState => commitInstall(state, clock.nowMs());
    await journal.storeWithRetry(change, () => this.#removeFiles(install), signal);
    const committed = journal.state.install ?? install;
    raise({
      type: 'model_install_committed',
      severity: 'info',
      code: 'model_install_committed',
      message: `${committed.name} ${committed.version} is installed.`,
      context: installContext(committed),
    });
    log.info(installContext(committed), 'committed the install');
    return committed;
  }

  async #fail(install: InstallRecord, error: AgentError, stop: AbortSignal): Promise<void> {
    const { clock, journal } = this.#deps;
    const change = (state: SlotsState): SlotsState => failInstall(state, error, clock.nowMs());
    await journal.storeWithRetry(change, () => this.#removeFiles(install), stop);
    this.#reportFailure('failed', install, error);
  }

  /**
   * Stores the former slots first, so that a restart of the agent begins with the former model. Then tests the former
   * model and lets it serve again.
   */
  async #rollBack(install: InstallRecord, error: AgentError, stop: AbortSignal): Promise<void> {
    await this.#deps.modelSwitch.runExclusive(stop, async () => {
      const { modelSwitch, clock, journal, log, onState, slots } = this.#deps;
      const freeSpace = (): Promise<void> => this.#removeFiles(install);
      const former = modelSwitch.orFactory((install.former ?? { active: slots.state.previous }).active);
      const change = (state: SlotsState): SlotsState => rollBackInstall(state, error, clock.nowMs());
      let isStored = false;
      try {
        slots.update(change);
        isStored = true;
        this.#reportFailure('rolled_back', install, error);
      } catch (thrown) {
        // The failed model must stop serving even when the disk is full.
        log.error(
          { err: asAgentError(thrown) },
          'cannot store the rollback, trying again after the former model serves',
        );
      }
      const serving = this.#isPinned ? former : await modelSwitch.restore(former, stop);
      if (!isStored) {
        await journal.storeWithRetry(change, freeSpace, stop);
        this.#reportFailure('rolled_back', install, error);
      }
      if (serving.digest !== former.digest) {
        const toFactory = (state: SlotsState): SlotsState => ({ ...state, active: null, previous: former });
        await journal.storeWithRetry(toFactory, freeSpace, stop);
      }
      onState();
    });
  }

  #reportFailure(end: FailedEnd, install: InstallRecord, error: AgentError): void {
    const { raise, log } = this.#deps;
    raise(failureEvent(end, install, error));
    const level = error.code === 'model_install_aborted' ? 'info' : 'error';
    log[level]({ err: error, ...installContext(install), end }, 'install failed');
  }

  /**
   * Removes the files of this install and the bundles that no slot refers to. The next call removes what could not be
   * removed.
   */
  async #removeFiles({ updateId }: InstallRecord): Promise<void> {
    const { fetcher, log, slots } = this.#deps;
    try {
      await fetcher.discard(updateId);
      await slots.collect();
    } catch (thrown) {
      log.warn({ err: asAgentError(thrown) }, 'cannot remove the files of an install');
    }
  }

  #countAttempt({ phase, attempts = 1 }: InstallRecord): void {
    if (phase === 'requested' || phase === 'downloading') return;
    if (attempts >= MAX_ATTEMPTS)
      throw new AgentError(
        'model_install_interrupted',
        `the agent ended ${String(attempts)} times in phase ${phase}`,
      );
    this.#deps.journal.change({ attempts: attempts + 1 });
  }

  /** Takes back the count of this attempt: when the agent was asked to stop, the phase is not the cause of the end. */
  #uncountAttempt(): void {
    const { journal } = this.#deps;
    const attempts = journal.current?.attempts ?? 0;
    if (attempts > 0) journal.note({ attempts: attempts - 1 });
  }
}
