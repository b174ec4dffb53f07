import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RunningAgent } from '../../fixtures/agent.ts';
import { sendRequest, expectProblem, sendRaw, startServer } from '../../fixtures/http-server.ts';
import { freePort } from '../../fixtures/mosquitto.ts';

const CAPTURE = '/api/v1/cameras/north/capture';
const REBOUND = [
  'evil.example',
  'evil.example:8080',
  '127.0.0.1.evil.example',
  'localhost.evil',
  'localhost:x',
];

describe('a server on loopback', () => {
  it('refuses every request whose Host header does not name this machine', async () => {
    await using site = await startServer();
    for (const host of REBOUND)
      for (const path of ['/api/v1/status', '/live', '/metrics', '/nothing'])
        expectProblem(await site.ask('GET', path, { host }), 403, 'request_host_refused');
  });

  it('requires exactly one Host header', async () => {
    await using site = await startServer();
    for (const lines of ['', 'host: localhost\r\nhost: localhost\r\n', 'host: localhost\r\nHOST: evil\r\n']) {
      const response = await sendRaw(site.port, `GET /live HTTP/1.1\r\n${lines}connection: close\r\n\r\n`);
      expect(response).toMatch(/^HTTP\/1.1 400 [\s\S]*application\/problem\+json[\s\S]*request_invalid/);
    }
  });
});

describe('the real agent on all addresses, with its token in a file', () => {
  it('requires the token on all paths except /live and /ready, with any Host header', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'swellsight-token-'));
    const token = 'correct-horse-battery';
    const file = join(directory, 'token');
    writeFileSync(file, `${token}\n`, { mode: 0o600 });
    const port = await freePort();
    await using agent = await RunningAgent.start({
      http: { host: '0.0.0.0', port, token_file: file, cors: ['https://ours.example'] },
      mqtt: { embedded: { port: await freePort() } },
    });
    try {
      await agent.waitFor('start', (line) => line.msg === 'agent started');
      const ask = (method: string, path: string, headers: Record<string, string> = {}) =>
        sendRequest({ port, method, path, headers });
      for (const wrong of [
        {},
        { authorization: 'Bearer wrong' },
        { authorization: `Bearer ${token}x` },
        { authorization: `Bearer ${token.slice(0, -1)}` },
        { authorization: `Basic ${token}` },
        { authorization: 'Bearer' },
        { authorization: `Bearer ${'x'.repeat(10_000)}` },
        { cookie: `token=${token}` },
      ] as Record<string, string>[]) {
        for (const path of ['/api/v1/status', '/', '/metrics', '/health', '/nothing']) {
          const answer = await ask('GET', path, wrong);
          expectProblem(answer, 401, 'request_unauthorized');
          expect(answer.headers['www-authenticate']).toBe('Bearer');
          expect(answer.text).not.toContain(token);
        }
        expectProblem(await ask('POST', CAPTURE, wrong), 401, 'request_unauthorized');
      }
      for (const host of REBOUND)
        expectProblem(await ask('GET', '/api/v1/status', { host }), 401, 'request_unauthorized');
      const authorization = `Bearer ${token}`;
      const origin = 'https://evil.example';
      for (const [method, path] of [
        ['GET', '/api/v1/status'],
        ['POST', CAPTURE],
      ] as const)
        expectProblem(await ask(method, path, { authorization, origin }), 403, 'request_origin_refused');
      for (const path of ['/live', '/ready']) {
        const open = await ask('GET', path, { host: 'station.local' });
        expect([200, 503]).toContain(open.status);
        expect(Object.keys(open.json()).join()).toMatch(/^(live|ready,missing)$/);
      }
      expect((await ask('GET', '/api/v1/status', { authorization, host: 'station.local' })).status).toBe(200);
      expect(agent.raw.join('\n')).not.toContain(token);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe('every response', () => {
  it('has the security headers', async () => {
    await using site = await startServer();
    for (const path of ['/', '/live', '/api/v1/status', '/nothing', '/api/v1/cameras/%zz/latest.jpg']) {
      const { headers } = await site.ask('GET', path);
      expect(headers).toMatchObject({
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cross-origin-resource-policy': 'same-origin',
        'cache-control': 'no-store',
        'content-security-policy': expect.stringContaining("frame-ancestors 'none'") as unknown,
      });
      expect(headers['server'] ?? headers['x-powered-by']).toBeUndefined();
    }
  });

  it('has no body for HEAD, and lists the methods for OPTIONS', async () => {
    await using site = await startServer();
    const [get, head] = [await site.ask('GET', '/api/v1/status'), await site.ask('HEAD', '/api/v1/status')];
    expect([head.status, head.body.length, head.headers['content-length']]).toEqual([
      200,
      0,
      get.headers['content-length'],
    ]);
    expect((await site.ask('HEAD', '/nothing')).status).toBe(404);
    const options = await site.ask('OPTIONS', '/api/v1/status');
    expect([options.status, options.headers.allow]).toEqual([204, expect.stringContaining('GET')]);
    for (const method of ['PUT', 'DELETE', 'PATCH', 'TRACE', 'PROPFIND']) {
      const answer = await site.ask(method, '/api/v1/status');
      expect([answer.status, answer.headers.allow]).toEqual([405, expect.stringContaining('GET')]);
    }
  });
});

describe('invalid and hostile HTTP', () => {
  const host = 'host: localhost\r\n';
  it.each([
    ['garbage', '\u0016\u0003\u0001 this is no HTTP\r\n\r\n', 400, 'request_invalid'],
    ['a bad header', `GET /live HTTP/1.1\r\n${host}a b: c\r\n\r\n`, 400, 'request_invalid'],
    [
      'long headers',
      `GET /live HTTP/1.1\r\n${host}a: ${'x'.repeat(20_000)}\r\n\r\n`,
      431,
      'request_too_large',
    ],
    ['a long path', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n${host}\r\n`, 431, 'request_too_large'],
    [
      'two lengths',
      `POST ${CAPTURE} HTTP/1.1\r\n${host}content-length: 1\r\ncontent-length: 2\r\n\r\nxx`,
      400,
      'request_invalid',
    ],
    [
      'length and chunks (smuggling)',
      `POST ${CAPTURE} HTTP/1.1\r\n${host}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
      'request_invalid',
    ],
    [
      'a proxy request',
      'CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n',
      400,
      'request_invalid',
    ],
    [
      'another site',
      `GET http://evil.example/live HTTP/1.1\r\n${host}connection: close\r\n\r\n`,
      400,
      'request_invalid',
    ],
    [
      'a body of gigabytes',
      `POST /api/v1/cameras/north/labels HTTP/1.1\r\n${host}content-type: application/json\r\nconnection: close\r\ncontent-length: 9000000000\r\n\r\n{`,
      413,
      'request_too_large',
    ],
  ] as const)('refuses %s', async (_name, bytes, status, code) => {
    await using site = await startServer();
    const response = await sendRaw(site.port, bytes);
    expect(response).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(response.toLowerCase()).toContain('content-type: application/problem+json');
    expect(JSON.parse(response.slice(response.indexOf('\r\n\r\n')))).toMatchObject({ status, code });
    expect((await site.ask('GET', '/live')).status).toBe(200);
  });

  it('closes the connection without a response when garbage follows an open request', async () => {
    await using site = await startServer();
    site.agent.captured = () => new Promise(() => undefined);
    const begun = `POST ${CAPTURE} HTTP/1.1\r\n${host}\r\n`;
    expect(await sendRaw(site.port, `${begun}${begun}garbage\r\n\r\n`)).toBe('');
  });

  it('responds to pipelined requests in order, and drops too many of them', async () => {
    await using site = await startServer({ rateLimit: 100_000 });
    const live = `GET /live HTTP/1.1\r\n${host}\r\n`;
    const last = `GET /nothing HTTP/1.1\r\n${host}connection: close\r\n\r\n`;
    const response = await sendRaw(site.port, live.repeat(10) + last);
    expect(response.match(/HTTP\/1.1 \d+/g)).toEqual([
      ...Array<string>(10).fill('HTTP/1.1 200'),
      'HTTP/1.1 404',
    ]);
    let captures = 0;
    site.agent.captured = () => {
      captures += 1;
      return new Promise(() => undefined);
    };
    await sendRaw(site.port, `POST ${CAPTURE} HTTP/1.1\r\n${host}\r\n`.repeat(1000));
    expect(captures).toBeLessThanOrEqual(32);
    expect((await site.ask('GET', '/live')).status).toBe(200);
  });

  it('sends 100 Continue only after the guard accepts the request', async () => {
    const labels = 'POST /api/v1/cameras/north/labels HTTP/1.1';
    const headers = `${host}content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n`;
    await using locked = await startServer({ token: 'secret' });
    expect(await sendRaw(locked.port, `${labels}\r\n${headers}\r\n`)).toMatch(/^HTTP\/1.1 401 /);
    const asked = await sendRaw(locked.port, `${labels}\r\n${headers}authorization: Bearer secret\r\n\r\n{}`);
    expect(asked).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 400 /);
  });
});
