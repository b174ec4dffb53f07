import type { AgentApi } from '../../contract/api.ts';
import type { CommandArgs } from '../../contract/command.ts';
import { CONFIRM_WITHIN_S, type Deferred } from '../../contract/config.ts';

type ConfigCommand = 'config.get' | 'config.set' | 'config.confirm' | 'log.level' | 'restart';

/** Takes what is to begin when the answer has been delivered, or cannot be. */
export type AfterAnswer = (begin: () => void) => void;

type ConfigHandlers = {
  readonly [N in ConfigCommand]: (
    args: CommandArgs<N>,
    signal: AbortSignal,
    afterAnswer: AfterAnswer,
  ) => unknown;
};

/** The commands that change how the agent runs. What would cut off the answer begins behind it. */
export function configHandlers(api: AgentApi): ConfigHandlers {
  return {
    'config.get': () => api.getConfig(),
    'config.set': ({ patch, confirm_within_s: withinS = CONFIRM_WITHIN_S.usual }, _signal, afterAnswer) =>
      answered(api.setConfig(patch, withinS), afterAnswer),
    'config.confirm': ({ trial = null }, signal) => api.confirmConfig(trial, signal),
    'log.level': ({ level }) => api.setLogLevel(level),
    restart: (_args, _signal, afterAnswer) => answered(api.restart(), afterAnswer),
  };
}

function answered<T>({ answer, begin }: Deferred<T>, afterAnswer: AfterAnswer): T {
  afterAnswer(begin);
  return answer;
}
