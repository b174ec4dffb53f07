import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { OPERATIONS } from '../../../src/contract/openapi/emit-openapi.ts';
import type { Operation } from '../../../src/contract/openapi/operation.ts';
import { OBSERVATION_ID, observation, type CannedAgent } from '../../fixtures/agent-api.ts';
import { commandsBelow } from '../../fixtures/documents.ts';
import { expectProblem, startServer, type HttpAnswer } from '../../fixtures/http-server.ts';
import { sample } from '../../fixtures/samples.ts';

describe('routes of the HTTP server', () => {
  it('describes the agent at /', async () => {
    const { ask } = await startServer();
    expect((await ask('GET', '/')).json()).toMatchObject({ name: 'swellsight', version: '1.2.3' });
  });

  it('responds to live, ready and health with 200, or with 503 when the agent is not well', async () => {
    const { ask, agent } = await startServer();
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

  it('returns status, cameras, and the observation of a capture', async () => {
    const { ask } = await startServer();
    expect((await ask('GET', '/api/v1/status')).json()).toMatchObject({ status: 'online' });
    expect((await ask('GET', '/api/v1/cameras')).json()).toMatchObject({ cameras: [{ id: 'north' }] });
    expect((await ask('POST', '/api/v1/cameras/north/capture')).json()).toEqual(observation);
  });

  it('answers the requests of the documentation for the history', async () => {
    const { ask } = await startServer();
    const urls = commandsBelow('docs/http-api.md', 'History').match(/\/api\/v1\/[^']+/g) ?? [];
    expect(urls).toHaveLength(2);
    for (const url of urls) expect((await ask('GET', url)).status, url).toBe(200);
  });

  it('returns the newest frame, and 404 when there is none', async () => {
    const { ask, agent } = await startServer();
    const jpeg = await ask('GET', '/api/v1/cameras/north/latest.jpg?annotate');
    expect([jpeg.status, jpeg.headers['content-type'], jpeg.body.length]).toEqual([200, 'image/jpeg', 4]);
    expect(jpeg.headers['swellsight-observation']).toBe(OBSERVATION_ID);
    agent.image = null;
    expectProblem(await ask('GET', '/api/v1/cameras/north/latest.jpg'), 404, 'camera_no_frame');
  });

  it('refuses a body that an operation would ignore, and names where its arguments belong', async () => {
    const { ask, agent } = await startServer();
    const dropped: unknown[] = [];
    const drop = agent.dropConfig;
    agent.dropConfig = (key) => {
      dropped.push(key);
      return drop(key);
    };
    // node:http sends no content-length for DELETE.
    const send = (method: string, path: string, body: string): Promise<HttpAnswer> =>
      ask(method, path, { 'content-length': String(Buffer.byteLength(body)) }, body);
    const refused = await send('DELETE', '/api/v1/config/remote', '{"key": "heartbeat.intervalS"}');
    expectProblem(refused, 400, 'request_invalid');
    expect(refused.json()['detail']).toBe(
      'the request must have no body: write key in the query of the address',
    );
    for (const [id, operation] of Object.entries<Operation>(OPERATIONS))
      if (operation.method !== 'GET' && operation.body === undefined)
        expectProblem(
          await send(operation.method, sample(id, operation).path, '["x"]'),
          400,
          'request_invalid',
        );
    expect(dropped).toEqual([]);
    expect((await send('DELETE', '/api/v1/config/remote', '{}')).status).toBe(200);
    expect(dropped).toEqual([null]);
  });

  it('adds, lists and removes labels, and exports and imports calibrations', async () => {
    const { ask, agent } = await startServer();
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

  it('returns the latest lines of the log', async () => {
    const { ask, agent } = await startServer();
    agent.logLines = ['{"msg":"one"}', '{"msg":"two"}'];
    expect((await ask('GET', '/api/v1/log?limit=1')).json()).toEqual({ lines: ['{"msg":"two"}'] });
    expect((await ask('GET', '/api/v1/log?limit=501')).status).toBe(400);
  });

  it('returns the outbox', async () => {
    const { ask, agent } = await startServer();
    expect((await ask('GET', '/api/v1/outbox')).json()).toEqual(agent.outboxView);
  });

  it('passes the query of observations to the agent', async () => {
    const { ask, agent } = await startServer();
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

describe('refused requests', () => {
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
  ] as const)('%$: refuses %s %.60s', async (method, path, body, status, code) => {
    const { ask } = await startServer();
    expectProblem(await ask(method, path, {}, body), status, code);
  });

  it('lists the allowed methods in Allow', async () => {
    const { ask } = await startServer();
    expect((await ask('PATCH', '/api/v1/cameras/north/labels')).headers.allow).toMatch(/GET.*POST.*DELETE/);
  });

  it('accepts only JSON', async () => {
    const { ask } = await startServer();
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])
      expectProblem(
        await ask('POST', '/api/v1/cameras/north/labels', { 'content-type': type }, '{}'),
        415,
        'request_media_type',
      );
  });

  it('does not reveal internal errors', async () => {
    const { ask, agent } = await startServer();
    agent.captured = () =>
      Promise.reject(new TypeError('Cannot read /var/lib/swellsight/secret.db of undefined'));
    const answer = await ask('POST', '/api/v1/cameras/north/capture');
    expectProblem(answer, 500, 'internal');
    expect(answer.body.toString()).not.toContain('secret.db');
  });

  it('refuses a capture with 503 and Retry-After while too many wait', async () => {
    const { ask, agent } = await startServer();
    agent.captured = () =>
      Promise.reject(new AgentError('capture_busy', 'captures wait', { context: { retryAfterS: 42 } }));
    const answer = await ask('POST', '/api/v1/cameras/north/capture');
    expectProblem(answer, 503, 'capture_busy');
    expect(answer.headers['retry-after']).toBe('42');
  });

  it('does not take a TimeoutError of another part for the deadline of the request', async () => {
    const { ask, agent } = await startServer();
    agent.captured = () => Promise.reject(new DOMException('of another part', 'TimeoutError'));
    expectProblem(await ask('POST', '/api/v1/cameras/north/capture'), 504, 'command_timeout');
  });

  it('responds to invalid HTTP with 400 and continues to work', async () => {
    const { port, ask } = await startServer();
    const socket = connect(port, '127.0.0.1');
    socket.end('\u0016\u0003\u0001 this is no HTTP\r\n\r\n');
    const [first] = (await once(socket, 'data')) as [Buffer];
    expect(first.toString()).toContain('400');
    expect((await ask('GET', '/live')).status).toBe(200);
  });

  it('refuses Host headers that do not name this machine (DNS rebinding)', async () => {
    const { ask, port } = await startServer();
    for (const host of ['evil.example', 'evil.example:8080', '127.0.0.1.evil.example', 'localhost@evil'])
      expectProblem(await ask('GET', '/api/v1/status', { host }), 403, 'request_host_refused');
    for (const host of ['localhost', `127.0.0.1:${String(port)}`, '[::1]:8080'])
      expect((await ask('GET', '/api/v1/status', { host })).status).toBe(200);
  });

  it('refuses writes of foreign pages, except those in http.cors', async () => {
    const { ask, port } = await startServer({ cors: ['https://ours.example'] });
    const capture = (origin: string) => ask('POST', '/api/v1/cameras/north/capture', { origin });
    expectProblem(await capture('https://evil.example'), 403, 'request_origin_refused');
    expectProblem(await capture('null'), 403, 'request_origin_refused');
    expect((await capture('https://ours.example')).status).toBe(200);
    expect((await capture(`http://127.0.0.1:${String(port)}`)).status).toBe(200);
  });
});

describe('the token', () => {
  it('is required on all paths except /live and /ready', async () => {
    const { ask } = await startServer({ host: '0.0.0.0', token: 'correct-horse' });
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

/** Makes the captures of the agent wait without end. */
function pendingCaptures(agent: CannedAgent): {
  readonly started: Promise<void>;
  readonly aborted: Promise<void>;
} {
  const started = Promise.withResolvers<undefined>();
  const aborted = Promise.withResolvers<undefined>();
  agent.captured = (signal) => {
    signal.addEventListener('abort', () => aborted.resolve(undefined));
    started.resolve(undefined);
    return new Promise(() => undefined);
  };
  return { started: started.promise, aborted: aborted.promise };
}

describe('start, stop and disconnects', () => {
  it('aborts a capture when the client disconnects', async () => {
    const { agent, port } = await startServer();
    const captures = pendingCaptures(agent);
    const sent = request({ host: '127.0.0.1', port, method: 'POST', path: '/api/v1/cameras/north/capture' });
    sent.on('error', () => undefined);
    sent.end();
    await captures.started;
    sent.destroy();
    await captures.aborted;
  });

  it('stops in bounded time during an open request, and frees the port', async () => {
    const { agent, ask, server } = await startServer();
    const captures = pendingCaptures(agent);
    const open = ask('POST', '/api/v1/cameras/north/capture').catch((error: unknown) => error);
    await captures.started;
    const started = performance.now();
    await server.stop();
    expect(performance.now() - started).toBeLessThan(20_000);
    expectProblem((await open) as HttpAnswer, 503, 'request_stopping');
    await expect(ask('GET', '/live')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('throws http_listen when the port is in use', async () => {
    const { port } = await startServer();
    await expect(startServer({ port })).rejects.toMatchObject({ code: 'http_listen' });
  });
});

describe('model routes', () => {
  it('return, install, roll back, reload and abort models', async () => {
    const { agent, ask } = await startServer();
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
  ])('refuse an invalid model: %j', async (body) => {
    const { agent, ask } = await startServer();
    expect((await ask('POST', '/api/v1/models/install', {}, JSON.stringify(body))).status).toBe(400);
    expect(agent.installs).toEqual([]);
  });

  it('refuse changes without the token and from foreign pages', async () => {
    const { agent, ask } = await startServer({ token: 'secret' });
    const body = JSON.stringify({ name: 'gauge', version: '1.1.0' });
    for (const path of ['install', 'rollback', 'reload', 'abort'])
      expect((await ask('POST', `/api/v1/models/${path}`, {}, body)).status).toBe(401);
    const page = { authorization: 'Bearer secret', origin: 'https://elsewhere.example' };
    expect((await ask('POST', '/api/v1/models/install', page, body)).status).toBe(403);
    expect(agent.installs).toEqual([]);
  });
});

describe('agent routes', () => {
  it('return the versions, and start an update and a rollback', async () => {
    const { agent, ask } = await startServer();
    expect((await ask('GET', '/api/v1/agent')).json()).toMatchObject({ running: { version: '1.2.0' } });
    const accepted = await ask('POST', '/api/v1/agent/install', {}, JSON.stringify({ version: '1.3.0' }));
    expect([accepted.status, accepted.json()]).toMatchObject([202, { update: { phase: 'requested' } }]);
    expect(agent.updates).toEqual([[{ version: '1.3.0', source: { kind: 'repository' } }]]);
    const back = await ask('POST', '/api/v1/agent/rollback');
    expect([back.status, back.json()]).toMatchObject([202, { update: { action: 'rollback' } }]);
  });

  it.each([
    {},
    { version: 'newest' },
    { version: '1.0.0', url: 'http://x' },
    { version: '1.0.0', digest: 'x' },
  ])('refuse an invalid version: %j', async (body) => {
    const { agent, ask } = await startServer();
    expect((await ask('POST', '/api/v1/agent/install', {}, JSON.stringify(body))).status).toBe(400);
    expect(agent.updates).toEqual([]);
  });

  it('refuse changes without the token', async () => {
    const { agent, ask } = await startServer({ token: 'secret' });
    const body = JSON.stringify({ version: '1.3.0' });
    for (const path of ['install', 'rollback'])
      expect((await ask('POST', `/api/v1/agent/${path}`, {}, body)).status).toBe(401);
    expect(agent.updates).toEqual([]);
  });
});
