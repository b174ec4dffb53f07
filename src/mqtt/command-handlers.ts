import { isoTime, type Clock } from '../clock.ts';
import type { AgentApi } from '../contract/api.ts';
import { AgentError } from '../errors.ts';
import type { KnownCommand } from './command-input.ts';

/** Does what a command asks. Resolves with the `result` of its answer. */
export type RunCommand = (command: KnownCommand, signal: AbortSignal) => Promise<unknown>;

/** The commands, as methods of the agent. */
export function commandRunner(api: AgentApi, clock: Clock): RunCommand {
  const startedMonoMs = clock.monoMs();
  return async (command, signal) => {
    switch (command.name) {
      case 'ping': {
        const uptimeS = Math.round(clock.monoMs() - startedMonoMs) / 1000;
        return { pong: true, at: isoTime(clock.nowMs()), uptime_s: uptimeS };
      }
      case 'info':
        return api.info();
      case 'capture':
        return api.capture(command.args.camera, signal);
      case 'label':
        return api.addLabel(command.args);
      default:
        return unknownCommand(command);
    }
  };
}

function unknownCommand(command: never): never {
  throw new AgentError('internal', 'a command without a handler', { context: { command } });
}
