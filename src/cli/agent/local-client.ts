import { asAgentError } from '../../base/errors.ts';
import type { Settings } from '../../config/schema.ts';
import { loadCommandSettings } from '../config.ts';
import type { Terminal } from '../terminal.ts';
import { AgentClient, type AgentOptions } from './client.ts';

/** A client of the agent that the options name: by its address, else by its configuration file, else the default one. */
export async function openAgentClient(options: AgentOptions, terminal: Terminal): Promise<AgentClient> {
  if (options.config !== undefined)
    return createLocalClient(options, await loadCommandSettings(options, terminal), terminal);
  if (!terminal.env['SWELLSIGHT_CONFIG']) return new AgentClient(options, terminal);
  // A file that only the environment names, and that cannot be used, must not prevent a request without it.
  const settings = await loadCommandSettings({}, terminal).catch((thrown: unknown) => {
    const [message = ''] = asAgentError(thrown).message.split('\n');
    if (options.json !== true && !hasAddress(options, terminal))
      terminal.err(
        `warning: address and token are not those of SWELLSIGHT_CONFIG: ${message} (swellsight check-config)`,
      );
    return null;
  });
  return createLocalClient(options, settings, terminal);
}

/** A client of the agent at the address of the options, else of the settings; likewise its token. */
export function createLocalClient(
  options: AgentOptions,
  settings: Settings | null,
  terminal: Terminal,
): AgentClient {
  if (settings === null || hasAddress(options, terminal)) return new AgentClient(options, terminal);
  const { token } = settings.http;
  const hasToken = options.token !== undefined || options.tokenFile !== undefined || token === null;
  const url = localUrl(settings.http);
  return new AgentClient({ ...options, url, ...(hasToken ? {} : { token }) }, terminal);
}

const hasAddress = ({ url }: AgentOptions, { env }: Terminal): boolean =>
  url !== undefined || env['SWELLSIGHT_URL'] !== undefined;

/** The address at which a program on this machine reaches the agent. */
export function localUrl({ host, port }: Settings['http']): string {
  const name = /^(0\.0\.0\.0|::|\[::\])$/.test(host) ? '127.0.0.1' : host;
  const literal = name.includes(':') && !name.startsWith('[') ? `[${name}]` : name;
  return `http://${literal}:${String(port)}`;
}
