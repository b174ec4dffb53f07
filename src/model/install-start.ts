import { AgentError, asAgentError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { InstallEnds } from './install-ends.ts';
import { blamesModel } from './install-faults.ts';
import type { InstallJournal } from './install-journal.ts';
import type { InstallRecord } from './types.ts';

const MOST_FAILED_STARTS = 2;

export interface StartDeps {
  readonly journal: InstallJournal;
  readonly ends: InstallEnds;
  readonly log: Log;
}

/**
 * Counts the starts of a model on probation at the start of the agent. A start is counted before it is tried, for it may
 * end the agent or the machine, and the count is cleared when the model serves.
 */
export class StartCount {
  readonly #deps: StartDeps;

  constructor(deps: StartDeps) {
    this.#deps = deps;
  }

  begins(): void {
    const install = this.#onProbation();
    if (install === null) return;
    const failedStarts = failedStartsOf(install);
    if (failedStarts >= MOST_FAILED_STARTS) {
      this.#sendBack(install, new AgentError('model_probation_failed', 'two starts of the new model failed'));
      return;
    }
    this.#note(install, failedStarts + 1);
  }

  /** True when the model was sent back. */
  failed(error: AgentError): boolean {
    const install = this.#onProbation();
    if (install === null) return false;
    if (error.retryable && failedStartsOf(install) < MOST_FAILED_STARTS) return false;
    const isItsFault = error.retryable || blamesModel(error.code);
    const message = `the new model did not start: ${error.message}`;
    const { code } = error;
    return this.#sendBack(
      install,
      isItsFault
        ? new AgentError('model_probation_failed', message, { context: { code }, cause: error })
        : error,
    );
  }

  served(): void {
    const install = this.#onProbation();
    if (install !== null && failedStartsOf(install) > 0) this.#note(install, 0);
  }

  /** The install whose model the slots name as active. */
  #onProbation(): InstallRecord | null {
    const { inHand, state } = this.#deps.journal;
    return inHand?.phase === 'probation' && state.active?.digest === inHand.candidate?.digest ? inHand : null;
  }

  #note({ probation }: InstallRecord, failedStarts: number): void {
    const counts = probation ?? { answers: 0, failures: 0 };
    this.#deps.journal.note({ probation: { ...counts, failedStarts } });
  }

  #sendBack(install: InstallRecord, error: AgentError): boolean {
    try {
      this.#deps.ends.sendBackAtStart(install, error);
      return true;
    } catch (thrown) {
      this.#deps.log.error({ err: asAgentError(thrown) }, 'the return to the former model cannot be stored');
      return false;
    }
  }
}

const failedStartsOf = ({ probation }: InstallRecord): number => probation?.failedStarts ?? 0;
