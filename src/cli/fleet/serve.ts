import { untilAborted } from '../../base/abort.ts';
import { portOrDefault } from '../../base/default-port.ts';
import { AgentError } from '../../base/errors.ts';
import { parseHostPattern, type HostPattern } from '../../base/host-pattern.ts';
import { isLoopback } from '../../config/schema.ts';
import { Pages } from '../../fleet/page-server/pages.ts';
import { servePages, TUNNEL_PATH } from '../../fleet/page-server/server.ts';
import type { BrokerEndpoint } from '../../fleet/page-server/tunnel.ts';
import { PAGES_DIR } from '../installation.ts';
import { EXIT, toJsonLine, type Terminal } from '../terminal.ts';
import { checkTopicBase, readCaFile, readFleetGroups } from './options.ts';

export interface ServeFleetOptions {
  readonly broker: string;
  readonly base: string;
  readonly ca?: string;
  readonly fleet?: string;
  readonly host: string;
  readonly port: string;
  readonly allowHost: readonly string[];
  readonly json?: boolean;
}

/**
 * `fleet serve`: serves the fleet page until the signal fires, and tunnels its WebSocket to the broker. Throws `usage` and
 * `http_listen`.
 */
export async function serveFleetPage(options: ServeFleetOptions, terminal: Terminal): Promise<number> {
  const { base, host } = options;
  checkTopicBase('base', base);
  const broker = parseBroker(options);
  const port = Number(options.port);
  if (!/^\d{1,5}$/.test(options.port) || port > 65_535)
    throw new AgentError('usage', `${JSON.stringify(options.port)} is not a port`);
  const allowedHosts = options.allowHost.map(parseAllowedHost);
  const { tags = {} } = options.fleet === undefined ? {} : readFleetGroups(options.fleet);
  const pages = Pages.read(PAGES_DIR, { broker: options.broker, base, tags, path: TUNNEL_PATH });
  const server = await servePages(pages, { host, port, allowedHosts, broker });
  if (!isLoopback(host))
    terminal.err(
      'warning: the page has no encryption: everybody on the way can read the login that is typed into it; ' +
        'put a proxy with TLS before it',
    );
  terminal.out(options.json === true ? toJsonLine({ url: server.url }) : `fleet page: ${server.url}`);
  await untilAborted(terminal.signal);
  await server.close();
  return EXIT.ok;
}

function parseBroker({ broker, ca }: ServeFleetOptions): BrokerEndpoint {
  const url = URL.parse(broker);
  const port = url && portOrDefault(url);
  if (!url || !/^mqtts?:$/.test(url.protocol) || url.hostname === '' || port === null)
    throw new AgentError('usage', `--broker ${broker}: wanted mqtt://HOST or mqtts://HOST`, {
      hint: 'a page reaches a broker with ws:// or wss:// without this command',
    });
  if (url.username !== '' || url.password !== '')
    throw new AgentError('usage', '--broker: wanted an address without a login', {
      hint: 'type the login into the page: this server keeps none',
    });
  const isTls = url.protocol === 'mqtts:';
  if (!isTls && ca !== undefined) throw new AgentError('usage', '--ca: wanted a broker with mqtts://');
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port,
    tls: isTls ? { ca: ca === undefined ? null : readCaFile(ca) } : null,
  };
}

function parseAllowedHost(text: string): HostPattern {
  const pattern = parseHostPattern(text);
  if (pattern === null)
    throw new AgentError('usage', `--allow-host ${text}: wanted a name, NAME:PORT or *.NAME`);
  return pattern;
}
