import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serveRepository, type ServedRequest } from '../../../src/model/repository/serve.ts';

const TEXT = '0123456789';
let home = '';
let server: Awaited<ReturnType<typeof serveRepository>>;
const served: ServedRequest[] = [];

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'swellsight-serve-'));
  const dir = join(home, 'repo');
  await mkdir(join(dir, 'metadata'), { recursive: true });
  await mkdir(join(dir, 'targets', 'models'), { recursive: true });
  await writeFile(join(dir, 'metadata', 'timestamp.json'), TEXT);
  await writeFile(join(dir, 'metadata', 'empty.json'), '');
  await writeFile(join(dir, 'metadata', '.hidden'), TEXT);
  await writeFile(join(dir, '.lock'), TEXT);
  await writeFile(join(home, 'secret'), TEXT);
  await symlink(join(home, 'secret'), join(dir, 'metadata', 'link.json'));
  server = await serveRepository({ dir, host: '127.0.0.1', port: 0 }, (entry) => served.push(entry));
});
afterAll(async () => {
  await server.close();
  await rm(home, { recursive: true, force: true });
});

/** Sends the path unchanged; `fetch` would normalize it. */
function send(path: string, headers: Record<string, string> = {}, method = 'GET') {
  const { hostname, port } = new URL(server.url);
  return new Promise<{ status: number; headers: Record<string, unknown>; body: string }>(
    (resolve, reject) => {
      const sent = request({ hostname, port, path, method, headers }, (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        );
      });
      sent.on('error', reject);
      sent.end();
    },
  );
}

const PATH = '/metadata/timestamp.json';

describe('serveRepository', () => {
  it.each([
    ['bytes=0-3', 206, '0123', 'bytes 0-3/10'],
    ['bytes=4-', 206, '456789', 'bytes 4-9/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=-100', 206, TEXT, 'bytes 0-9/10'],
    ['bytes=8-100', 206, '89', 'bytes 8-9/10'],
    ['bytes=10-', 416, '', 'bytes */10'],
    ['bytes=5-2', 200, TEXT, undefined],
    ['bytes=0-1,3-4', 200, TEXT, undefined],
    ['lines=1-2', 200, TEXT, undefined],
    ['bytes=-', 200, TEXT, undefined],
  ])('answers range %s with %i', async (range, status, body, contentRange) => {
    const reply = await send(PATH, { range });
    expect([reply.status, reply.body, reply.headers['content-range']]).toEqual([status, body, contentRange]);
  });

  it('sends the whole file when the file has changed since the if-range tag', async () => {
    const { headers } = await send(PATH);
    const etag = String(headers['etag']);
    expect((await send(PATH, { range: 'bytes=0-1', 'if-range': etag })).status).toBe(206);
    expect((await send(PATH, { range: 'bytes=0-1', 'if-range': '"other"' })).status).toBe(200);
  });

  it('answers HEAD without a body and refuses other methods', async () => {
    const head = await send(PATH, {}, 'HEAD');
    expect([head.status, head.headers['content-length'], head.body]).toEqual([200, '10', '']);
    expect((await send(PATH, {}, 'PUT')).status).toBe(405);
    expect((await send('/metadata/empty.json')).status).toBe(200);
  });

  it.each([
    '/',
    '/.lock',
    '/metadata',
    '/metadata/',
    '/metadata/.hidden',
    '/metadata/link.json',
    '/metadata/../.lock',
    '/metadata/../../secret',
    '/metadata/%2e%2e/%2e%2e/secret',
    '//metadata/timestamp.json',
    '/targets/models',
    '/metadata/no.json',
    '/metadata/a%00b',
  ])('does not serve %s', async (path) => {
    const reply = await send(path);
    expect([reply.status, reply.body]).toEqual([404, '']);
  });

  it('throws an error code for a port in use and for a missing directory', async () => {
    const port = Number(new URL(server.url).port);
    const portInUse = serveRepository({ dir: join(home, 'repo'), host: '127.0.0.1', port }, () => undefined);
    await expect(portInUse).rejects.toMatchObject({ code: 'http_listen' });
    const missingDir = serveRepository(
      { dir: join(home, 'no'), host: '127.0.0.1', port: 0 },
      () => undefined,
    );
    await expect(missingDir).rejects.toMatchObject({ code: 'repo_missing' });
  });

  it('reports each request', () => {
    expect(served).toContainEqual({ method: 'GET', path: PATH, status: 206 });
  });
});
