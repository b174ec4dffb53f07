import { isoTime, type Clock } from '../../base/clock.ts';
import type { AgentApi } from '../../contract/api.ts';
import type { CommandArgs, CommandName } from '../../contract/command.ts';
import { asAgentError } from '../../base/errors.ts';
import type { ArgsRules } from './input.ts';
import { configHandlers, type AfterAnswer } from './config-commands.ts';
import { publishImage } from './image-command.ts';
import { modelHandlers } from './model-commands.ts';
import type { Topics } from '../topics.ts';
import type { Link } from '../types.ts';

/** By name; each resolves with the `result` of the answer, or throws what becomes its `error`. */
export type CommandHandlers = {
  readonly [N in CommandName]: (
    args: CommandArgs<N>,
    signal: AbortSignal,
    afterAnswer: AfterAnswer,
    id: string,
  ) => unknown;
};

export interface HandlerDeps {
  readonly api: AgentApi;
  readonly clock: Clock;
  readonly link: Link;
  readonly topics: Topics;
}

/**
 * Longest run of one command, ms, where it is not the usual one. A capture may be a burst of many frames; a model comes
 * over whatever link there is, and a provider may build it for minutes.
 */
export const COMMAND_TIMEOUT_MS: Readonly<Partial<Record<CommandName, number>>> = {
  capture: 900_000,
  'model.install': 86_400_000,
  'model.rollback': 900_000,
  'model.abort': 120_000,
  'model.reload': 900_000,
};

/** Run beside the others, and never wait for them: an install takes hours, and what ends it must get through. */
export const BESIDE: ReadonlySet<CommandName> = new Set(['model.install', 'model.abort', 'model.rollback']);

/** Commands that may be run again without harm: the first to be forgotten where not all can be remembered. */
export const HARMLESS: ReadonlySet<CommandName> = new Set([
  'ping',
  'info',
  'diagnostics',
  'image',
  'config.get',
  'model.list',
]);

const MAX_BACKFILL = 10_000;
const MAX_REPORT_BYTES = 65_536;
/** A report is never more than this share of what the link takes. */
const REPORT_SHARE = 0.5;

/** What the schemas cannot say. */
export const ARGS_RULES: ArgsRules = {
  backfill: ({ from_seq, to_seq }) => {
    if (to_seq < from_seq) return '/to_seq is below /from_seq';
    return to_seq - from_seq >= MAX_BACKFILL ? `more than ${MAX_BACKFILL} records at once` : null;
  },
};

/** The commands, as methods of the agent. */
export function commandHandlers(deps: HandlerDeps): CommandHandlers {
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
        // The link was lost: its next birth says the same.
        if (!asAgentError(thrown).retryable) throw thrown;
      }
      return api.info();
    },
    diagnostics: () =>
      api.diagnostics({ maxBytes: Math.min(MAX_REPORT_BYTES, link.maxPayloadBytes * REPORT_SHARE) }),
    capture: ({ camera }, signal) => api.capture(camera, signal),
    label: (args) => api.addLabel(args),
    'label.remove': ({ observation_id }) => api.removeLabel(null, observation_id),
    image: (args, signal) => publishImage(args, deps, signal),
    backfill: ({ camera, from_seq, to_seq }, signal) => api.backfill(camera, from_seq, to_seq, signal),
    ...modelHandlers(api),
    ...configHandlers(api),
  };
}

/** Runs a command by its name: gives or resolves with its result, throws or rejects with its failure. */
export const runCommand = <N extends CommandName>(
  handlers: CommandHandlers,
  { name, args }: { readonly name: N; readonly args: CommandArgs<N> },
  signal: AbortSignal,
  afterAnswer: AfterAnswer,
  id: string,
): unknown => handlers[name](args, signal, afterAnswer, id);
