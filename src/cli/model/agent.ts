import type { ModelInstall } from '../../contract/model.ts';
import type { ModelRef } from '../../contract/observation.ts';
import type { ModelState } from '../../contract/states.ts';
import { AgentError, ERROR_CODES, type ErrorCode } from '../../base/errors.ts';
import type { AgentOptions } from '../agent-commands.ts';
import { AgentClient } from '../client.ts';
import { table } from '../phrases.ts';
import { progressBar } from '../progress.ts';
import { EXIT, jsonText, type Terminal } from '../terminal.ts';

/** Starting a model may build it for an accelerator, which takes minutes. */
const CHANGE_WITHIN_S = 900;
const LOOK_EVERY_MS = 500;

/** `model list`: slots, the install in hand or the last one, and what is refused. */
export async function modelList(options: AgentOptions, terminal: Terminal): Promise<number> {
  const state = await look(new AgentClient(options, terminal));
  if (options.json === true) {
    terminal.out(jsonText(state));
    return EXIT.ok;
  }
  const { slots, active, install, refused = [], pinned = false, trusted = true } = state;
  const marks = [...(trusted ? [] : ['not signed']), ...(pinned ? ['pinned by model.active'] : [])];
  const row = (slot: string, ref: ModelRef | null): string[] => [
    slot,
    ref === null ? '-' : `${ref.name} ${ref.version}`,
    ref?.digest.slice(0, 19) ?? '',
  ];
  terminal.out(
    table([
      [...row('active', active), marks.join(', ')],
      row('previous', slots.previous),
      row('candidate', slots.candidate),
      row('factory', slots.factory),
      ...(install ? [['install', ...installCells(install)]] : []),
      ...refused.map((one) => [...row('refused', one), `${one.code}, ${one.at}`]),
    ]),
  );
  return EXIT.ok;
}

const installCells = ({ name, version, phase, reason, at }: ModelInstall): string[] => [
  `${name} ${version}`,
  phase,
  reason === null ? at : `${reason.code}: ${reason.message}`,
];

export interface InstallOptions extends AgentOptions {
  readonly digest?: string;
  readonly clearFailed?: boolean;
  readonly watch?: boolean;
}

/** `model install NAME VERSION`: from the device's repository. With `--watch` until it serves, or does not: 1 then. */
export async function modelInstall(
  name: string,
  version: string,
  options: InstallOptions,
  terminal: Terminal,
): Promise<number> {
  const client = new AgentClient(options, terminal);
  const { install } = await client.ask<{ install: ModelInstall }>('/api/v1/models/install', {
    method: 'POST',
    body: {
      name,
      version,
      ...(options.digest === undefined ? {} : { digest: options.digest }),
      ...(options.clearFailed === true ? { clear_failed: true } : {}),
    },
  });
  const last = options.watch === true ? await watch(install, client, terminal) : install;
  if (options.json === true) terminal.out(jsonText(last));
  else terminal.out(`${last.name} ${last.version}: ${last.phase}`);
  if (last.reason !== null && isBad(last)) throw asError(last.reason);
  return isBad(last) ? EXIT.failed : EXIT.ok;
}

/** Follows an install until its model serves or it has ended. An agent that is away for a while is waited for. */
async function watch(first: ModelInstall, client: AgentClient, terminal: Terminal): Promise<ModelInstall> {
  const bar = await progressBar(`${first.name} ${first.version}`, terminal);
  let shown = '';
  try {
    for (let install = first; ;) {
      if (shown !== install.phase && !terminal.bars) terminal.err(install.phase);
      shown = install.phase;
      if (!install.in_progress) return install;
      bar.update(install.bytes, install.total_bytes ?? Math.max(1, install.bytes));
      await pause(terminal.signal);
      install = (await lookAgain(client))?.install ?? install;
      if (install.update_id !== first.update_id)
        throw new AgentError('model_install_busy', `${install.name} ${install.version} is installed instead`);
    }
  } finally {
    bar.stop();
  }
}

const look = (client: AgentClient): Promise<ModelState> => client.ask<ModelState>('/api/v1/models/info');

async function lookAgain(client: AgentClient): Promise<ModelState | null> {
  try {
    return await look(client);
  } catch (thrown) {
    if (thrown instanceof AgentError && thrown.code === 'agent_unreachable') return null;
    throw thrown;
  }
}

function pause(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, LOOK_EVERY_MS);
    signal.addEventListener('abort', stop, { once: true });
  });
}

const isBad = ({ phase }: ModelInstall): boolean => phase === 'failed' || phase === 'rolled_back';

const asError = ({ code, message }: NonNullable<ModelInstall['reason']>): AgentError =>
  new AgentError(Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'internal', message);

/** `model rollback` and `model reload`: prints what serves then. */
export async function modelChange(
  what: 'rollback' | 'reload',
  options: AgentOptions,
  terminal: Terminal,
): Promise<number> {
  const path = `/api/v1/models/${what}`;
  const client = new AgentClient(options, terminal);
  const { model } = await client.ask<{ model: ModelRef }>(path, {
    method: 'POST',
    timeoutS: CHANGE_WITHIN_S,
  });
  terminal.out(options.json === true ? jsonText({ model }) : `${model.name} ${model.version} serves`);
  return EXIT.ok;
}

/** `model abort`. */
export async function modelAbort(options: AgentOptions, terminal: Terminal): Promise<number> {
  const client = new AgentClient(options, terminal);
  const answer = await client.ask<{ aborted: true }>('/api/v1/models/abort', {
    method: 'POST',
    timeoutS: CHANGE_WITHIN_S,
  });
  terminal.out(options.json === true ? jsonText(answer) : 'the install is stopped');
  return EXIT.ok;
}
