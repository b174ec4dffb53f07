import { connectAsync } from 'mqtt';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { parseHostPattern } from '../../../src/base/host-pattern.ts';
import { Pages } from '../../../src/fleet/page-server/pages.ts';
import { servePages, type PageServer, type PageServerLimits } from '../../../src/fleet/page-server/server.ts';
import type { BrokerEndpoint } from '../../../src/fleet/page-server/tunnel.ts';
import { runCli } from '../../fixtures/cli.ts';
import { Mosquitto, until } from '../../fixtures/mosquitto.ts';
import { tempDir } from '../../fixtures/store.ts';

const dir = tempDir();
let plain: Mosquitto;
let secure: Mosquitto;
let pages: Pages;
let server: PageServer | null = null;

beforeAll(async () => {
  [plain, secure] = await Promise.all([
    Mosquitto.start(),
    Mosquitto.start({ tls: true, users: { ana: 'sea' } }),
  ]);
  mkdirSync(join(dir.path, 'assets'));
  writeFileSync(join(dir.path, 'fleet.html'), '<!doctype html><html><head><title>x</title></head></html>');
  writeFileSync(join(dir.path, 'index.html'), 'the page of a device');
  writeFileSync(join(dir.path, 'assets/a.js'), 'x'.repeat(5000));
  pages = Pages.read(dir.path, {
    broker: 'mqtt://broker',
    path: '/mqtt',
    base: 'swellsight/v1',
    tags: { 'a/*': ['"><script>alert(1)</script>'] },
  });
});
afterEach(async () => {
  await server?.close();
  server = null;
});
afterAll(async () => {
  await Promise.all([plain.stop(), secure.stop()]);
  dir.remove();
});

async function serve(
  broker: BrokerEndpoint,
  limits: Partial<PageServerLimits> = {},
  options: { readonly allowed?: string; readonly host?: string } = {},
): Promise<PageServer> {
  const allowedHosts = [parseHostPattern(options.allowed ?? 'fleet.example.org')!];
  server = await servePages(pages, {
    host: options.host ?? '127.0.0.1',
    port: 0,
    allowedHosts,
    broker,
    limits,
  });
  return server;
}

const endpoint = ({ port, ca }: Mosquitto): BrokerEndpoint => ({
  host: ca === null ? '127.0.0.1' : 'localhost',
  port,
  tls: ca === null ? null : { ca },
});
const tunnelUrl = ({ url }: PageServer): string => `${url.replace('http', 'ws')}mqtt`;

/** Opens a WebSocket as a browser does for a page of this server. */
const openSocket = (
  target: PageServer,
  headers: Record<string, string> = {},
  protocols = ['mqtt'],
): WebSocket =>
  new WebSocket(tunnelUrl(target), protocols, {
    headers: { origin: target.url.slice(0, -1), ...headers },
  });

/** `open`, or why not. */
const outcome = (socket: WebSocket): Promise<string> =>
  once(socket, 'open').then(
    () => 'open',
    (error: unknown) => (error as Error).message,
  );

async function get(target: PageServer, path: string, headers: Record<string, string> = {}, method = 'GET') {
  const sent = request(`${target.url}${path}`, { headers, method }).end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode,
    headers: response.headers,
    body: Buffer.concat(chunks).toString('latin1'),
  };
}

describe('pages', () => {
  it('serves the fleet page with its settings, compressed and cached, and nothing else', async () => {
    const target = await serve(endpoint(plain));
    const page = await get(target, '');
    expect(page.status).toBe(200);
    expect(page.body).toContain(
      '<head><meta name="swellsight-fleet" content="{&quot;broker&quot;:&quot;mqtt://broker',
    );
    expect(page.body).not.toContain('<script>');
    expect(page.headers['content-security-policy']).toContain("default-src 'none'");
    const script = await get(target, 'assets/a.js', { 'accept-encoding': 'br, gzip' });
    expect(script.headers).toMatchObject({
      'content-encoding': 'gzip',
      'cache-control': expect.stringContaining('immutable'),
    });
    expect((await get(target, 'assets/a.js', { 'accept-encoding': 'gzip;q=0' })).body).toBe('x'.repeat(5000));
    expect((await get(target, 'fleet.html', { 'if-none-match': page.headers.etag! })).status).toBe(304);
    for (const path of ['index.html', '../package.json', '%2e%2e/package.json', 'assets', 'mqtt'])
      expect((await get(target, path)).status).toBe(404);
    expect((await get(target, '', {}, 'POST')).status).toBe(405);
  });

  it.each([
    ['rebind.example.com', '127.0.0.1', 421],
    ['192.0.2.7', '127.0.0.1', 421],
    ['localhost', '127.0.0.1', 200],
    ['fleet.example.org', '127.0.0.1', 200],
    ['192.0.2.7', '0.0.0.0', 200],
    ['rebind.example.com', '0.0.0.0', 421],
  ])('answers Host %s on %s with %i', async (name, host, status) => {
    const target = await serve(endpoint(plain), {}, { host });
    const local = { ...target, url: target.url.replace('0.0.0.0', '127.0.0.1') };
    const port = new URL(target.url).port;
    expect((await get(local, '', { host: `${name}:${port}` })).status).toBe(status);
  });
});

describe('tunnel', () => {
  it.each(['plain', 'secure'] as const)('carries MQTT to a %s broker', async (kind) => {
    const broker = kind === 'plain' ? plain : secure;
    const target = await serve(endpoint(broker));
    const login = kind === 'secure' ? { username: 'ana', password: 'sea' } : {};
    const client = await connectAsync(tunnelUrl(target), {
      protocolVersion: 5,
      reconnectPeriod: 0,
      ...login,
      wsOptions: { headers: { origin: target.url.slice(0, -1) } },
    });
    const received: Buffer[] = [];
    client.on('message', (_topic, payload) => received.push(payload));
    await client.subscribeAsync('a/#', { qos: 1 });
    const large = Buffer.alloc(700_000, 7);
    await client.publishAsync('a/large', large, { qos: 1 });
    await until(() => received.length === 1, 'the message');
    expect(received[0]?.equals(large)).toBe(true);
    await client.endAsync();
  });

  it('refuses foreign pages, unknown names, other paths and other protocols', async () => {
    const target = await serve(endpoint(plain));
    const { port } = new URL(target.url);
    expect(await outcome(openSocket(target, { origin: 'https://evil.example' }))).toContain('403');
    expect(await outcome(openSocket(target, { origin: 'null' }))).toContain('403');
    expect(await outcome(new WebSocket(tunnelUrl(target), ['mqtt']))).toContain('403');
    const rebound = { host: `evil.example:${port}`, origin: `http://evil.example:${port}` };
    expect(await outcome(openSocket(target, rebound))).toContain('421');
    expect(await outcome(openSocket(target, {}, ['chat']))).toContain('400');
    const elsewhere = { ...target, url: `${target.url}other/` };
    expect(
      await outcome(
        new WebSocket(tunnelUrl(elsewhere), ['mqtt'], { headers: { origin: target.url.slice(0, -1) } }),
      ),
    ).toContain('404');
    expect(await outcome(openSocket(target))).toBe('open');
  });

  it('limits the tunnels, frees a closed one, and closes all at the end', async () => {
    const target = await serve(endpoint(plain), { maxTunnels: 1 });
    const first = openSocket(target);
    expect(await outcome(first)).toBe('open');
    expect(await outcome(openSocket(target))).toContain('503');
    first.close();
    await once(first, 'close');
    let second = openSocket(target);
    while ((await outcome(second)) !== 'open') second = openSocket(target);
    const closed = once(second, 'close');
    await target.close();
    server = null;
    expect((await closed)[0]).toBe(1001);
  });

  it('says why the broker cannot be reached', async () => {
    const target = await serve({ host: '127.0.0.1', port: 1, tls: null });
    const socket = openSocket(target);
    const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
    expect([code, reason.toString()]).toEqual([4502, 'no connection to the broker: ECONNREFUSED']);
    await target.close();
    server = null;
    const distrusting = await serve({ ...endpoint(secure), tls: { ca: null } });
    const [, why] = (await once(openSocket(distrusting), 'close')) as [number, Buffer];
    expect(why.toString()).toMatch(/CERT|SIGNATURE|ISSUER/);
  });

  it('closes a browser that is silent, and one that sends text or too much', async () => {
    const target = await serve(endpoint(plain), { idleTimeoutMs: 200, maxMessageBytes: 1000 });
    expect((await once(openSocket(target), 'close'))[0]).toBe(4408);
    const chatty = openSocket(target);
    await once(chatty, 'open');
    chatty.send('text');
    expect((await once(chatty, 'close'))[0]).toBe(1003);
    const large = openSocket(target);
    await once(large, 'open');
    large.send(Buffer.alloc(2000));
    expect((await once(large, 'close'))[0]).toBe(1009);
  });

  it('buffers a bounded part when one side does not read', async () => {
    const peers: Socket[] = [];
    const flood = await listen((peer) => {
      peers.push(peer);
      peer.on('error', () => undefined);
      peer.pause();
    });
    const { port } = flood.address() as { port: number };
    const target = await serve({ host: '127.0.0.1', port, tls: null }, { maxBufferedBytes: 65_536 });
    const browser = openSocket(target);
    await once(browser, 'open');
    const [peer] = await until(() => peers.length > 0 && peers, 'a connection');
    // Broker to browser: the browser does not read.
    browser.pause();
    const chunk = Buffer.alloc(65_536);
    for (let index = 0; index < 1600; index += 1) peer?.write(chunk);
    // Browser to broker: the broker does not read.
    for (let index = 0; index < 1600; index += 1) browser.send(chunk);
    await stable(() => peer?.writableLength);
    await stable(() => browser.bufferedAmount);
    // What the kernel and the tunnel hold is far from the 100 MB that wait at each sender.
    expect(peer!.writableLength).toBeGreaterThan(80_000_000);
    expect(browser.bufferedAmount).toBeGreaterThan(80_000_000);
    browser.resume();
    peer!.resume();
    await until(() => peer!.writableLength === 0 && browser.bufferedAmount === 0, 'both ends to read');
    browser.terminate();
    flood.close();
  });
});

it('the command refuses a login in the address, other schemes and a wrong port', async () => {
  const fails = async (...args: string[]): Promise<string> => {
    const { code, stderr } = await runCli(['fleet', 'serve', ...args]);
    expect(code).toBe(2);
    return stderr;
  };
  expect(await fails('--broker', 'mqtt://ana:sea@localhost')).toContain('without a login');
  expect(await fails('--broker', 'ws://localhost')).toContain('wanted mqtt://HOST');
  expect(await fails('--broker', 'mqtt://localhost', '--port', '70000')).toContain('is not a port');
  expect(await fails('--broker', 'mqtt://localhost', '--allow-host', '*')).toContain('wanted a name');
  expect(await fails('--broker', 'mqtt://localhost', '--base', 'a/#')).toContain('--base');
});

async function listen(onPeer: (peer: Socket) => void): Promise<Server> {
  const listening = createServer(onPeer).listen(0, '127.0.0.1');
  await once(listening, 'listening');
  return listening;
}

/** Waits until a number has not changed for half a second. */
async function stable(read: () => number | undefined): Promise<void> {
  let [last, sinceMs] = [read(), performance.now()];
  await until(() => {
    const now = read();
    if (now !== last) [last, sinceMs] = [now, performance.now()];
    return performance.now() - sinceMs > 500;
  }, 'a constant number');
}
