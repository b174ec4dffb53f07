import { join } from 'node:path';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { LocalConfiguration } from '../../config/load.ts';
import { withoutCameras } from '../../config/remote-cameras.ts';
import { dropRemoteSettings } from '../../config/remote-settings.ts';
import type { ConfigDropped } from '../../contract/config.ts';
import { lockState, LOCK_FILE, type StateLock } from '../../store/file/lock.ts';
import type { AgentOptions } from '../agent/client.ts';
import { createLocalClient, localUrl } from '../agent/local-client.ts';
import { loadConfiguration } from '../config.ts';
import { EXIT, printJson, type Terminal } from '../terminal.ts';

/**
 * `config drop [KEY]`: removes settings of remote commands. Their file belongs to the process that holds the lock of the
 * state directory: a running agent is asked, otherwise this process takes the lock.
 */
export async function dropConfig(
  key: string | undefined,
  options: AgentOptions,
  terminal: Terminal,
): Promise<number> {
  const configuration = await loadConfiguration(options, terminal);
  // Throws before anything is locked or asked.
  dropRemoteSettings(configuration.files.read().overlay, key ?? null);
  const lock = takeLock(configuration.settings.stateDir);
  if (lock === null) return dropInAgent(key, configuration, options, terminal);
  using _lock = { [Symbol.dispose]: () => lock.release() };
  const dropped = dropInFile(key ?? null, configuration);
  if (options.json === true) return printJson(terminal, { dropped });
  terminal.out(`removed ${dropped.join(', ')}; no agent runs`);
  return EXIT.ok;
}

/** Null when an agent runs. */
function takeLock(stateDir: string): StateLock | null {
  try {
    return lockState(join(stateDir, LOCK_FILE));
  } catch (thrown) {
    if (asAgentError(thrown).code === 'store_locked') return null;
    throw thrown;
  }
}

function dropInFile(key: string | null, { files, refused, loadWith }: LocalConfiguration): readonly string[] {
  // Only now: the agent may have changed the file before it stopped.
  const saved = files.read();
  const { overlay, keys } = dropRemoteSettings(saved.overlay, key);
  loadWith(withoutCameras(overlay, refused));
  files.confirm({ ...saved, overlay });
  return keys;
}

async function dropInAgent(
  key: string | undefined,
  { settings }: LocalConfiguration,
  options: AgentOptions,
  terminal: Terminal,
): Promise<number> {
  const query = key === undefined ? '' : `?key=${encodeURIComponent(key)}`;
  let result: ConfigDropped;
  try {
    const client = createLocalClient(options, settings, terminal);
    result = await client.request<ConfigDropped>(`/api/v1/config/remote${query}`, { method: 'DELETE' });
  } catch (thrown) {
    const failure = asAgentError(thrown);
    if (failure.code !== 'agent_unreachable') throw failure;
    const at = options.url ?? localUrl(settings.http);
    throw new AgentError('agent_unreachable', `an agent runs, but does not answer at ${at}`, {
      cause: failure,
      hint: 'stop the agent, run this command again, and start the agent',
    });
  }
  if (options.json === true) return printJson(terminal, result);
  const { dropped, restart } = result;
  const effect =
    restart.length > 0 ? 'all parts of the agent restart' : 'the agent uses the local values now';
  terminal.out(`removed ${dropped.join(', ')}; ${effect}`);
  return EXIT.ok;
}
