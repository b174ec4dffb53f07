import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { RaiseEvent } from '../../store/types.ts';
import { badEnd, label } from './events.ts';
import { blamesModel } from './faults.ts';
import { changed, inHand, sentBack } from './slots.ts';
import type { Slots } from './types.ts';
import type { InstallRecord } from '../types.ts';

const MAX_FAILED_STARTS = 2;

export interface StartsDeps {
  readonly slots: Pick<Slots, 'state' | 'update'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
}

/**
 * Sends a model on probation back that does not start with the agent, in the slots alone: whoever starts the model opens
 * what they name. A start is stored before it is tried, for it may end the agent or the machine; two that failed are enough.
 */
export class ModelStarts {
  readonly #deps: StartsDeps;

  constructor({ slots, clock, log, raise }: StartsDeps) {
    this.#deps = { slots, clock, log, raise };
  }

  /** To be called at the start of the agent, before the slots are read to open a model. */
  begins(): void {
    const install = this.#onProbation();
    if (install === null) return;
    const failedStarts = failedStartsOf(install);
    if (failedStarts >= MAX_FAILED_STARTS)
      this.#sendBack(
        install,
        new AgentError('model_probation_failed', 'two starts with the new model failed'),
      );
    else this.#note(install, failedStarts + 1);
  }

  /**
   * The model could not be opened or started. `fellBack`: another one is tried now; else the same one, which is counted.
   * True when it was sent back.
   */
  failed(error: AgentError, fellBack: boolean): boolean {
    const install = this.#onProbation();
    if (install === null) return false;
    const failedStarts = failedStartsOf(install);
    if (!fellBack && error.retryable && failedStarts < MAX_FAILED_STARTS) {
      this.#note(install, failedStarts + 1);
      return false;
    }
    if (!error.retryable && !blamesModel(error.code)) return this.#sendBack(install, error);
    const message = `the new model did not start: ${error.message}`;
    const context = { code: error.code };
    return this.#sendBack(
      install,
      new AgentError('model_probation_failed', message, { context, cause: error }),
    );
  }

  /** It serves. */
  served(): void {
    const install = this.#onProbation();
    if (install !== null && failedStartsOf(install) > 0) this.#note(install, 0);
  }

  /** The install whose model the slots name as active. */
  #onProbation(): InstallRecord | null {
    const { state } = this.#deps.slots;
    const install = inHand(state);
    return install?.phase === 'probation' && state.active?.digest === install.candidate?.digest
      ? install
      : null;
  }

  #note({ probation }: InstallRecord, failedStarts: number): void {
    const { slots, clock, log } = this.#deps;
    const counts = probation ?? { answers: 0, failures: 0 };
    try {
      slots.update((state) => changed(state, { probation: { ...counts, failedStarts } }, clock.nowMs()));
    } catch (thrown) {
      // A full disk must not keep the model from being started.
      log.warn({ err: asAgentError(thrown) }, 'the start of the new model could not be counted');
    }
  }

  #sendBack(install: InstallRecord, error: AgentError): boolean {
    const { slots, clock, log, raise } = this.#deps;
    try {
      slots.update((state) => sentBack(state, error, clock.nowMs()));
    } catch (thrown) {
      log.error({ err: asAgentError(thrown) }, 'the return to the former model cannot be stored');
      return false;
    }
    raise(badEnd('rolled_back', install, error));
    log.error({ err: error, ...label(install) }, 'the new model does not start: the former one is taken');
    return true;
  }
}

const failedStartsOf = ({ probation }: InstallRecord): number => probation?.failedStarts ?? 0;
