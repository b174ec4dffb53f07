import type { AgentError } from '../../base/errors.ts';
import { asAgentError } from '../../base/errors.ts';
import { reasonOf } from './faults.ts';
import { badEnd, goodEvent, label, type BadEnd } from './events.ts';
import { blaming, committed, failed, sentBack } from './slots.ts';
import type { StepDeps } from './steps.ts';
import type { InstallRecord, SlotsState } from '../types.ts';

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
    raise(goodEvent('model_install_committed', done, 'is installed'));
    log.info(label(done), 'the install is committed');
    return done;
  }

  /** Before the swap: nothing has changed but that the bundle may be refused from now on. */
  async fail(install: InstallRecord, error: AgentError, stop: AbortSignal): Promise<void> {
    const { clock, journal } = this.#deps;
    const change = (state: SlotsState): SlotsState =>
      failed(blaming(state, error, clock.nowMs()), reasonOf(error), clock.nowMs());
    await journal.settle(change, () => this.clean(install), stop);
    this.#say('failed', install, error);
  }

  /**
   * After the swap: the slots are as before, stored first, so that a restart in the midst of it begins with the former
   * model; then that one is proved and takes over.
   */
  async goBack(install: InstallRecord, error: AgentError, stop: AbortSignal): Promise<void> {
    await this.#deps.changes.exclusive(stop, async () => {
      const { changes, clock, journal, log, onState, slots } = this.#deps;
      const former = changes.orFactory((install.former ?? { active: slots.state.previous }).active);
      const sendBack = (state: SlotsState): SlotsState => sentBack(state, error, clock.nowMs());
      let stored = false;
      try {
        slots.update(sendBack);
        stored = true;
        this.#say('rolled_back', install, error);
      } catch (thrown) {
        // A full disk must not keep a bad model at work.
        log.error({ err: asAgentError(thrown) }, 'the return to the former model cannot be stored yet');
      }
      const serving = this.#pinned ? former : await changes.serve(former, stop);
      if (!stored) {
        await journal.settle(sendBack, () => this.clean(install), stop);
        this.#say('rolled_back', install, error);
      }
      if (serving.digest !== former.digest) {
        const fallen = (state: SlotsState): SlotsState => ({ ...state, active: null, previous: former });
        await journal.settle(fallen, () => this.clean(install), stop);
      }
      onState();
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

  #say(end: BadEnd, install: InstallRecord, error: AgentError): void {
    const { raise, log } = this.#deps;
    raise(badEnd(end, install, error));
    const level = error.code === 'model_install_aborted' ? 'info' : 'error';
    log[level]({ err: error, ...label(install), end }, 'the install ended badly');
  }
}
