import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ModelInstallResult } from '../../contract/model.ts';
import type { KeyValue } from '../../store/types.ts';
import { toInstallResult } from '../state-view.ts';
import type { InstallRecord } from '../types.ts';

/**
 * The part of the command handling that this file uses: it sends the reply to a command of an earlier run of the agent.
 */
export interface ReplyingCommands {
  resume(command: {
    readonly id: string;
    readonly name: 'model.install';
    readonly receivedAtMs: number;
    /** Resolves with the result of the command, or rejects with its error. */
    readonly running: Promise<ModelInstallResult>;
  }): void;
}

export interface PendingRepliesDeps {
  readonly memory: KeyValue;
  readonly log: Log;
  /** Returns the current install, or the last one when no install is running. */
  readonly install: () => InstallRecord | null;
}

/**
 * Start of a key in the store's memory. The id of an install follows; the value is the id of the command that requested
 * it.
 */
const KEY_PREFIX = 'model.install.';

/** Remembers which command requested which install, so that the command gets its reply even after a restart. */
export class PendingReplies {
  readonly #deps: PendingRepliesDeps;
  /** Functions that settle the commands of an earlier run of the agent, by the id of the install. */
  readonly #resumed = new Map<string, (end: ModelInstallResult | AgentError) => void>();

  constructor(deps: PendingRepliesDeps) {
    this.#deps = deps;
  }

  /** Call this before the install is stored. If the power is cut between the two, the command must be known. */
  add(updateId: string, commandId: string): void {
    this.#deps.memory.set(KEY_PREFIX + updateId, commandId);
  }

  /**
   * Call this when the command was answered. Does nothing while the install continues: then the agent is stopping, and
   * its next run has to send the reply.
   */
  remove(updateId: string): void {
    const install = this.#deps.install();
    if (install?.updateId === updateId && replyTo(install) === null) return;
    // Delete the entry in a later turn of the event loop, because the reply must be stored first.
    setImmediate(() => {
      try {
        this.#deps.memory.delete(KEY_PREFIX + updateId);
      } catch (thrown) {
        this.#deps.log.warn(
          { code: asAgentError(thrown).code },
          'cannot delete the stored note of an answered command',
        );
      }
    });
  }

  /** Hands the unanswered command of an earlier run of the agent to `commands`. */
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

  /** Settles the resumed commands whose install has ended. */
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

/**
 * The reply to the command that requested the install; null while the install continues. The command is answered when
 * the new model runs, which it does on probation.
 */
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
