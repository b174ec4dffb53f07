import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RunningAgent } from '../../fixtures/agent.ts';
import { askAt, expectProblem, sayRaw, serve } from '../../fixtures/http-server.ts';
import { freePort } from '../../fixtures/mosquitto.ts';

const CAPTURE = '/api/v1/cameras/north/capture';
const REBOUND = [
  'evil.example',
  'evil.example:8080',
  '127.0.0.1.evil.example',
  'localhost.evil',
  'localhost:x',
];

describe('on loopback', () => {
  it('the Host header names this machine, or nothing is answered', async () => {
    await using site = await serve();
    for (const host of REBOUND)
      for (const path of ['/api/v1/status', '/live', '/metrics', '/nothing'])
        expectProblem(await site.ask('GET', path, { host }), 403, 'request_host_refused');
  });

  it('one Host header, not none and not two', async () => {
    await using site = await serve();
    for (const lines of ['', 'host: localhost\r\nhost: localhost\r\n', 'host: localhost\r\nHOST: evil\r\n']) {
      const said = await sayRaw(site.port, `GET /live HTTP/1.1\r\n${lines}connection: close\r\n\r\n`);
      expect(said).toMatch(/^HTTP\/1.1 400 [\s\S]*application\/problem\+json[\s\S]*request_invalid/);
    }
  });
});

describe('off loopback, the real agent with its token in a file', () => {
  it('answers nobody without the token, from wherever and by whatever name it is asked', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'swellsight-token-'));
    const token = 'correct-horse-battery';
    const file = join(folder, 'token');
    writeFileSync(file, `${token}\n`, { mode: 0o600 });
    const port = await freePort();
    await using agent = await RunningAgent.start({
      http: { host: '0.0.0.0', port, token_file: file, cors: ['https://ours.example'] },
      mqtt: { embedded: { port: await freePort() } },
    });
    try {
      await agent.waitFor('start', (line) => line.msg === 'agent started');
      const ask = (method: string, path: string, headers: Record<string, string> = {}) =>
        askAt({ port, method, path, headers });
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
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('every answer', () => {
  it('says how it may be used', async () => {
    await using site = await serve();
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

  it('to HEAD is that to GET without a body, and to OPTIONS what there is', async () => {
    await using site = await serve();
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

describe('bytes that are no good HTTP', () => {
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
  ] as const)('%s', async (_name, bytes, status, code) => {
    await using site = await serve();
    const said = await sayRaw(site.port, bytes);
    expect(said).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(said.toLowerCase()).toContain('content-type: application/problem+json');
    expect(JSON.parse(said.slice(said.indexOf('\r\n\r\n')))).toMatchObject({ status, code });
    expect((await site.ask('GET', '/live')).status).toBe(200);
  });

  it('garbage behind a request that is being worked on ends the connection, and forges no answer', async () => {
    await using site = await serve();
    site.agent.captured = () => new Promise(() => undefined);
    const begun = `POST ${CAPTURE} HTTP/1.1\r\n${host}\r\n`;
    expect(await sayRaw(site.port, `${begun}${begun}garbage\r\n\r\n`)).toBe('');
  });

  it('requests sent ahead are answered in order, and too many of them not at all', async () => {
    await using site = await serve({ rateLimit: 100_000 });
    const live = `GET /live HTTP/1.1\r\n${host}\r\n`;
    const last = `GET /nothing HTTP/1.1\r\n${host}connection: close\r\n\r\n`;
    const said = await sayRaw(site.port, live.repeat(10) + last);
    expect(said.match(/HTTP\/1.1 \d+/g)).toEqual([...Array<string>(10).fill('HTTP/1.1 200'), 'HTTP/1.1 404']);
    let working = 0;
    site.agent.captured = () => {
      working += 1;
      return new Promise(() => undefined);
    };
    await sayRaw(site.port, `POST ${CAPTURE} HTTP/1.1\r\n${host}\r\n`.repeat(1000));
    expect(working).toBeLessThanOrEqual(32);
    expect((await site.ask('GET', '/live')).status).toBe(200);
  });

  it('asks for a body only behind the guard', async () => {
    const labels = 'POST /api/v1/cameras/north/labels HTTP/1.1';
    const headers = `${host}content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n`;
    await using locked = await serve({ token: 'secret' });
    expect(await sayRaw(locked.port, `${labels}\r\n${headers}\r\n`)).toMatch(/^HTTP\/1.1 401 /);
    const asked = await sayRaw(locked.port, `${labels}\r\n${headers}authorization: Bearer secret\r\n\r\n{}`);
    expect(asked).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 400 /);
  });
});
