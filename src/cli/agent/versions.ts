import { systemClock } from '../../base/clock.ts';
import { AgentError, ERROR_CODES, type ErrorCode } from '../../base/errors.ts';
import type { AgentRelease, AgentUpdate, AgentVersions } from '../../contract/agent-update.ts';
import { formatTable } from '../format.ts';
import { createProgressBar } from '../progress.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';
import type { AgentClient, AgentOptions } from './client.ts';
import { openAgentClient } from './local-client.ts';

const POLL_MS = 500;

/** `agent list`: the versions on the device, the current or last update, and banned versions. */
export async function listVersions(options: AgentOptions, terminal: Terminal): Promise<number> {
  const state = await fetchVersions(await openAgentClient(options, terminal));
  if (options.json === true) {
    terminal.out(toJson(state));
    return EXIT.ok;
  }
  const { running, last_good, factory, installed, banned, update, auto, available } = state;
  const row = (name: string, release: AgentRelease | null): string[] => [
    name,
    release?.version ?? '-',
    release?.digest?.slice(0, 19) ?? '',
  ];
  const newest = auto.newest === null ? '' : `newest in the repository: ${auto.newest}`;
  terminal.out(
    formatTable([
      [...row('running', running), available ? '' : 'no updater: this installation cannot update itself'],
      row('last good', last_good),
      row('factory', factory),
      ...installed.map((release) => row('installed', release)),
      ...(update ? [['update', update.version, update.phase, describeEnd(update)]] : []),
      ...banned.map(({ version, digest, reason, at }) => [
        'banned',
        version,
        digest.slice(0, 19),
        `${reason}, ${at}`,
      ]),
      ['automatic', auto.enabled ? 'yes' : 'no', auto.checked_at ?? '', auto.error?.message ?? newest],
    ]),
  );
  return EXIT.ok;
}

const describeEnd = ({ reason, at, waiting_for: missing }: AgentUpdate): string => {
  if (reason !== null) return `${reason.code}: ${reason.message}`;
  return missing.length > 0 ? `waits for ${missing.join(', ')}` : at;
};

export interface AgentInstallOptions extends AgentOptions {
  readonly digest?: string;
  readonly watch?: boolean;
}

/** `agent install VERSION`: from the device's repository. With `--watch`, exits with 1 unless it is confirmed. */
export async function installVersion(
  version: string,
  options: AgentInstallOptions,
  terminal: Terminal,
): Promise<number> {
  const { digest } = options;
  const body = { version, ...(digest === undefined ? {} : { digest }) };
  return startUpdate('/api/v1/agent/install', body, options, terminal);
}

/** `agent rollback`: returns to the former version. */
export const rollbackVersion = (options: AgentInstallOptions, terminal: Terminal): Promise<number> =>
  startUpdate('/api/v1/agent/rollback', undefined, options, terminal);

async function startUpdate(
  path: string,
  body: unknown,
  options: AgentInstallOptions,
  terminal: Terminal,
): Promise<number> {
  const client = await openAgentClient(options, terminal);
  const { update } = await client.request<{ update: AgentUpdate }>(path, { method: 'POST', body });
  const last = options.watch === true ? await watchUpdate(update, client, terminal) : update;
  if (options.json === true) terminal.out(toJson(last));
  else terminal.out(`agent ${last.version}: ${last.phase}`);
  if (last.phase !== 'failed' && last.phase !== 'returned') return EXIT.ok;
  const { code, message } = last.reason ?? { code: 'update_rejected', message: 'the update failed' };
  throw new AgentError(Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'internal', message);
}

/** Polls an update until it has ended. Keeps polling while the agent restarts. */
async function watchUpdate(
  first: AgentUpdate,
  client: AgentClient,
  terminal: Terminal,
): Promise<AgentUpdate> {
  const bar = await createProgressBar(`agent ${first.version}`, terminal);
  let lastPhase = '';
  try {
    for (let update = first; ;) {
      if (lastPhase !== update.phase && !terminal.hasBars) terminal.err(update.phase);
      lastPhase = update.phase;
      if (!update.in_progress) return update;
      bar.update(update.bytes, update.total_bytes ?? Math.max(1, update.bytes));
      await systemClock.sleep(POLL_MS, terminal.signal);
      update = (await fetchIfReachable(client))?.update ?? update;
      if (update.update_id !== first.update_id)
        throw new AgentError('update_busy', `an update to ${update.version} runs instead`);
    }
  } finally {
    bar.stop();
  }
}

const fetchVersions = (client: AgentClient): Promise<AgentVersions> =>
  client.request<AgentVersions>('/api/v1/agent');

async function fetchIfReachable(client: AgentClient): Promise<AgentVersions | null> {
  try {
    return await fetchVersions(client);
  } catch (thrown) {
    const isRestarting =
      thrown instanceof AgentError && ['agent_unreachable', 'request_stopping'].includes(thrown.code);
    if (isRestarting) return null;
    throw thrown;
  }
}
