import type { Clock } from '../../base/clock.ts';
import { asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { Backoff } from '../../base/retry.ts';
import { changed, inHand } from './slots.ts';
import type { Slots } from './types.ts';
import type { InstallRecord, SlotsState } from '../types.ts';

const RETRY = { minMs: 1000, maxMs: 60_000, resetAfterMs: 60_000 };

export interface JournalDeps {
  readonly slots: Slots;
  readonly clock: Clock;
  readonly log: Log;
  readonly onState: () => void;
}

/** What is stored of installs, and told as soon as it is stored. */
export class InstallJournal {
  readonly #deps: JournalDeps;

  constructor(deps: JournalDeps) {
    this.#deps = deps;
  }

  get state(): SlotsState {
    return this.#deps.slots.state;
  }

  get inHand(): InstallRecord | null {
    return inHand(this.state);
  }

  /** Stores and tells. Throws `model_space` and `store_failed`, and then nothing has changed. */
  store(change: (state: SlotsState) => SlotsState): SlotsState {
    const state = this.#deps.slots.update(change);
    this.#deps.onState();
    return state;
  }

  /** The install in hand goes on. */
  change(change: Partial<InstallRecord>): InstallRecord {
    const { install } = this.store((state) => changed(state, change, this.#deps.clock.nowMs()));
    return install as InstallRecord;
  }

  /** Counts that need not be told, and that a full disk may withhold. */
  note(change: Partial<InstallRecord>): void {
    try {
      this.#deps.slots.update((state) =>
        inHand(state) === null ? state : changed(state, change, this.#deps.clock.nowMs()),
      );
    } catch (thrown) {
      this.#deps.log.debug({ err: asAgentError(thrown) }, 'counts of the install could not be stored');
    }
  }

  /**
   * Stores what cannot be given up, such as an end: tries until the disk takes it. `relieve` frees what it can after the
   * first refusal.
   */
  async settle(
    change: (state: SlotsState) => SlotsState,
    relieve: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log } = this.#deps;
    const backoff = new Backoff(RETRY, { clock });
    for (;;) {
      try {
        this.store(change);
        return;
      } catch (thrown) {
        signal.throwIfAborted();
        const error = asAgentError(thrown);
        if (error.code !== 'model_space' && error.code !== 'store_failed') throw error;
        if (backoff.attempts === 0) {
          log.error({ err: error }, 'the end of an install cannot be stored; it is tried again');
          await relieve();
        }
        await clock.sleep(backoff.attempts === 0 ? backoff.nextMs() / 10 : backoff.nextMs(), signal);
      }
    }
  }
}
