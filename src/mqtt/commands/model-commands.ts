import { createHash } from 'node:crypto';
import type { AgentApi } from '../../contract/api.ts';
import type { CommandArgs } from '../../contract/command.ts';
import type { AfterAnswer } from './config-commands.ts';

type ModelCommand = 'model.install' | 'model.rollback' | 'model.abort' | 'model.list' | 'model.reload';

type ModelHandlers = {
  readonly [N in ModelCommand]: (
    args: CommandArgs<N>,
    signal: AbortSignal,
    afterAnswer: AfterAnswer,
    id: string,
  ) => unknown;
};

/**
 * The id of the install that a command asks for: the same one for the same command, on the device and at whoever sends
 * it. A UUID of version 8 (RFC 9562).
 */
export function updateIdOf(commandId: string): string {
  const bytes = createHash('sha256').update(`swellsight model.install ${commandId}`).digest().subarray(0, 16);
  bytes[6] = 0x80 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** The commands that concern which model runs. */
export function modelHandlers(api: AgentApi): ModelHandlers {
  return {
    'model.install': (args, signal, _afterAnswer, id) => {
      const { serves } = api.installModel(args, { updateId: updateIdOf(id), commandId: id });
      // One that has taken longer than any may is not to come into force after it was answered as failed.
      signal.addEventListener('abort', () => {
        if (isTimeout(signal.reason)) void api.abortInstall().catch(() => undefined);
      });
      return serves;
    },
    'model.rollback': (_args, signal) => api.rollbackModel(signal),
    'model.abort': () => api.abortInstall(),
    'model.list': () => api.listModels(),
    'model.reload': (_args, signal) => api.reloadModel(signal),
  };
}

const isTimeout = (reason: unknown): boolean => reason instanceof Error && reason.name === 'TimeoutError';
