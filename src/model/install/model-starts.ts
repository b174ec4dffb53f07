import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { RaiseEvent } from '../../store/types.ts';
import { failureEvent, installContext, isBundleFault } from './failures.ts';
import { currentInstall, rollBackInstall, updateInstall } from './transitions.ts';
import type { Slots } from './types.ts';
import type { InstallRecord } from '../types.ts';

/** The next start after so many failed ones rolls the install back. */
const MAX_FAILED_STARTS = 2;

export interface ModelStartsDeps {
  readonly slots: Pick<Slots, 'state' | 'update'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
}

/**
 * Counts the starts of a model on probation and rolls the install back when they fail. Works before the installer exists
 * and changes only the slots; the caller then opens the model that the slots name.
 *
 * INVARIANT: a start is stored before it is tried, because it may end the agent or the machine.
 */
export class ModelStarts {
  readonly #deps: ModelStartsDeps;

  constructor({ slots, clock, log, raise }: ModelStartsDeps) {
    this.#deps = { slots, clock, log, raise };
  }

  /** Call it at the start of the agent, before the model is opened from the slots. */
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
   * Call it when the model could not be opened or started. `fellBack`: another model is tried next; otherwise the same one
   * is tried again. Returns true when the install was rolled back.
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

  /** Call it when the model serves. */
  noteServing(): void {
    const install = this.#installOnProbation();
    if (install !== null && failedStartsOf(install) > 0) this.#store(install, 0);
  }

  /** The current install if its model is in the active slot. */
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
      // A full disk must not prevent the start of the model.
      log.warn({ err: asAgentError(thrown) }, 'model start not counted');
    }
  }

  #rollBack(install: InstallRecord, error: AgentError): boolean {
    const { slots, clock, log, raise } = this.#deps;
    try {
      slots.update((state) => rollBackInstall(state, error, clock.nowMs()));
    } catch (thrown) {
      log.error({ err: asAgentError(thrown) }, 'install rollback not stored');
      return false;
    }
    raise(failureEvent('rolled_back', install, error));
    log.error({ err: error, ...installContext(install) }, 'new model not started, install rolled back');
    return true;
  }
}

const failedStartsOf = ({ probation }: InstallRecord): number => probation?.failedStarts ?? 0;
