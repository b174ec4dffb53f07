import { isoTime, type Clock } from '../../base/clock.ts';
import { asAgentError, isTimeout } from '../../base/errors.ts';
import type { AgentApi } from '../../contract/api.ts';
import type { CommandArgs, CommandName } from '../../contract/command.ts';
import { CONFIRM_WITHIN_S, type Deferred } from '../../contract/config.ts';
import { updateIdOf } from '../../contract/model.ts';
import type { Topics } from '../topics.ts';
import type { Link } from '../types.ts';
import { publishImage } from './publish-image.ts';

/** One run of a command. */
export interface CommandRun {
  readonly id: string;
  /** Aborts at the timeout of the command (`TimeoutError`) and when the agent stops. */
  readonly signal: AbortSignal;
  /** Registers work that starts after the answer was delivered, or after its delivery failed. */
  readonly afterAnswer: (begin: () => void) => void;
}

/**
 * The handlers, by command name. Each returns or resolves with the `result` of the answer, or throws the `error` of it.
 */
export type CommandHandlers = {
  readonly [N in CommandName]: (args: CommandArgs<N>, run: CommandRun) => unknown;
};

export interface HandlerDeps {
  readonly api: AgentApi;
  readonly clock: Clock;
  readonly link: Link;
  readonly topics: Topics;
}

/**
 * Timeouts of the commands that need more time than the default, ms. A capture may be a burst of many frames. A model
 * may arrive over a slow link, and an execution provider may compile it for minutes. An update of the agent has shorter time
 * limits of its own.
 */
export const COMMAND_TIMEOUT_MS: Readonly<Partial<Record<CommandName, number>>> = {
  capture: 900_000,
  // The longest clip, and the clip that may run before it.
  sea_state: 4_500_000,
  'model.install': 86_400_000,
  'model.rollback': 900_000,
  'model.abort': 120_000,
  'model.reload': 900_000,
  'agent.install': 86_400_000,
  'agent.rollback': 7_200_000,
};

/**
 * Commands that do not wait in the queue: an install takes hours, and an abort or a rollback must be able to end it. A clip takes
 * minutes.
 */
export const CONCURRENT_COMMANDS: ReadonlySet<CommandName> = new Set([
  'model.install',
  'model.abort',
  'model.rollback',
  'agent.install',
  'agent.rollback',
  'sea_state',
]);

/** Commands whose work, and whose answer, the next run of the agent continues: see `Commands.resume`. */
export const RESUMED_COMMANDS: ReadonlySet<CommandName> = new Set([
  'model.install',
  'agent.install',
  'agent.rollback',
]);

/** Commands that are safe to run again. A full command log forgets them first. */
export const REPEATABLE_COMMANDS: ReadonlySet<CommandName> = new Set([
  'ping',
  'info',
  'diagnostics',
  'image',
  'config.get',
  'model.list',
  'agent.list',
]);

/** How long a height of the tide holds unless the command says otherwise: it changes by half a metre and more in an hour. */
const TIDE_VALID_S = 3600;
const MAX_DIAGNOSTICS_BYTES = 65_536;
/** Maximum share of the link's payload limit that a diagnostics report uses. */
const DIAGNOSTICS_SHARE = 0.5;

/** Maps every command to the method of the agent that does its work. */
export function createCommandHandlers(deps: HandlerDeps): CommandHandlers {
  const { api, clock, link } = deps;
  const startedMonoMs = clock.monoMs();
  return {
    ping: () => ({
      pong: true,
      at: isoTime(clock.nowMs()),
      uptime_s: Math.round(clock.monoMs() - startedMonoMs) / 1000,
    }),
    info: async () => {
      try {
        await api.announce();
      } catch (thrown) {
        // A lost link is not a failure: the agent publishes the same states again after the next connect.
        if (!asAgentError(thrown).retryable) throw thrown;
      }
      return api.info();
    },
    diagnostics: () =>
      api.diagnostics({
        maxBytes: Math.min(MAX_DIAGNOSTICS_BYTES, link.maxPayloadBytes * DIAGNOSTICS_SHARE),
      }),
    capture: ({ camera }, { signal }) => api.capture(camera, signal),
    sea_state: ({ camera, durationS = null }, { signal }) => api.measureSeaState(camera, durationS, signal),
    label: (args) => api.addLabel(args),
    'label.remove': ({ observation_id }) => api.removeLabel(null, observation_id),
    image: (args, { signal }) => publishImage(args, deps, signal),
    backfill: ({ camera, from_seq, to_seq, stream }, { signal }) =>
      api.backfill(camera, from_seq, to_seq, signal, stream),

    'model.install': (args, { id, signal }) => {
      const { serves } = api.installModel(args, { updateId: updateIdOf(id), commandId: id });
      // After the timeout the answer is `failed`, so the install must not succeed later. A stop of the agent does not
      // abort the install: the next run of the agent continues it.
      signal.addEventListener('abort', () => {
        if (isTimeout(signal.reason)) void api.abortInstall().catch(() => undefined);
      });
      return serves;
    },
    'model.rollback': (_args, { signal }) => api.rollbackModel(signal),
    'model.abort': () => api.abortInstall(),
    'model.list': () => api.listModels(),
    'model.reload': (_args, { signal }) => api.reloadModel(signal),

    // An update ends in another process of the agent: in the new version, or in the former one.
    'agent.install': (args, { id }) =>
      api.installAgent(args, { updateId: updateIdOf(id), commandId: id }).ends,
    'agent.rollback': (_args, { id }) => api.rollbackAgent({ updateId: updateIdOf(id), commandId: id }).ends,
    'agent.list': () => api.listAgentVersions(),

    'config.get': () => api.getConfig(),
    'config.set': ({ patch, confirm_within_s: withinS = CONFIRM_WITHIN_S.usual }, { afterAnswer }) =>
      beginAfterAnswer(api.setConfig(patch, withinS), afterAnswer),
    'config.confirm': ({ trial = null }, { signal }) => api.confirmConfig(trial, signal),
    'tide.set': ({ offset_m = null, height_m = null, valid_s = TIDE_VALID_S }) =>
      api.setTide({ offsetM: offset_m, heightM: height_m, validS: valid_s }),
    'log.level': ({ level }) => api.setLogLevel(level),
    restart: (_args, { afterAnswer }) => beginAfterAnswer(api.restart(), afterAnswer),
  };
}

export const runHandler = <N extends CommandName>(
  handlers: CommandHandlers,
  { name, args }: { readonly name: N; readonly args: CommandArgs<N> },
  run: CommandRun,
): unknown => handlers[name](args, run);

/** Registers work that may end the connection, so that it starts only after the answer was delivered. */
function beginAfterAnswer<T>({ answer, begin }: Deferred<T>, afterAnswer: CommandRun['afterAnswer']): T {
  afterAnswer(begin);
  return answer;
}
