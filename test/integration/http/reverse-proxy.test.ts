import { once } from 'node:events';
import { createServer, request, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { expectProblem, sendRequest, startServer } from '../../fixtures/http-server.ts';

const STATUS = '/api/v1/status';
const CAPTURE = '/api/v1/cameras/north/capture';
const NAME = 'gauge.example.org';

type ChangeHeaders = (headers: IncomingHttpHeaders) => IncomingHttpHeaders;

/** A reverse proxy on this machine, as nginx, Caddy or Apache. Resolves with its port. */
async function startProxy(toPort: number, change: ChangeHeaders): Promise<number> {
  const proxy = createServer((incoming, outgoing) => {
    const { method, url: path, headers } = incoming;
    const upstream = request({ host: '127.0.0.1', port: toPort, method, path, headers: change(headers) });
    upstream.on('response', (response) => {
      outgoing.writeHead(response.statusCode ?? 0, response.headers);
      response.pipe(outgoing);
    });
    upstream.on('error', () => outgoing.destroy());
    incoming.pipe(upstream);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return (proxy.address() as AddressInfo).port;
}

/** The Host header that reaches the agent, by kind of proxy. */
const keepsHost: ChangeHeaders = (headers) => headers;
const addsPort: ChangeHeaders = (headers) => ({ ...headers, host: `${headers.host ?? ''}:443` });
const replacesHost: ChangeHeaders = (headers) => ({
  ...headers,
  host: '127.0.0.1',
  'x-forwarded-host': headers.host,
  'x-forwarded-proto': 'https',
});

describe('the agent behind a reverse proxy', () => {
  it.each([
    ['keeps the Host header', keepsHost, [NAME]],
    ['keeps it, allowed by a wildcard', keepsHost, ['*.example.org']],
    ['adds the port', addsPort, [`${NAME}:443`]],
    ['replaces the Host header', replacesHost, []],
  ] as const)('answers when the proxy %s', async (_kind, change, allowedHosts) => {
    await using site = await startServer({ allowedHosts });
    const port = await startProxy(site.port, change);
    for (const path of [STATUS, '/live', '/'])
      expect((await sendRequest({ port, method: 'GET', path, headers: { host: NAME } })).status).toBe(200);
  });

  it.each([
    ['keeps the Host header', keepsHost, [NAME]],
    ['adds the port', addsPort, [NAME]],
  ] as const)(
    'accepts requests of its own page over https when the proxy %s',
    async (_kind, change, hosts) => {
      await using site = await startServer({ allowedHosts: hosts });
      const port = await startProxy(site.port, change);
      const ask = (origin: string) =>
        sendRequest({ port, method: 'POST', path: CAPTURE, headers: { host: NAME, origin } });
      expect((await ask(`https://${NAME}`)).status).toBe(200);
      for (const origin of ['https://evil.example', `https://${NAME}:444`, `https://a.${NAME}`])
        expectProblem(await ask(origin), 403, 'request_origin_refused');
    },
  );

  it('names the setting and the host in the refusal', async () => {
    await using site = await startServer({ allowedHosts: ['other.example.org'] });
    const port = await startProxy(site.port, keepsHost);
    const refused = await sendRequest({ port, method: 'GET', path: STATUS, headers: { host: NAME } });
    expectProblem(refused, 403, 'request_host_refused');
    expect(refused.json()).toMatchObject({
      detail: `http.allowedHosts does not list the name of the Host header (${NAME})`,
      hint: expect.stringContaining('http.allowedHosts') as unknown,
    });
  });

  it('does not trust the headers that name another host', async () => {
    await using site = await startServer({ allowedHosts: [NAME] });
    for (const [name, value] of [
      ['x-forwarded-host', NAME],
      ['forwarded', `host=${NAME}`],
      ['x-host', NAME],
      ['x-original-host', NAME],
    ] as const) {
      const headers = { host: 'evil.example', [name]: value };
      expectProblem(await site.ask('GET', STATUS, headers), 403, 'request_host_refused');
    }
  });

  it('still refuses names that a rebinding would have', async () => {
    await using site = await startServer({ allowedHosts: [NAME, '*.local'] });
    for (const host of [
      'evil.example',
      `${NAME}.evil.example`,
      `evil.example:${site.port}`,
      'local.evil',
      '10.0.0.1',
    ])
      expectProblem(await site.ask('GET', STATUS, { host }), 403, 'request_host_refused');
    for (const host of ['127.0.0.1', 'localhost:8080', '[::1]', 'pi.local'])
      expect((await site.ask('GET', STATUS, { host })).status).toBe(200);
  });
});

describe('the agent on all addresses with a list of names', () => {
  it('accepts the listed names and every address, with the token', async () => {
    await using site = await startServer({ host: '0.0.0.0', token: 'secret', allowedHosts: [NAME] });
    const authorization = 'Bearer secret';
    for (const host of [NAME, '192.168.1.5:8080', '[fd00::1]:8080', 'localhost'])
      expect((await site.ask('GET', STATUS, { host, authorization })).status).toBe(200);
    expect((await site.ask('GET', '/live', { host: '10.1.2.3:8080' })).status).toBe(200);
    for (const host of ['evil.example', 'pi.local'])
      expectProblem(await site.ask('GET', STATUS, { host, authorization }), 403, 'request_host_refused');
    expectProblem(await site.ask('GET', STATUS, { host: NAME }), 401, 'request_unauthorized');
  });
});
