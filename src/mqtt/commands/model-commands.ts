import type { AgentApi } from '../../contract/api.ts';
import type { CommandArgs } from '../../contract/command.ts';
import { updateIdOf } from '../../contract/model.ts';
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
