import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { isLoopbackHeader, matchesHost, type HostPattern } from '../../base/host-pattern.ts';
import type { Pages } from './pages.ts';
import { Tunnel, type BrokerEndpoint, type TunnelLimits } from './tunnel.ts';

export interface PageServerOptions {
  readonly host: string;
  /** 0 means any free port. */
  readonly port: number;
  /** Names under which browsers reach this server, beside addresses and the names of this machine. */
  readonly allowedHosts: readonly HostPattern[];
  readonly broker: BrokerEndpoint;
  readonly limits?: Partial<PageServerLimits>;
}

export interface PageServerLimits extends TunnelLimits {
  readonly maxConnections: number;
  readonly maxTunnels: number;
  /** Larger messages of a browser end its connection. */
  readonly maxMessageBytes: number;
}

export interface PageServer {
  readonly url: string;
  readonly close: () => Promise<void>;
}

/** Path of the tunnel. */
export const TUNNEL_PATH = '/mqtt';

const DEFAULT_LIMITS: PageServerLimits = {
  maxConnections: 256,
  maxTunnels: 32,
  maxMessageBytes: 1_048_576,
  maxBufferedBytes: 262_144,
  connectTimeoutMs: 15_000,
  idleTimeoutMs: 300_000,
};
const REQUEST_TIMEOUT_MS = 15_000;

/**
 * Serves the fleet page, and tunnels WebSockets on `/mqtt` to one broker, for brokers without WebSocket. The server has no
 * login: the browser speaks MQTT itself. Resolves when it listens. Throws `http_listen`.
 */
export async function servePages(pages: Pages, options: PageServerOptions): Promise<PageServer> {
  const { host, port, broker } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const isAllowedHost = createHostCheck(options);
  const tunnels = new Set<Tunnel>();
  let isStopping = false;
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: limits.maxMessageBytes,
    perMessageDeflate: false,
    handleProtocols: () => 'mqtt',
  });
  const server = createServer((request, response) => {
    if (!isAllowedHost(request)) {
      response.writeHead(421, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' });
      response.end('this name of the server is not allowed: see --allow-host\n');
      return;
    }
    pages.respond(request, response);
  });
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.maxConnections = limits.maxConnections;
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const refusal = isStopping ? 503 : refuseUpgrade(request, isAllowedHost);
    if (refusal !== null || tunnels.size >= limits.maxTunnels) {
      socket.end(
        `HTTP/1.1 ${String(refusal ?? 503)} Refused\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`,
      );
      return;
    }
    sockets.handleUpgrade(request, socket, head, (browser) => {
      const tunnel = new Tunnel(browser, broker, limits, () => tunnels.delete(tunnel));
      tunnels.add(tunnel);
    });
  });
  await once(server.listen(port, host), 'listening').catch((cause: unknown) => {
    const { message } = asAgentError(cause);
    throw new AgentError('http_listen', `cannot listen on ${host}:${String(port)}: ${message}`, {
      hint: 'free the port, or name another one with --port',
      cause,
    });
  });
  const address = server.address();
  const actualPort = typeof address === 'object' && address !== null ? address.port : port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${String(actualPort)}/`,
    close: async () => {
      isStopping = true;
      const closed = once(server, 'close');
      server.close();
      for (const tunnel of tunnels) tunnel.stop();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The status of a refused WebSocket; null for one of the page. */
function refuseUpgrade(
  request: IncomingMessage,
  isAllowedHost: (request: IncomingMessage) => boolean,
): number | null {
  const { url, headers } = request;
  if (!isAllowedHost(request)) return 421;
  // A browser always sends the origin of the page: a foreign page must not reach the broker through the operator's browser.
  if (!isSameOrigin(headers.origin, headers.host)) return 403;
  if (url?.split('?', 1)[0] !== TUNNEL_PATH) return 404;
  const protocols = (headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim());
  return protocols.includes('mqtt') ? null : 400;
}

/**
 * Creates the check of the Host header against DNS rebinding, which needs a name: only addresses, the names of this machine
 * and the listed names are allowed. On a loopback address, not even other addresses.
 */
function createHostCheck({
  host,
  allowedHosts,
}: Pick<PageServerOptions, 'host' | 'allowedHosts'>): (request: IncomingMessage) => boolean {
  const acceptsAddresses = !isLoopbackHeader(host.includes(':') ? `[${host}]` : host);
  return ({ rawHeaders, headers }) => {
    const count = rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host').length;
    const header = headers.host ?? '';
    if (count !== 1) return false;
    if (isLoopbackHeader(header) || matchesHost(header, allowedHosts)) return true;
    return acceptsAddresses && isIP(header.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')) !== 0;
  };
}

function isSameOrigin(origin: string | undefined, host: string | undefined): boolean {
  const page = URL.parse(origin ?? '');
  // With the scheme of the page: a proxy may send the default port of https explicitly.
  return (
    page !== null && page.host !== '' && page.host === URL.parse(`${page.protocol}//${host ?? ''}`)?.host
  );
}
