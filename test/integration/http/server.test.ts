import { once } from 'node:events';
import { request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Settings } from '../../../src/config/schema.ts';
import { HttpServer } from '../../../src/http/server.ts';
import { createLog } from '../../../src/base/log.ts';
import { CannedAgent, OBSERVATION_ID, observation } from '../../fixtures/agent-api.ts';

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly json: () => Record<string, unknown>;
}

const servers: HttpServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

async function serve(more: Partial<Settings['http']> = {}) {
  const agent = new CannedAgent();
  const options = {
    host: '127.0.0.1',
    port: 0,
    token: null,
    cors: [],
    maxUploadMb: 20,
    batchMax: 50,
    cacheTtlS: 300,
    rateLimit: 600,
  };
  const server = new HttpServer(
    { ...options, ...more },
    { api: agent, log: createLog('silent'), version: '1.2.3' },
  );
  servers.push(server);
  const { port } = await server.start();
  // node:http and not fetch: it lets a test send any Host header.
  const ask = async (
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body?: string,
  ): Promise<Answer> => {
    const sent = request({
      host: '127.0.0.1',
      port,
      method,
      path,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    });
    sent.end(body);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: bytes,
      json: () => JSON.parse(bytes.toString()) as Record<string, unknown>,
    };
  };
  return { agent, port, ask, server };
}

const expectProblem = (answer: Answer, status: number, code: string): void => {
  expect([answer.status, answer.headers['content-type']]).toEqual([status, 'application/problem+json']);
  const problem = answer.json();
  expect(problem).toMatchObject({ status, code, type: `urn:swellsight:error:${code}` });
  for (const name of ['title', 'detail', 'hint']) expect(problem[name]).toMatch(/\w/);
  expect(JSON.stringify(problem)).not.toMatch(/node_modules|\bat \w+ \(|FST_|\/src\//);
};

describe('answers', () => {
  it('says what it is', async () => {
    const { ask } = await serve();
    expect((await ask('GET', '/')).json()).toMatchObject({ name: 'swellsight', version: '1.2.3' });
  });

  it('live, ready and health are 200 when well, 503 when not', async () => {
    const { ask, agent } = await serve();
    for (const path of ['/live', '/ready', '/health', '/health/detailed'])
      expect((await ask('GET', path)).status).toBe(200);
    agent.degraded = ['clock_unsynced'];
    expect((await ask('GET', '/health')).json()).toEqual({
      status: 'degraded',
      degraded: ['clock_unsynced'],
    });
    agent.alive = false;
    agent.missing = ['model_not_found'];
    for (const path of ['/live', '/ready', '/health', '/health/detailed'])
      expect((await ask('GET', path)).status).toBe(503);
    expect((await ask('GET', '/ready')).json()).toEqual({ ready: false, missing: ['model_not_found'] });
  });

  it('status, cameras, and one observation from a capture', async () => {
    const { ask } = await serve();
    expect((await ask('GET', '/api/v1/status')).json()).toMatchObject({ status: 'online' });
    expect((await ask('GET', '/api/v1/cameras')).json()).toMatchObject({ cameras: [{ id: 'north' }] });
    expect((await ask('POST', '/api/v1/cameras/north/capture')).json()).toEqual(observation);
  });

  it('the latest picture, and 404 while there is none', async () => {
    const { ask, agent } = await serve();
    const picture = await ask('GET', '/api/v1/cameras/north/latest.jpg?annotate');
    expect([picture.status, picture.headers['content-type'], picture.body.length]).toEqual([
      200,
      'image/jpeg',
      4,
    ]);
    agent.image = null;
    expectProblem(await ask('GET', '/api/v1/cameras/north/latest.jpg'), 404, 'camera_no_frame');
  });

  it('labels and calibrations travel both ways', async () => {
    const { ask, agent } = await serve();
    const label = { observation_id: OBSERVATION_ID, height_m: 1.4, observer: 'ana' };
    const added = await ask('POST', '/api/v1/cameras/north/labels', {}, JSON.stringify(label));
    expect([added.status, agent.labelled]).toEqual([201, [label]]);
    expect((await ask('GET', '/api/v1/cameras/north/labels')).json()).toEqual({ labels: [] });
    expect(
      (await ask('DELETE', `/api/v1/cameras/north/labels?observation_id=${OBSERVATION_ID}`)).json(),
    ).toMatchObject({ calibration: { labels: 3 } });
    expect((await ask('GET', '/api/v1/cameras/north/calibration')).json()).toEqual({ format: 1 });
    const big = JSON.stringify({ format: 1, embeddings: 'x'.repeat(2_000_000) });
    expect((await ask('PUT', '/api/v1/cameras/north/calibration', {}, big)).status).toBe(200);
    expect(agent.imported).toHaveLength(1);
  });

  it('outbox', async () => {
    const { ask, agent } = await serve();
    expect((await ask('GET', '/api/v1/outbox')).json()).toEqual(agent.outboxView);
  });

  it('history with its query', async () => {
    const { ask, agent } = await serve();
    const path =
      '/api/v1/observations?camera=north&from=2026-05-01T00:00:00Z&to=2026-05-02T00:00:00Z&status=measured&limit=2&cursor=abc';
    expect((await ask('GET', path)).json()).toEqual({ observations: [observation], cursor: 'next' });
    expect(agent.queries).toEqual([
      {
        camera: 'north',
        fromMs: Date.parse('2026-05-01'),
        toMs: Date.parse('2026-05-02'),
        status: 'measured',
        limit: 2,
        cursor: 'abc',
      },
    ]);
  });
});

describe('refusals', () => {
  it.each([
    ['GET', '/nothing', undefined, 404, 'request_not_found'],
    ['GET', '/api/v1/cameras/../../etc/passwd', undefined, 404, 'request_not_found'],
    ['DELETE', '/api/v1/status', undefined, 405, 'request_method'],
    ['GET', '/api/v1/cameras/north/capture', undefined, 405, 'request_method'],
    ['GET', '/api/v1/cameras/%00/latest.jpg', undefined, 400, 'request_invalid'],
    ['GET', '/api/v1/cameras/%zz/latest.jpg', undefined, 400, 'request_invalid'],
    ['GET', '/api/v1/cameras/south/latest.jpg', undefined, 404, 'camera_unknown'],
    ['POST', '/api/v1/cameras/south/capture', undefined, 404, 'camera_unknown'],
    ['GET', '/api/v1/cameras/south/labels', undefined, 404, 'camera_unknown'],
    ['GET', '/api/v1/observations?limit=0', undefined, 400, 'request_invalid'],
    ['GET', '/api/v1/observations?limit=ten', undefined, 400, 'request_invalid'],
    ['GET', '/api/v1/observations?from=yesterday', undefined, 400, 'request_invalid'],
    ['GET', '/api/v1/observations?status=great', undefined, 400, 'request_invalid'],
    ['GET', '/api/v1/observations?colour=blue', undefined, 400, 'request_invalid'],
    [
      'GET',
      '/api/v1/observations?from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z',
      undefined,
      400,
      'request_invalid',
    ],
    ['GET', '/api/v1/cameras/north/latest.jpg?max_width_px=100000', undefined, 400, 'request_invalid'],
    ['POST', '/api/v1/cameras/north/labels', '{', 400, 'request_invalid'],
    ['POST', '/api/v1/cameras/north/labels', '', 400, 'request_invalid'],
    ['POST', '/api/v1/cameras/north/labels', '{"height_m":1}', 400, 'request_invalid'],
    [
      'POST',
      '/api/v1/cameras/north/labels',
      `{"observation_id":"${OBSERVATION_ID}","height_m":31}`,
      400,
      'request_invalid',
    ],
    [
      'POST',
      '/api/v1/cameras/north/labels',
      `{"observation_id":"${OBSERVATION_ID}","height_m":1,"admin":true}`,
      400,
      'request_invalid',
    ],
    [
      'POST',
      '/api/v1/cameras/north/labels',
      '{"observation_id":"0195f3a0-0000-7000-8000-00000000ffff","height_m":1}',
      404,
      'observation_unknown',
    ],
    ['POST', '/api/v1/cameras/north/labels', `{"note":"${'x'.repeat(70_000)}"}`, 413, 'request_too_large'],
    ['DELETE', '/api/v1/cameras/north/labels', undefined, 400, 'request_invalid'],
  ] as const)('%$: %s %.60s', async (method, path, body, status, code) => {
    const { ask } = await serve();
    expectProblem(await ask(method, path, {}, body), status, code);
  });

  it('names the allowed methods', async () => {
    const { ask } = await serve();
    expect((await ask('PATCH', '/api/v1/cameras/north/labels')).headers.allow).toMatch(/GET.*POST.*DELETE/);
  });

  it('takes JSON only', async () => {
    const { ask } = await serve();
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])
      expectProblem(
        await ask('POST', '/api/v1/cameras/north/labels', { 'content-type': type }, '{}'),
        415,
        'request_media_type',
      );
  });

  it('says nothing of what broke inside', async () => {
    const { ask, agent } = await serve();
    agent.captured = () =>
      Promise.reject(new TypeError('Cannot read /var/lib/swellsight/secret.db of undefined'));
    const answer = await ask('POST', '/api/v1/cameras/north/capture');
    expectProblem(answer, 500, 'internal');
    expect(answer.body.toString()).not.toContain('secret.db');
  });

  it('answers garbage with 400 and lives on', async () => {
    const { port, ask } = await serve();
    const socket = connect(port, '127.0.0.1');
    socket.end('\u0016\u0003\u0001 this is no HTTP\r\n\r\n');
    const [first] = (await once(socket, 'data')) as [Buffer];
    expect(first.toString()).toContain('400');
    expect((await ask('GET', '/live')).status).toBe(200);
  });

  it('refuses names that are not this machine (DNS rebinding)', async () => {
    const { ask, port } = await serve();
    for (const host of ['evil.example', 'evil.example:8080', '127.0.0.1.evil.example', 'localhost@evil'])
      expectProblem(await ask('GET', '/api/v1/status', { host }), 403, 'request_host_refused');
    for (const host of ['localhost', `127.0.0.1:${String(port)}`, '[::1]:8080'])
      expect((await ask('GET', '/api/v1/status', { host })).status).toBe(200);
  });

  it('refuses writes from foreign pages, but for those in http.cors', async () => {
    const { ask, port } = await serve({ cors: ['https://ours.example'] });
    const capture = (origin: string) => ask('POST', '/api/v1/cameras/north/capture', { origin });
    expectProblem(await capture('https://evil.example'), 403, 'request_origin_refused');
    expectProblem(await capture('null'), 403, 'request_origin_refused');
    expect((await capture('https://ours.example')).status).toBe(200);
    expect((await capture(`http://127.0.0.1:${String(port)}`)).status).toBe(200);
  });
});

describe('token', () => {
  it('is wanted everywhere but on /live and /ready', async () => {
    const { ask } = await serve({ host: '0.0.0.0', token: 'correct-horse' });
    for (const path of ['/live', '/ready', '/live?x=1'])
      expect((await ask('GET', path, { host: 'station.local' })).status).toBe(200);
    for (const headers of [
      {},
      { authorization: 'Bearer wrong' },
      { authorization: 'Bearer' },
      { authorization: 'Basic correct-horse' },
      { authorization: 'Bearer correct-horsey' },
    ] as Record<string, string>[]) {
      const answer = await ask('GET', '/api/v1/status', headers);
      expectProblem(answer, 401, 'request_unauthorized');
      expect(answer.headers['www-authenticate']).toBe('Bearer');
    }
    expectProblem(await ask('GET', '/nothing'), 401, 'request_unauthorized');
    expectProblem(await ask('GET', '//live'), 401, 'request_unauthorized');
    expect(
      (await ask('GET', '/api/v1/status', { authorization: 'Bearer correct-horse', host: 'station.local' }))
        .status,
    ).toBe(200);
  });
});

describe('life', () => {
  it('tells capture when the client has gone', async () => {
    const { agent, port } = await serve();
    const gone = new Promise<void>((resolve) => {
      agent.captured = (signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            resolve();
            reject(new Error('aborted'));
          });
        });
    });
    const sent = request({ host: '127.0.0.1', port, method: 'POST', path: '/api/v1/cameras/north/capture' });
    sent.on('error', () => undefined);
    sent.end();
    await new Promise((resolve) => setTimeout(resolve, 100));
    sent.destroy();
    await gone;
  });

  it('stops in bounded time under an open request, and frees the port', async () => {
    const { agent, ask, server } = await serve();
    agent.captured = () => new Promise(() => undefined);
    const open = ask('POST', '/api/v1/cameras/north/capture').catch((error: unknown) => error);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const started = performance.now();
    await server.stop();
    expect(performance.now() - started).toBeLessThan(20_000);
    expectProblem((await open) as Answer, 503, 'request_stopping');
    await expect(ask('GET', '/live')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('says so when the port is taken', async () => {
    const { port } = await serve();
    await expect(serve({ port })).rejects.toMatchObject({ code: 'http_listen' });
  });
});

describe('models', () => {
  it('are shown, installed, taken back, reloaded', async () => {
    const { agent, ask } = await serve();
    expect((await ask('GET', '/api/v1/models/info')).json()).toMatchObject({ active: { name: 'gauge' } });
    const wanted = { name: 'gauge', version: '1.1.0' };
    const accepted = await ask('POST', '/api/v1/models/install', {}, JSON.stringify(wanted));
    expect([accepted.status, accepted.json()]).toMatchObject([202, { install: { phase: 'requested' } }]);
    expect(agent.installs).toEqual([[{ ...wanted, source: { kind: 'repository' } }]]);
    for (const [path, body] of [
      ['rollback', { model: { name: 'gauge' } }],
      ['reload', { model: { name: 'gauge' } }],
      ['abort', { aborted: true }],
    ] as const)
      expect((await ask('POST', `/api/v1/models/${path}`)).json()).toMatchObject(body);
  });

  it.each([
    { name: '../x', version: '1.0.0' },
    { name: 'x', version: '1' },
    { name: 'x' },
    { url: 'http://x' },
  ])('what cannot be a model is refused: %j', async (body) => {
    const { agent, ask } = await serve();
    expect((await ask('POST', '/api/v1/models/install', {}, JSON.stringify(body))).status).toBe(400);
    expect(agent.installs).toEqual([]);
  });

  it('are changed by nobody without the token, and by no other page', async () => {
    const { agent, ask } = await serve({ token: 'secret' });
    const body = JSON.stringify({ name: 'gauge', version: '1.1.0' });
    for (const path of ['install', 'rollback', 'reload', 'abort'])
      expect((await ask('POST', `/api/v1/models/${path}`, {}, body)).status).toBe(401);
    const page = { authorization: 'Bearer secret', origin: 'https://elsewhere.example' };
    expect((await ask('POST', '/api/v1/models/install', page, body)).status).toBe(403);
    expect(agent.installs).toEqual([]);
  });
});
