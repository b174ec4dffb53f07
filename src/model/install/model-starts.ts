import { AgentError, asAgentError } from '../../base/errors.ts';
import { failureEvent, installContext, isBundleFault } from './failures.ts';
import { currentInstall, rollBackInstall, updateInstall } from './transitions.ts';
import type { InstallerDeps, Slots } from './types.ts';
import type { InstallRecord } from '../types.ts';

/** When this many starts have failed, the next start of the agent rolls the install back. */
const MAX_FAILED_STARTS = 2;

export interface ModelStartsDeps extends Pick<InstallerDeps, 'clock' | 'log' | 'raise'> {
  readonly slots: Pick<Slots, 'state' | 'update'>;
}

/**
 * Counts the starts of a model on probation, and rolls the install back when too many of them fail. It runs before the
 * installer is created and changes only the slots file. The caller then opens the model that the slots name.
 *
 * INVARIANT: a start is counted on the disk before it is tried, because the start may end the agent or the machine.
 */
export class ModelStarts {
  readonly #deps: ModelStartsDeps;

  constructor(deps: ModelStartsDeps) {
    this.#deps = deps;
  }

  /** Call this at the start of the agent, before the model of the active slot is opened. */
  noteStart(): void {
    const install = this.#installOnProbation();
    if (install === null) return;
    const failedStarts = failedStartsOf(install);
    if (failedStarts >= MAX_FAILED_STARTS)
      this.#rollBack(
        install,
        new AgentError('model_probation_failed', 'two starts with the new model failed'),
      );
    else this.#store(install, failedStarts + 1);
  }

  /**
   * Call this when the model could not be opened or started. `fellBack` is true when another model is tried next, and
   * false when the same model is tried again. Returns true when the install was rolled back.
   */
  noteFailure(error: AgentError, fellBack: boolean): boolean {
    const install = this.#installOnProbation();
    if (install === null) return false;
    const failedStarts = failedStartsOf(install);
    if (!fellBack && error.retryable && failedStarts < MAX_FAILED_STARTS) {
      this.#store(install, failedStarts + 1);
      return false;
    }
    if (!error.retryable && !isBundleFault(error.code)) return this.#rollBack(install, error);
    const message = `the new model did not start: ${error.message}`;
    const context = { code: error.code };
    return this.#rollBack(
      install,
      new AgentError('model_probation_failed', message, { context, cause: error }),
    );
  }

  /** Call this when the model serves (analyses the frames). */
  noteServing(): void {
    const install = this.#installOnProbation();
    if (install !== null && failedStartsOf(install) > 0) this.#store(install, 0);
  }

  /** The current install if it is on probation and its model is in the active slot; else null. */
  #installOnProbation(): InstallRecord | null {
    const { state } = this.#deps.slots;
    const install = currentInstall(state);
    return install?.phase === 'probation' && state.active?.digest === install.candidate?.digest
      ? install
      : null;
  }

  #store({ probation }: InstallRecord, failedStarts: number): void {
    const { slots, clock, log } = this.#deps;
    const counts = probation ?? { answers: 0, failures: 0 };
    try {
      slots.update((state) =>
        updateInstall(state, { probation: { ...counts, failedStarts } }, clock.nowMs()),
      );
    } catch (thrown) {
      // The model must start even when the disk is full.
      log.warn({ err: asAgentError(thrown) }, 'cannot store the number of failed starts of the new model');
    }
  }

  #rollBack(install: InstallRecord, error: AgentError): boolean {
    const { slots, clock, log, raise } = this.#deps;
    try {
      slots.update((state) => rollBackInstall(state, error, clock.nowMs()));
    } catch (thrown) {
      log.error({ err: asAgentError(thrown) }, 'cannot store the rollback of an install');
      return false;
    }
    raise(failureEvent('rolled_back', install, error));
    log.error(
      { err: error, ...installContext(install) },
      'the new model did not start, rolled the install back',
    );
    return true;
  }
}

const failedStartsOf = ({ probation }: InstallRecord): number => probation?.failedStarts ?? 0;
