import type { ModelInstallResult } from '../../contract/model.ts';
import { AgentError, asAgentError, type ErrorCode } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { toInstallResult } from '../state-view.ts';
import type { InstallRecord } from '../types.ts';
import type { Commands } from '../../mqtt/commands/commands.ts';
import type { KeyValue } from '../../store/types.ts';

export interface PendingRepliesDeps {
  readonly memory: KeyValue;
  readonly log: Log;
  /** The install in hand, or the last one. */
  readonly install: () => InstallRecord | null;
}

/** In the store's memory, by the install's id: the command that waits for its end. */
const KEY = 'model.install.';

/** Which command asked for which install: it is answered even when the agent ends and starts again meanwhile. */
export class PendingReplies {
  readonly #deps: PendingRepliesDeps;
  /** Those who wait for the installs of an earlier run. */
  readonly #waiting = new Map<string, (end: ModelInstallResult | AgentError) => void>();

  constructor(deps: PendingRepliesDeps) {
    this.#deps = deps;
  }

  /** To be told before the install is stored, so that after a power cut it is known whom to answer. */
  note(updateId: string, commandId: string): void {
    this.#deps.memory.set(KEY + updateId, commandId);
  }

  /** The command has its answer. Not while the install is in hand: the agent is stopping then, and the next run owes it. */
  settled(updateId: string): void {
    const install = this.#deps.install();
    if (install?.updateId === updateId && endOf(install) === null) return;
    // The answer is stored first: whoever awaits it has done so by then.
    setImmediate(() => {
      try {
        this.#deps.memory.delete(KEY + updateId);
      } catch (thrown) {
        this.#deps.log.warn(
          { code: asAgentError(thrown).code },
          'the command of an install is not forgotten',
        );
      }
    });
  }

  /** What an earlier run owes is answered when it can be. */
  resume(commands: Pick<Commands, 'resume'>): void {
    const install = this.#deps.install();
    const id = install === null ? null : this.#deps.memory.get(KEY + install.updateId);
    if (install === null || id === null) return;
    const { updateId, startedAtMs } = install;
    const running = new Promise<ModelInstallResult>((resolve, reject) => {
      this.#waiting.set(updateId, (end) => (end instanceof AgentError ? reject(end) : resolve(end)));
    });
    const settled = (): void => this.settled(updateId);
    running.then(settled, settled);
    commands.resume({ id, name: 'model.install', receivedAtMs: startedAtMs, running });
    this.tell();
  }

  /** The install may have come to where its command is answered. */
  tell(): void {
    const install = this.#deps.install();
    for (const [updateId, waiting] of this.#waiting) {
      const end = install?.updateId === updateId ? endOf(install) : interrupted();
      if (end === null) continue;
      this.#waiting.delete(updateId);
      waiting(end);
    }
  }
}

/** What the command is answered with; null while there is nothing to say. */
function endOf(install: InstallRecord): ModelInstallResult | AgentError | null {
  switch (install.phase) {
    case 'requested':
    case 'downloading':
    case 'verifying':
    case 'testing':
    case 'shadow':
      return null;
    case 'probation':
    case 'committed':
      return toInstallResult(install);
    case 'failed':
    case 'rolled_back': {
      const code: ErrorCode = install.reason?.code ?? 'model_candidate_failed';
      return new AgentError(code, install.reason?.message ?? 'the install ended badly');
    }
  }
}

const interrupted = (): AgentError =>
  new AgentError('command_interrupted', 'another install took the place of the one that was asked for');
