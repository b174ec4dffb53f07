import { systemClock } from '../../base/clock.ts';
import type { ModelInstall } from '../../contract/model.ts';
import type { ModelRef } from '../../contract/observation.ts';
import type { ModelState } from '../../contract/states.ts';
import { AgentError, ERROR_CODES, type ErrorCode } from '../../base/errors.ts';
import type { AgentClient, AgentOptions } from '../agent/client.ts';
import { openAgentClient } from '../agent/local-client.ts';
import { formatTable } from '../format.ts';
import { warn } from '../line.ts';
import { createProgressBar } from '../progress.ts';
import { EXIT, printJson, toJson, type Terminal } from '../terminal.ts';

/** A start of a model may build it for an accelerator for minutes. */
const SWITCH_REQUEST = { method: 'POST', timeoutS: 900 } as const;
const POLL_MS = 500;

/** `model list`: the slots, the current or last install, and refused models. */
export async function listModels(options: AgentOptions, terminal: Terminal): Promise<number> {
  const state = await fetchState(await openAgentClient(options, terminal));
  if (options.json === true) return printJson(terminal, state);
  const {
    slots,
    active,
    install,
    refused = [],
    pinned = false,
    trusted = true,
    expiry_checked = true,
  } = state;
  const marks = [
    ...(trusted ? [] : ['not signed']),
    ...(expiry_checked ? [] : ['expiry of the signatures not checked']),
    ...(pinned ? ['pinned by model.active'] : []),
  ];
  const row = (slot: string, ref: ModelRef | null): string[] => [
    slot,
    ref === null ? '-' : `${ref.name} ${ref.version}`,
    ref?.digest.slice(0, 19) ?? '',
  ];
  terminal.out(
    formatTable([
      [...row('active', active), marks.join(', ')],
      row('previous', slots.previous),
      row('candidate', slots.candidate),
      row('factory', slots.factory),
      ...(install ? [['install', ...installCells(install)]] : []),
      ...refused.map((one) => [...row('refused', one), `${one.code}, ${one.at}`]),
    ]),
  );
  if (!expiry_checked && active !== null)
    terminal.err(
      warn(
        `the clock had never been synchronised when ${active.name} ${active.version} was installed: its signatures may have expired; install it again when the clock is right`,
      ),
    );
  return EXIT.ok;
}

const installCells = ({ name, version, phase, reason, at }: ModelInstall): string[] => [
  `${name} ${version}`,
  phase,
  reason === null ? at : `${reason.code}: ${reason.message}`,
];

export interface ModelInstallOptions extends AgentOptions {
  readonly digest?: string;
  readonly clearFailed?: boolean;
  readonly watch?: boolean;
}

/** `model install NAME VERSION`: installs from the device's repository. With `--watch`, exits with 1 after a failure. */
export async function installModel(
  name: string,
  version: string,
  options: ModelInstallOptions,
  terminal: Terminal,
): Promise<number> {
  const client = await openAgentClient(options, terminal);
  const { install } = await client.request<{ install: ModelInstall }>('/api/v1/models/install', {
    method: 'POST',
    body: {
      name,
      version,
      ...(options.digest === undefined ? {} : { digest: options.digest }),
      ...(options.clearFailed === true ? { clear_failed: true } : {}),
    },
  });
  const last = options.watch === true ? await watchInstall(install, client, terminal) : install;
  if (options.json === true) terminal.out(toJson(last));
  else terminal.out(`${last.name} ${last.version}: ${last.phase}`);
  if (last.reason !== null && hasFailed(last)) throw toAgentError(last.reason);
  return hasFailed(last) ? EXIT.failed : EXIT.ok;
}

/** Polls an install until its model is active or it has failed. Keeps polling while the agent is unreachable. */
async function watchInstall(
  first: ModelInstall,
  client: AgentClient,
  terminal: Terminal,
): Promise<ModelInstall> {
  const bar = await createProgressBar(`${first.name} ${first.version}`, terminal);
  let lastPhase = '';
  try {
    for (let install = first; ;) {
      if (lastPhase !== install.phase && !terminal.hasBars) terminal.err(install.phase);
      lastPhase = install.phase;
      if (!install.in_progress) return install;
      bar.update(install.bytes, install.total_bytes ?? Math.max(1, install.bytes));
      await systemClock.sleep(POLL_MS, terminal.signal);
      install = (await fetchStateIfReachable(client))?.install ?? install;
      if (install.update_id !== first.update_id)
        throw new AgentError(
          'model_install_busy',
          `${install.name} ${install.version} is being installed instead`,
        );
    }
  } finally {
    bar.stop();
  }
}

const fetchState = (client: AgentClient): Promise<ModelState> =>
  client.request<ModelState>('/api/v1/models/info');

async function fetchStateIfReachable(client: AgentClient): Promise<ModelState | null> {
  try {
    return await fetchState(client);
  } catch (thrown) {
    if (thrown instanceof AgentError && thrown.code === 'agent_unreachable') return null;
    throw thrown;
  }
}

const hasFailed = ({ phase }: ModelInstall): boolean => phase === 'failed' || phase === 'rolled_back';

const toAgentError = ({ code, message }: NonNullable<ModelInstall['reason']>): AgentError =>
  new AgentError(Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'internal', message);

/** `model rollback` and `model reload`: prints the model that is active afterwards. */
export const switchModel =
  (action: 'rollback' | 'reload') =>
  async (options: AgentOptions, terminal: Terminal): Promise<number> => {
    const client = await openAgentClient(options, terminal);
    const { model } = await client.request<{ model: ModelRef }>(`/api/v1/models/${action}`, SWITCH_REQUEST);
    terminal.out(options.json === true ? toJson({ model }) : `${model.name} ${model.version} is active`);
    return EXIT.ok;
  };

/** `model abort`. */
export async function abortInstall(options: AgentOptions, terminal: Terminal): Promise<number> {
  const client = await openAgentClient(options, terminal);
  const answer = await client.request<{ aborted: true }>('/api/v1/models/abort', SWITCH_REQUEST);
  terminal.out(options.json === true ? toJson(answer) : 'the install is aborted');
  return EXIT.ok;
}
