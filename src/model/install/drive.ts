import { AgentError, asAgentError } from '../../base/errors.ts';
import type { InstallEnds } from './ends.ts';
import { label } from './events.ts';
import { InstallSteps, type StepDeps, type StepOptions } from './steps.ts';
import { Probation, type ProbationCounts } from './probation.ts';
import type { Candidate, InstallRecord, SlotRef } from '../types.ts';

export interface DriveDeps extends StepDeps {
  readonly ends: InstallEnds;
  /** The new model serves. */
  readonly onServes: (install: InstallRecord) => void;
}

/** A phase that the end of the agent interrupted so often is given up: it may be what ends it. */
const MAX_ATTEMPTS = 5;

/**
 * Brings one install to its end, from whatever phase is stored.
 *
 * INVARIANTS
 * - A phase is stored before it is worked on; the slots are stored before the model is changed.
 * - When the agent stops (`stop`), the stored phase stays, and the next start goes on from there.
 * - When the install is to end (`abort`), its reason is the one of the signal, and the former model serves.
 */
export class InstallDrive {
  readonly #options: StepOptions;
  readonly #deps: DriveDeps;
  readonly #steps: InstallSteps;

  constructor(options: StepOptions, deps: DriveDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#steps = new InstallSteps(options, deps);
  }

  /** Resolves when the end is stored and done; rejects only when the agent stops. `resumed`: a restart left it. */
  async run(resumed: boolean, stop: AbortSignal, abort: AbortSignal): Promise<void> {
    const { journal, ends } = this.#deps;
    const begun = journal.inHand;
    if (begun === null) return;
    const signal = AbortSignal.any([stop, abort]);
    try {
      if (this.#options.settings.active !== null)
        throw new AgentError('model_pinned', 'model.active was set while the install was in hand');
      if (begun.phase === 'probation') await this.#goOnProbation(begun, signal);
      else await this.#bring(begun, resumed, signal);
    } catch (thrown) {
      if (stop.aborted) {
        this.#takeBackAttempt();
        throw stop.reason;
      }
      const install = journal.inHand;
      // It may have been ended where the agent starts its model.
      if (install?.updateId !== begun.updateId) return;
      const error = asAgentError(abort.aborted ? abort.reason : thrown);
      if (install.phase === 'probation') await ends.goBack(install, error, stop);
      else await ends.fail(install, error, stop);
    }
  }

  async #bring(install: InstallRecord, resumed: boolean, signal: AbortSignal): Promise<void> {
    const { changes, ends, onServes } = this.#deps;
    if (resumed) this.#countAttempt(install);
    const ref = await this.#fetch(install, resumed, signal);
    if (ref === null) {
      onServes(await ends.commit(install, signal));
      return;
    }
    const candidate = await this.#steps.test(install, ref, signal);
    let probation: Probation | null = null;
    try {
      await this.#steps.shadow(install, candidate, signal);
      probation = await changes.exclusive(signal, () => this.#swap(candidate, ref));
    } finally {
      // Who has not taken over is not needed any more.
      if (probation === null) await changes.dismiss(candidate);
    }
    await this.#pass(probation, signal);
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

  /** A stop that was asked for says nothing against the phase. */
  #takeBackAttempt(): void {
    const { journal } = this.#deps;
    const attempts = journal.inHand?.attempts ?? 0;
    if (attempts > 0) journal.note({ attempts: attempts - 1 });
  }

  /** The verified bundle; null when it serves already. */
  async #fetch(install: InstallRecord, resumed: boolean, signal: AbortSignal): Promise<SlotRef | null> {
    const { phase } = install;
    if (phase === 'testing' || phase === 'shadow') return this.#steps.candidateOf(install);
    if (phase === 'verifying') {
      try {
        return await this.#steps.verify(install, signal);
      } catch (thrown) {
        signal.throwIfAborted();
        if (!resumed) throw thrown;
        // What the cut left may be torn, or used up already: once more from the start.
        this.#deps.log.warn({ err: asAgentError(thrown) }, 'not verified after the restart; fetched anew');
        await this.#deps.fetcher.discard(install.updateId);
      }
    }
    await this.#steps.download(install, signal);
    return this.#steps.verify(install, signal);
  }

  /** From the first line on a restart begins with the new model; an adoption that fails is undone by the caller. */
  async #swap(candidate: Candidate, ref: SlotRef): Promise<Probation> {
    const install = this.#steps.swap();
    const probation = this.#watch(install);
    try {
      await this.#deps.changes.adopt(candidate, ref.trusted);
    } catch (thrown) {
      probation.close();
      throw thrown;
    }
    probation.formerHasGone();
    this.#deps.log.info(label(install), 'the new model serves, on probation');
    this.#deps.onServes(install);
    return probation;
  }

  async #goOnProbation(install: InstallRecord, signal: AbortSignal): Promise<void> {
    const probation = this.#watch(install);
    probation.formerHasGone();
    this.#deps.onServes(install);
    await this.#pass(probation, signal);
  }

  #watch(install: InstallRecord): Probation {
    const { host, clock, journal, progress } = this.#deps;
    const { liveSettings } = this.#deps;
    const { observations, minutes } = liveSettings().probation;
    const digest = install.candidate?.digest ?? '';
    const counts = install.probation ?? { answers: 0, failures: 0, failedStarts: 0 };
    const onCounts = (now: ProbationCounts): void => {
      if (journal.inHand?.updateId !== install.updateId) return;
      // Failed starts are counted where the agent starts its model.
      const failedStarts = journal.inHand.probation?.failedStarts ?? 0;
      journal.note({ probation: { ...now, failedStarts } });
      const byAnswers = observations === 0 ? 1 : now.answers / observations;
      const byTime = minutes === 0 ? 1 : (now.elapsedMs ?? 0) / (minutes * 60_000);
      progress.tell(install, Math.min(byAnswers, byTime));
    };
    return new Probation(digest, counts, () => liveSettings().probation, { host, clock, onCounts });
  }

  async #pass(probation: Probation, signal: AbortSignal): Promise<void> {
    await probation.passed(signal);
    const { journal, ends } = this.#deps;
    if (journal.inHand !== null) await ends.commit(journal.inHand, signal);
  }
}
