import type { Clock } from '../base/clock.ts';
import type { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { isFinalUpdatePhase, type AgentProgress } from '../contract/agent-update.ts';
import type { RaiseEvent } from '../store/types.ts';
import { UpdateReplies } from './replies.ts';
import { toAgentProgress, toAgentUpdate } from './state-view.ts';
import { endEvent, isUnderWay, toPhase } from './transitions.ts';
import type { UpdateRecord } from './types.ts';
import type { UpdateFiles } from './update-files.ts';

export interface UpdateJournalDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly files: UpdateFiles;
  /** Called after each change of the state. */
  readonly onChanged: () => void;
  readonly onProgress: (progress: AgentProgress) => void;
}

/** Shortest time between two progress messages of the download. */
const PROGRESS_INTERVAL_MS = 1000;

/** Stores the record of the current or last update, and reports each change: state, progress, event, reply. */
export class UpdateJournal {
  readonly replies = new UpdateReplies();
  readonly #deps: UpdateJournalDeps;
  #record: UpdateRecord | null;
  #progressAtMonoMs = -Infinity;

  constructor(deps: UpdateJournalDeps) {
    this.#deps = deps;
    this.#record = deps.files.readRecord();
  }

  get record(): UpdateRecord | null {
    return this.#record;
  }

  /** The update that has not ended yet; null without one. */
  get current(): UpdateRecord | null {
    return isUnderWay(this.#record) ? this.#record : null;
  }

  /** Stores the next state of the current update, or a new update. Throws `store_failed`; then nothing has changed. */
  store(record: UpdateRecord): UpdateRecord {
    const { files, raise, onChanged, onProgress } = this.#deps;
    const before = this.#record;
    files.writeRecord(record);
    this.#record = record;
    if (isFinalUpdatePhase(record.phase)) {
      if (isUnderWay(before) && before.id === record.id) raise(endEvent(record, before));
      this.replies.settle(record);
    }
    if (before?.id !== record.id || before.phase !== record.phase) onProgress(toAgentProgress(record));
    onChanged();
    return record;
  }

  /** Ends the current update. Throws as `store`. */
  fail(error: AgentError): void {
    const { clock, log } = this.#deps;
    const { current } = this;
    if (current === null) return;
    log.error({ err: error, update_id: current.id, version: current.version }, 'update failed');
    const reason = { code: error.code, message: error.message };
    this.store(toPhase(current, 'failed', clock.nowMs(), { reason }));
  }

  /** Publishes the byte counts of a download, but does not store them. */
  reportBytes(record: UpdateRecord): void {
    const { clock, onProgress, onChanged } = this.#deps;
    const before = this.#record;
    this.#record = record;
    const nowMonoMs = clock.monoMs();
    if (nowMonoMs - this.#progressAtMonoMs < PROGRESS_INTERVAL_MS) return;
    this.#progressAtMonoMs = nowMonoMs;
    onProgress(toAgentProgress(record));
    if (before === null || toAgentUpdate(before).percent !== toAgentUpdate(record).percent) onChanged();
  }
}
