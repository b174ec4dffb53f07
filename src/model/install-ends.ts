import type { AgentError } from '../errors.ts';
import { asAgentError } from '../errors.ts';
import { reasonOf } from './install-faults.ts';
import { committed, failed, returned } from './install-slots.ts';
import { label, type StepDeps } from './install-steps.ts';
import type { InstallRecord, SlotsState } from './types.ts';

/** The ends of an install: each is stored for sure, then said once. */
export class InstallEnds {
  readonly #pinned: boolean;
  readonly #deps: StepDeps;

  constructor({ pinned }: { readonly pinned: boolean }, deps: StepDeps) {
    this.#pinned = pinned;
    this.#deps = deps;
  }

  /** The model stays. */
  async commit(install: InstallRecord, signal: AbortSignal): Promise<InstallRecord> {
    const { clock, journal, raise, log } = this.#deps;
    await journal.settle(
      (state) => committed(state, clock.nowMs()),
      () => this.clean(install),
      signal,
    );
    const done = journal.state.install ?? install;
    raise({
      type: 'model_install_committed',
      severity: 'info',
      code: 'model_install_committed',
      message: `${done.name} ${done.version} is installed.`,
      context: label(done),
    });
    log.info(label(done), 'the install is committed');
    return done;
  }

  /** Before the swap: nothing has changed but that the bundle may be refused from now on. */
  async fail(install: InstallRecord, error: AgentError, stop: AbortSignal): Promise<void> {
    const { clock, journal } = this.#deps;
    const change = (state: SlotsState): SlotsState =>
      failed(journal.blaming(state, install, error), reasonOf(error), clock.nowMs());
    await journal.settle(change, () => this.clean(install), stop);
    this.#say('failed', install, error);
  }

  /**
   * After the swap: the slots are as before, stored first, so that a restart in the midst of it begins with the former
   * model; then that one is proved and takes over.
   */
  async goBack(install: InstallRecord, error: AgentError, stop: AbortSignal): Promise<void> {
    await this.#deps.changes.exclusive(stop, async () => {
      const { changes, journal, log, onState, slots } = this.#deps;
      const former = changes.orFactory(install.former?.active ?? null);
      let stored = false;
      try {
        slots.update((state) => this.sentBack(state, install, error));
        stored = true;
        this.#say('rolled_back', install, error);
      } catch (thrown) {
        // A full disk must not keep a bad model at work.
        log.error({ err: asAgentError(thrown) }, 'the return to the former model cannot be stored yet');
      }
      const serving = this.#pinned ? former : await changes.serve(former, stop);
      if (!stored) {
        const change = (state: SlotsState): SlotsState => this.sentBack(state, install, error);
        await journal.settle(change, () => this.clean(install), stop);
        this.#say('rolled_back', install, error);
      }
      if (serving.digest !== former.digest) {
        const fallen = (state: SlotsState): SlotsState => ({ ...state, active: null, previous: former });
        await journal.settle(fallen, () => this.clean(install), stop);
      }
      onState();
    });
  }

  /** At the start of the agent, where the model is opened only afterwards. Throws when it cannot be stored. */
  sendBackAtStart(install: InstallRecord, error: AgentError): void {
    this.#deps.journal.store((state) => this.sentBack(state, install, error));
    this.#say('rolled_back', install, error);
  }

  sentBack(state: SlotsState, install: InstallRecord, error: AgentError): SlotsState {
    const { clock, changes, journal } = this.#deps;
    return returned(journal.blaming(state, install, error), {
      reason: reasonOf(error),
      factory: changes.factory,
      nowMs: clock.nowMs(),
    });
  }

  /** What is not needed any more goes; what cannot be removed stays for the next time. */
  async clean({ updateId }: InstallRecord): Promise<void> {
    const { fetcher, log, slots } = this.#deps;
    try {
      await fetcher.discard(updateId);
      await slots.collect();
    } catch (thrown) {
      log.warn({ err: asAgentError(thrown) }, 'what an install left could not be removed');
    }
  }

  #say(end: 'failed' | 'rolled_back', install: InstallRecord, error: AgentError): void {
    const { raise, log } = this.#deps;
    const { code, message } = error;
    const aborted = code === 'model_install_aborted';
    // The phase in which it failed, not the end.
    const context = { ...error.context, ...label(install) };
    const type = `model_install_${end}`;
    raise({ type, severity: aborted ? 'info' : 'error', code, message, context });
    log[aborted ? 'info' : 'error']({ err: error, ...label(install), end }, 'the install ended badly');
  }
}
