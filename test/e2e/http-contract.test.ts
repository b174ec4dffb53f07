import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import { commandsBelow } from '../fixtures/documents.ts';
import { sendRequest } from '../fixtures/http-server.ts';
import { Documented, openApi } from '../fixtures/openapi.ts';
import { seaCamera, snapshotsOf } from '../fixtures/sea-camera.ts';

interface ListedObservation {
  readonly id: string;
  readonly camera: string;
  readonly status: string;
}

const UNKNOWN = '0195f3a0-0000-7000-8000-00000000000f';
const documented = new Documented();
const empty = mkdtempSync(join(tmpdir(), 'swellsight-empty-'));
const dir = mkdtempSync(join(tmpdir(), 'swellsight-commands-'));
let sea: TestServer;
let agent: RunningAgent;
let port = 0;

beforeAll(async () => {
  mkdirSync(empty, { recursive: true });
  sea = await seaCamera();
  agent = await RunningAgent.start({
    logLevel: 'info',
    mqtt: { embedded: { port: 0 } },
    cameras: [
      snapshotsOf('sea', sea),
      {
        id: 'blind',
        kind: 'directory',
        path: empty,
        timeoutS: 2,
        schedule: { everyS: 3600 },
        burst: { frames: 1 },
      },
    ],
  });
  port = Number(new URL(agent.url).port);
  await agent.observation((line) => line['status'] === 'measured');
});
afterAll(async () => {
  await agent[Symbol.asyncDispose]();
  await sea.stop();
  for (const path of [empty, dir]) rmSync(path, { recursive: true, force: true });
});

interface RequestParts {
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array | FormData;
}

/** Sends a request. The response must have this status, and the OpenAPI document must describe it. */
async function request(
  status: number,
  method: string,
  path: string,
  { headers = {}, body }: RequestParts = {},
) {
  const response = await fetch(`${agent.url}${path}`, {
    method,
    headers,
    ...(body === undefined ? {} : { body: body as RequestInit['body'] & {} }),
    signal: AbortSignal.timeout(60_000),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const text = bytes.toString();
  const contentType = response.headers.get('content-type');
  expect(documented.fault(method, path, { status: response.status, contentType, body: text })).toBeNull();
  expect([method, path, response.status, response.status === status ? '' : text.slice(0, 300)]).toEqual([
    method,
    path,
    status,
    '',
  ]);
  return { headers: response.headers, bytes, text, json: () => JSON.parse(text) as Record<string, unknown> };
}

const asJson = (value: unknown): RequestParts => ({
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(value),
});

function form(field: string, ...images: (Uint8Array | string)[]): RequestParts {
  const body = new FormData();
  for (const image of images) body.append(field, new Blob([image]), 'image.jpg');
  return { body };
}

async function records(query = ''): Promise<ListedObservation[]> {
  const page = await request(200, 'GET', `/api/v1/observations${query}`);
  return page.json()['observations'] as ListedObservation[];
}

describe('HTTP API of a running agent', () => {
  it('answers every read-only path', async () => {
    for (const path of [
      '/',
      '/openapi.json',
      '/docs',
      '/docs/start.js',
      '/docs/swagger-ui.css',
      '/docs/swagger-ui-bundle.js',
      '/docs/favicon-32x32.png',
      '/live',
      '/ready',
      '/health',
      '/health/detailed',
      '/metrics',
      '/api/v1/status',
      '/api/v1/models/info',
      '/api/v1/outbox',
      '/api/v1/log',
      '/api/v1/diagnostics',
      '/api/v1/cameras',
      '/api/v1/cameras/sea/latest.jpg?annotate&max_width_px=320',
      '/api/v1/cameras/sea/labels',
      '/api/v1/config',
      '/api/v1/info',
      '/api/v1/observations?camera=sea&status=measured&limit=2',
      '/api/v1/observations.csv?camera=sea&limit=2',
      '/api/v1/cameras/sea/series?points=10',
      '/api/v1/cameras/sea/frames?limit=2',
      '/api/v1/cameras/sea/label-queue?limit=2',
      '/api/v1/event-log?severity=warning&limit=2',
      '/api/v1/cameras/sea/sea-state?limit=2',
      '/api/v1/cameras/sea/sea-state.csv?limit=2',
    ])
      await request(200, 'GET', path);
    const page = await request(200, 'GET', '/', { headers: { accept: 'text/html' } });
    expect(page.text).toContain('href="/docs"');
    expect((await request(200, 'GET', '/openapi.json')).json()).toEqual(openApi());
  });

  it('keeps the frame of an observation as an image', async () => {
    const keptFrames = async () =>
      (await request(200, 'GET', '/api/v1/cameras/sea/frames')).json()['frames'] as {
        observation_id: string;
      }[];
    await expect.poll(async () => (await keptFrames()).length, { timeout: 30_000 }).toBeGreaterThan(0);
    const [frame] = await keptFrames();
    const path = `/api/v1/observations/${String(frame?.observation_id)}`;
    expect((await request(200, 'GET', path)).json()).toMatchObject({ camera: 'sea', status: 'measured' });
    const image = await request(200, 'GET', `${path}/image.jpg?max_width_px=320`);
    expect(image.bytes.readUInt16BE()).toBe(0xffd8);
    const [failed] = await records('?camera=blind&limit=1');
    if (failed) await request(404, 'GET', `/api/v1/observations/${failed.id}/image.jpg`);
    await request(404, 'GET', `/api/v1/observations/${UNKNOWN}`);
    await request(404, 'GET', '/api/v1/cameras/nowhere/series');
  });

  it('has no sea state of a camera without clips', async () => {
    await request(409, 'POST', '/api/v1/cameras/sea/sea-state?durationS=300');
    await request(400, 'POST', '/api/v1/cameras/sea/sea-state?durationS=1');
    for (const record of ['latest', UNKNOWN])
      for (const picture of ['timestack.png', 'spectrum.png'])
        await request(404, 'GET', `/api/v1/cameras/sea/sea-state/${record}/${picture}`);
    for (const path of ['sea-state', 'sea-state.csv', 'sea-state/latest/spectrum.png'])
      await request(404, 'GET', `/api/v1/cameras/nowhere/${path}`);
  });

  it('serves pages without inline scripts and without resources of other origins', async () => {
    for (const path of ['/', '/docs', '/fleet.html']) {
      const page = await request(200, 'GET', path, { headers: { accept: 'text/html' } });
      expect(page.text).not.toMatch(/https?:\/\/|<script>|\son\w+=|style=/);
      const policy = page.headers.get('content-security-policy');
      expect(policy).toMatch(/^default-src '(self|none)'/);
      expect(policy).not.toMatch(/script-src[^;]*(unsafe|\*|http)/);
      const files = [...page.text.matchAll(/"\.(\/assets\/[^"]+)"/g)].map(([, file = '']) => file);
      if (path !== '/docs') expect(files.length).toBeGreaterThan(3);
      for (const file of files) await request(200, 'GET', file);
    }
    await request(404, 'GET', '/assets/nothing.js');
  });

  it('analyses images, and refuses invalid ones with the reason', async () => {
    const jpeg = (await request(200, 'GET', '/api/v1/cameras/sea/latest.jpg')).bytes;
    const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>';
    const one = (await request(200, 'POST', '/api/v1/analyze?camera=sea', form('file', jpeg))).json();
    expect(one).toMatchObject({ cached: false, camera: 'sea' });
    await request(400, 'POST', '/api/v1/analyze', form('file', jpeg.subarray(0, jpeg.length / 2)));
    await request(400, 'POST', '/api/v1/analyze', form('file', ''));
    await request(400, 'POST', '/api/v1/analyze', form('picture', jpeg));
    await request(415, 'POST', '/api/v1/analyze', form('file', svg));
    await request(415, 'POST', '/api/v1/analyze', asJson({}));
    await request(404, 'POST', '/api/v1/analyze?camera=nowhere', form('file', jpeg));
    await request(400, 'POST', '/api/v1/analyze?strict=perhaps', form('file', jpeg));
    const many = await request(200, 'POST', '/api/v1/analyze/batch', form('files', jpeg, svg, jpeg));
    expect(many.json()).toMatchObject({ total_images: 3, successful_analyses: 2, failed_analyses: 1 });
    await request(400, 'POST', '/api/v1/analyze/batch', form('file', jpeg));
    await request(415, 'POST', '/api/v1/analyze/batch', asJson({}));
  });

  it.each([
    ['docs/cameras.md', 'Region and privacy masks'],
    ['docs/calibration.md', 'Labels over HTTP'],
  ])('answers the command lines of %s, %s', (document, heading) => {
    const script = commandsBelow(document, heading)
      .replaceAll('http://127.0.0.1:8080', agent.url)
      .replaceAll(/\bnorth\b(?!-)/g, 'sea');
    const { status, stderr, stdout } = spawnSync('sh', { cwd: dir, input: script, encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    if (heading === 'Labels over HTTP') expect(stdout).toContain('"height_m":1.2');
    else expect(readFileSync(join(dir, 'north-annotated.jpg')).readUInt16BE()).toBe(0xffd8);
  });

  it('captures on request, stores labels, and exports and imports a calibration', async () => {
    await request(200, 'POST', '/api/v1/cameras/sea/capture');
    const failed = (await request(200, 'POST', '/api/v1/cameras/blind/capture')).json();
    expect(failed).toMatchObject({ camera: 'blind', status: 'failed' });
    await request(404, 'POST', '/api/v1/cameras/nowhere/capture');
    await request(404, 'GET', '/api/v1/cameras/blind/latest.jpg');
    await request(404, 'GET', '/api/v1/cameras/nowhere/latest.jpg');
    await request(400, 'GET', '/api/v1/cameras/sea/latest.jpg?max_width_px=1');

    const labels = '/api/v1/cameras/sea/labels';
    const calibration = '/api/v1/cameras/sea/calibration';
    await request(422, 'GET', calibration);
    const [measured] = await records('?camera=sea&status=measured');
    const label = { observation_id: measured?.id, height_m: 1.3, observer: 'anna' };
    await request(201, 'POST', labels, asJson(label));
    await request(400, 'POST', labels, asJson({ ...label, height_m: -1 }));
    await request(404, 'POST', labels, asJson({ ...label, observation_id: UNKNOWN }));
    await request(409, 'POST', '/api/v1/cameras/blind/labels', asJson(label));
    await request(
      409,
      'POST',
      '/api/v1/cameras/blind/labels',
      asJson({ ...label, observation_id: failed['id'] }),
    );
    await request(404, 'POST', '/api/v1/cameras/nowhere/labels', asJson(label));
    await request(415, 'POST', labels, { headers: { 'content-type': 'text/plain' }, body: 'x' });
    await request(413, 'POST', labels, asJson({ ...label, note: 'x'.repeat(100_000) }));
    const document = (await request(200, 'GET', calibration)).json();
    await request(200, 'PUT', calibration, asJson(document));
    await request(422, 'PUT', calibration, asJson({ ...document, digest: `sha256:${'0'.repeat(64)}` }));
    await request(422, 'PUT', calibration, asJson({}));
    await request(404, 'GET', '/api/v1/cameras/nowhere/calibration');
    await request(200, 'DELETE', `${labels}?observation_id=${String(measured?.id)}`);
    await request(404, 'DELETE', `${labels}?observation_id=${String(measured?.id)}`);
    await request(400, 'DELETE', labels);
  });

  it('reloads its model, and refuses install, abort and rollback when there is no other model', async () => {
    const before = (await request(200, 'GET', '/api/v1/models/info')).json();
    const { model } = (await request(200, 'POST', '/api/v1/models/reload')).json();
    expect(model).toEqual(before['active']);
    await request(409, 'POST', '/api/v1/models/install', asJson({ name: 'gauge', version: '9.9.9' }));
    await request(400, 'POST', '/api/v1/models/install', asJson({ name: '../gauge', version: '9.9.9' }));
    await request(409, 'POST', '/api/v1/models/abort');
    await request(409, 'POST', '/api/v1/models/rollback');
  });

  it('tests a camera without saving it, shows its frame or the remedy, and no text of another service', async () => {
    const test = async (camera: object) =>
      (await request(200, 'POST', '/api/v1/cameras/test', asJson({ camera }))).json();
    const secret = await httpServer((_request, response) => response.end('the key is swordfish'));
    onTestFinished(() => secret.stop());
    const good = await test({ id: 'pier', kind: 'http', url: `${sea.url}/pier.jpg` });
    expect(good).toMatchObject({ ok: true, problem: null });
    expect(good['image']).toMatch(/^data:image\/jpeg;base64,\/9j/);
    expect(Number(good['width_px'])).toBeGreaterThan(100);
    expect(await test({ id: 'sea' })).toMatchObject({ ok: true });
    const login = { username: 'viewer', password: 'hunter22' };
    const bad = await test({ id: 'pier', kind: 'http', url: `${secret.url}/token=abcdef`, ...login });
    expect(bad).toMatchObject({ ok: false, image: null, problem: { code: 'camera_codec' } });
    expect(JSON.stringify(bad)).not.toMatch(/swordfish|abcdef|hunter22/);
    const closed = await test({ id: 'pier', kind: 'rtsp', url: 'rtsp://127.0.0.1:9/1', ...login });
    expect(closed).toMatchObject({ ok: false, problem: { code: 'camera_unreachable' } });
    for (const local of [
      { id: 'x', kind: 'command', command: ['id'] },
      { id: 'x', kind: 'directory', path: '/' },
      { id: 'sea', headers_file: '/etc/passwd' },
    ])
      await request(403, 'POST', '/api/v1/cameras/test', asJson({ camera: local }));
    await request(422, 'POST', '/api/v1/cameras/test', asJson({ camera: { id: 'x', kind: 'http' } }));
    await request(400, 'POST', '/api/v1/cameras/test', asJson({ camera: 'sea' }));
    const { cameras } = (await request(200, 'GET', '/api/v1/cameras')).json();
    expect((cameras as { id: string }[]).map(({ id }) => id)).toEqual(['sea', 'blind']);
    expect(await (await fetch(`${agent.url}/api/v1/config`)).json()).toMatchObject({
      overlay: {},
      trial: null,
    });
  });

  it('tests one camera at a time', async () => {
    const held = Promise.withResolvers<undefined>();
    const slow = await httpServer(() => held.resolve(undefined));
    onTestFinished(() => slow.stop());
    const ask = { id: 'pier', kind: 'http', url: `${slow.url}/1.jpg`, timeoutS: 2 };
    const first = request(200, 'POST', '/api/v1/cameras/test', asJson({ camera: ask }));
    await held.promise;
    await request(503, 'POST', '/api/v1/cameras/test', asJson({ camera: ask }));
    expect((await first).json()).toMatchObject({ ok: false, problem: { code: 'camera_timeout' } });
    await request(200, 'POST', '/api/v1/cameras/test', asJson({ camera: { id: 'sea' } }));
  });

  it('examines itself, and names the remedy of each fault', async () => {
    const report = (await request(200, 'GET', '/api/v1/doctor')).json();
    const checks = report['checks'] as { check: string; state: string; mend: string | null }[];
    expect(checks).toContainEqual(expect.objectContaining({ check: 'camera sea', state: 'ok', mend: null }));
    const blind = checks.find(({ check }) => check === 'camera blind');
    expect(blind).toMatchObject({ state: 'fail', mend: expect.stringMatching(/\w/) as string });
    expect(report['ok']).toBe(false);
    for (const { state, mend } of checks) expect(mend === null).toBe(state === 'ok');
  });

  it('changes settings on trial, and keeps or undoes them', async () => {
    const path = '/api/v1/config';
    const patch = async (level: string) =>
      (await request(200, 'PATCH', path, asJson({ patch: { logLevel: level } }))).json();
    const level = async () =>
      ((await request(200, 'GET', path)).json()['settings'] as { logLevel: string }).logLevel;
    const first = await patch('warn');
    expect(first).toMatchObject({ changed: ['logLevel'], live: ['logLevel'], confirm_within_s: 120 });
    await expect.poll(level).toBe('warn');
    await request(409, 'PATCH', path, asJson({ patch: { logLevel: 'debug' } }));
    await request(409, 'POST', `${path}/confirm`, asJson({ trial: 'another' }));
    await request(409, 'DELETE', `${path}/trial?trial=another`);
    const withdrawn = await request(200, 'DELETE', `${path}/trial?trial=${String(first['trial'])}`);
    expect(withdrawn.json()).toMatchObject({ changed: ['logLevel'] });
    await expect.poll(level).toBe('info');
    await request(409, 'DELETE', `${path}/trial`);
    const second = await patch('error');
    await request(200, 'POST', `${path}/confirm`, asJson({ trial: second['trial'] }));
    expect((await request(200, 'GET', path)).json()).toMatchObject({
      overlay: { logLevel: 'error' },
      trial: null,
      local_cameras: ['sea', 'blind'],
    });
    await request(200, 'DELETE', `${path}/remote`);
    await expect.poll(level).toBe('info');
    await request(403, 'PATCH', path, asJson({ patch: { http: { token: 'mine' } } }));
    await request(422, 'PATCH', path, asJson({ patch: { logLevel: 'loud' } }));
    await request(400, 'PATCH', path, asJson({ patch: [] }));
  });

  it('shows the version of the agent, and refuses updates without an updater', async () => {
    const versions = (await request(200, 'GET', '/api/v1/agent')).json();
    expect(versions).toMatchObject({ available: false, installed: [], update: null });
    await request(400, 'DELETE', '/api/v1/config/remote');
    await request(501, 'POST', '/api/v1/agent/install', asJson({ version: '9.9.9' }));
    await request(400, 'POST', '/api/v1/agent/install', asJson({ version: 'newest' }));
    await request(501, 'POST', '/api/v1/agent/rollback');
  });

  it('refuses invalid requests', async () => {
    await request(404, 'GET', '/nothing');
    await request(405, 'DELETE', '/live');
    await request(405, 'HEAD', '/api/v1/events');
    await request(400, 'GET', '/api/v1/observations?limit=0');
    // Remote commands have set nothing.
    await request(400, 'DELETE', '/api/v1/config/remote');
    await request(400, 'GET', '/api/v1/observations?cursor=nonsense');
    await request(400, 'GET', '/api/v1/observations.csv?to=2026-01-01T00:00:00Z&from=2026-01-02T00:00:00Z');
    await request(403, 'POST', '/api/v1/cameras/sea/capture', {
      headers: { origin: 'https://evil.example' },
    });
    const rebound = await sendRequest({
      port,
      method: 'GET',
      path: '/live',
      headers: { host: 'evil.example' },
    });
    expect(rebound.status).toBe(403);
  });

  it('streams events, and sends a client that reconnects the events it missed', async () => {
    const first = await follow(null, ({ event }) => event === 'observation');
    expect(first.map(({ event }) => event)).toEqual(
      expect.arrayContaining(['health', 'camera', 'model', 'observation']),
    );
    const last = first.at(-1);
    const missed = [...(await records('?camera=sea&limit=1')).map(({ id }) => id)];
    await agent.observation(undefined, 60_000, agent.lines.length);
    await agent.observation(undefined, 60_000, agent.lines.length);
    let observationCount = 0;
    const after = await follow(
      last?.id ?? '',
      ({ event }) => event === 'observation' && (observationCount += 1) >= 3,
    );
    const seqs = [...first, ...after].flatMap(({ event, data }) =>
      event === 'observation' && data['camera'] === 'sea' ? [Number(data['seq'])] : [],
    );
    // Each number comes once, and none is missing.
    expect(seqs).toEqual(seqs.map((_seq, index) => (seqs[0] ?? 0) + index));
    expect(missed.length).toBe(1);
    const lost = await follow(`${UNKNOWN}.1`, ({ event }) => event === 'gap');
    expect(lost.at(-1)?.data).toEqual({ reason: 'unknown_id' });
  });

  it('has used every operation of the document in these tests', () => {
    const used = new Set([...documented.seen].map((one) => one.split(' ', 1)[0]));
    const all = Object.values(documented.document.paths).flatMap((path) =>
      Object.values(path).map(({ operationId }) => operationId),
    );
    expect(all.filter((id) => !used.has(id))).toEqual([]);
  });
});

interface ReceivedEvent {
  readonly event: string;
  readonly id: string;
  readonly data: Record<string, unknown>;
}

/** Reads server-sent events until one matches. */
async function follow(
  lastId: string | null,
  isLast: (event: ReceivedEvent) => boolean,
): Promise<ReceivedEvent[]> {
  const end = new AbortController();
  const response = await fetch(`${agent.url}/api/v1/events`, {
    headers: lastId === null ? {} : { 'last-event-id': lastId },
    signal: AbortSignal.any([end.signal, AbortSignal.timeout(60_000)]),
  });
  const contentType = response.headers.get('content-type');
  expect(
    documented.fault('GET', '/api/v1/events', { status: response.status, contentType, body: '' }),
  ).toBeNull();
  const received: ReceivedEvent[] = [];
  const text = response.body?.pipeThrough(new TextDecoderStream());
  let rest = '';
  for await (const chunk of text ?? []) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const field = (name: string) =>
        block
          .split('\n')
          .find((line) => line.startsWith(`${name}: `))
          ?.slice(name.length + 2);
      const data = field('data');
      if (data === undefined) continue;
      received.push({
        event: field('event') ?? '',
        id: field('id') ?? '',
        data: JSON.parse(data) as Record<string, unknown>,
      });
      const newest = received.at(-1);
      if (newest && isLast(newest)) {
        end.abort();
        return received;
      }
    }
  }
  throw new Error('the stream ended');
}
