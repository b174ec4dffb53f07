import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ModelInstallResult } from '../../contract/model.ts';
import type { KeyValue } from '../../store/types.ts';
import { toInstallResult } from '../state-view.ts';
import type { InstallRecord } from '../types.ts';

/** The part of the commands that replies to a command of an earlier run. */
export interface ReplyingCommands {
  resume(command: {
    readonly id: string;
    readonly name: 'model.install';
    readonly receivedAtMs: number;
    /** Settles with the command's result. */
    readonly running: Promise<ModelInstallResult>;
  }): void;
}

export interface PendingRepliesDeps {
  readonly memory: KeyValue;
  readonly log: Log;
  /** The current install, or the last one. */
  readonly install: () => InstallRecord | null;
}

/** Key in the store's memory: the id of an install follows, the value is the id of the command that requested it. */
const KEY_PREFIX = 'model.install.';

/** Remembers which command requested which install, so that the command gets its reply even after a restart. */
export class PendingReplies {
  readonly #deps: PendingRepliesDeps;
  /** Commands of an earlier run, by the id of their install. */
  readonly #resumed = new Map<string, (end: ModelInstallResult | AgentError) => void>();

  constructor(deps: PendingRepliesDeps) {
    this.#deps = deps;
  }

  /** To be called before the install is stored: after a power cut in between, the command must be known. */
  add(updateId: string, commandId: string): void {
    this.#deps.memory.set(KEY_PREFIX + updateId, commandId);
  }

  /** The command was answered. While the install goes on, the agent is stopping, and the next run has to reply. */
  remove(updateId: string): void {
    const install = this.#deps.install();
    if (install?.updateId === updateId && replyTo(install) === null) return;
    // In a later turn, because the reply is stored first.
    setImmediate(() => {
      try {
        this.#deps.memory.delete(KEY_PREFIX + updateId);
      } catch (thrown) {
        this.#deps.log.warn({ code: asAgentError(thrown).code }, 'pending reply not removed');
      }
    });
  }

  /** Hands the unanswered command of an earlier run to `commands`. */
  resume(commands: ReplyingCommands): void {
    const install = this.#deps.install();
    const id = install === null ? null : this.#deps.memory.get(KEY_PREFIX + install.updateId);
    if (install === null || id === null) return;
    const { updateId, startedAtMs } = install;
    const running = new Promise<ModelInstallResult>((resolve, reject) => {
      this.#resumed.set(updateId, (end) => (end instanceof AgentError ? reject(end) : resolve(end)));
    });
    const remove = (): void => this.remove(updateId);
    running.then(remove, remove);
    commands.resume({ id, name: 'model.install', receivedAtMs: startedAtMs, running });
    this.answer();
  }

  /** Replies to the resumed commands whose install has ended. */
  answer(): void {
    const install = this.#deps.install();
    for (const [updateId, settle] of this.#resumed) {
      const end = install?.updateId === updateId ? replyTo(install) : replacedError();
      if (end === null) continue;
      this.#resumed.delete(updateId);
      settle(end);
    }
  }
}

/** The reply to the command of an install; null while it goes on. A model on probation runs, so its command is answered. */
function replyTo(install: InstallRecord): ModelInstallResult | AgentError | null {
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
      const { code = 'model_candidate_failed', message = 'the install failed' } = install.reason ?? {};
      return new AgentError(code, message);
    }
  }
}

const replacedError = (): AgentError =>
  new AgentError('command_interrupted', 'another install replaced the requested one');
