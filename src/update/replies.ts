import { AgentError } from '../base/errors.ts';
import type { AgentUpdateResult } from '../contract/agent-update.ts';
import { toUpdateResult } from './state-view.ts';
import { isUnderWay } from './transitions.ts';
import type { UpdateRecord } from './types.ts';

/**
 * The part of the command handling that this file uses: it sends the result to a command that an earlier process of the
 * agent accepted, usually another version of it.
 */
export interface ReplyingCommands {
  resume(command: {
    readonly id: string;
    readonly name: 'agent.install' | 'agent.rollback';
    readonly receivedAtMs: number;
    /** Resolves with the result of the command, or rejects with its error. */
    readonly running: Promise<AgentUpdateResult>;
  }): void;
}

/** Who waits for the end of which update. */
export class UpdateReplies {
  readonly #waiting = new Map<string, PromiseWithResolvers<AgentUpdateResult>>();

  /** The result of the update. */
  wait(record: UpdateRecord): Promise<AgentUpdateResult> {
    const known = this.#waiting.get(record.id);
    if (known) return known.promise;
    const waiting = Promise.withResolvers<AgentUpdateResult>();
    // A rejected promise that nobody awaits must not end the process.
    waiting.promise.catch(() => undefined);
    this.#waiting.set(record.id, waiting);
    if (!isUnderWay(record)) this.settle(record);
    return waiting.promise;
  }

  /** Hands the command of the stored update to `commands`, which does nothing if it was answered already. */
  resume(record: UpdateRecord, commands: ReplyingCommands): void {
    const { commandId, action, startedAtMs } = record;
    if (commandId === null) return;
    const name = action === 'install' ? 'agent.install' : 'agent.rollback';
    commands.resume({ id: commandId, name, receivedAtMs: startedAtMs, running: this.wait(record) });
  }

  /** The update has ended. */
  settle(record: UpdateRecord): void {
    const waiting = this.#waiting.get(record.id);
    if (!waiting) return;
    this.#waiting.delete(record.id);
    if (record.phase === 'committed') waiting.resolve(toUpdateResult(record));
    else {
      const { code = 'update_rejected', message = 'the update failed' } = record.reason ?? {};
      waiting.reject(new AgentError(code, message));
    }
  }
}
