import { asAgentError } from '../../base/errors.ts';
import { Backoff } from '../../base/retry.ts';
import type { InstallPhase } from '../../contract/model.ts';
import { currentInstall, updateInstall } from './transitions.ts';
import type { InstallerDeps } from './types.ts';
import type { InstallRecord, FetchProgress, SlotsState } from '../types.ts';

const RETRY = { minMs: 1000, maxMs: 60_000, resetAfterMs: 60_000 };
/** Shortest time between two published progress messages of the same phase. */
const MIN_PROGRESS_INTERVAL_MS = 1000;

export type JournalDeps = Pick<InstallerDeps, 'slots' | 'clock' | 'log' | 'onState' | 'onProgress'>;

/** Stores the state of installs. Publishes each stored change, and the progress within a phase. */
export class InstallJournal {
  readonly #deps: JournalDeps;
  #progressKey = '';
  #progressAtMonoMs = 0;
  #received: { readonly updateId: string; readonly progress: FetchProgress } | null = null;

  constructor(deps: JournalDeps) {
    this.#deps = deps;
  }

  get state(): SlotsState {
    return this.#deps.slots.state;
  }

  /** The install that has not ended yet; null without one. */
  get current(): InstallRecord | null {
    return currentInstall(this.state);
  }

  /** Stores and publishes a change. Throws `model_space` and `store_failed`; then nothing has changed. */
  store(change: (state: SlotsState) => SlotsState): SlotsState {
    const state = this.#deps.slots.update(change);
    this.#deps.onState();
    return state;
  }

  /** Stores and publishes a change of the current install. Throws as `store`. */
  change(change: Partial<InstallRecord>): InstallRecord {
    const { install } = this.store((state) => updateInstall(state, change, this.#deps.clock.nowMs()));
    return install as InstallRecord;
  }

  /**
   * Stores and publishes the start of a phase, unless this start is stored already, as it is after a restart of the
   * agent. Throws as `store`.
   */
  begin(phase: InstallPhase, install: InstallRecord): InstallRecord {
    const { bytes, totalBytes } = this.withReceivedBytes(install);
    const current = this.current ?? install;
    const begun = current.phase === phase ? current : this.change({ phase, bytes, totalBytes });
    this.reportProgress(begun, phase === 'shadow' ? 0 : null);
    return begun;
  }

  /** Stores counters without publishing them. When the disk is full, logs the error and keeps the old counters. */
  note(change: Partial<InstallRecord>): void {
    try {
      this.#deps.slots.update((state) =>
        currentInstall(state) === null ? state : updateInstall(state, change, this.#deps.clock.nowMs()),
      );
    } catch (thrown) {
      this.#deps.log.debug({ err: asAgentError(thrown) }, 'cannot store the counters of an install');
    }
  }

  /**
   * Stores a change that must not be lost, such as the end of an install. Retries until the disk accepts it, and calls
   * `freeSpace` once.
   */
  async storeWithRetry(
    change: (state: SlotsState) => SlotsState,
    freeSpace: () => Promise<void>,
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
          log.error({ err: error }, 'cannot store the state of an install, trying again');
          await freeSpace();
        }
        await clock.sleep(backoff.attempts === 0 ? backoff.nextMs() / 10 : backoff.nextMs(), signal);
      }
    }
  }

  /**
   * Publishes the progress of an install: a new phase at once, and then at most once per second. `share01` is the
   * completed part of the phase, or null when it is unknown.
   */
  reportProgress(install: InstallRecord, share01: number | null): void {
    const { updateId, phase } = install;
    const { clock, onProgress } = this.#deps;
    const nowMonoMs = clock.monoMs();
    const key = `${updateId} ${phase}`;
    const isTooSoon = nowMonoMs - this.#progressAtMonoMs < MIN_PROGRESS_INTERVAL_MS;
    if (key === this.#progressKey && isTooSoon && share01 !== 1) return;
    this.#progressKey = key;
    this.#progressAtMonoMs = nowMonoMs;
    const { bytes, totalBytes } = this.withReceivedBytes(install);
    onProgress({
      schema: 'swellsight.model_progress/1',
      update_id: updateId,
      phase,
      bytes,
      total_bytes: totalBytes,
      percent: share01 === null ? null : Math.round(Math.min(1, Math.max(0, share01)) * 1000) / 10,
    });
  }

  /** Publishes the number of received bytes, but does not store it. */
  reportBytes(install: InstallRecord, progress: FetchProgress): void {
    this.#received = { updateId: install.updateId, progress };
    const { bytes, totalBytes } = progress;
    this.reportProgress(install, totalBytes === null ? null : totalBytes === 0 ? 1 : bytes / totalBytes);
  }

  /** Returns the install record with the newest byte counts. */
  withReceivedBytes(install: InstallRecord): InstallRecord {
    if (this.#received?.updateId !== install.updateId) return install;
    const { bytes, totalBytes } = this.#received.progress;
    return { ...install, bytes, totalBytes };
  }
}
