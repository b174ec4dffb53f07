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
  server = await serveRepository({ dir, host: '127.0.0.1', port: 0 }, (one) => served.push(one));
});
afterAll(async () => {
  await server.close();
  await rm(home, { recursive: true, force: true });
});

/** Paths go out as they are written; `fetch` would tidy them. */
function ask(path: string, headers: Record<string, string> = {}, method = 'GET') {
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

describe('serve', () => {
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
  ])('range %s', async (range, status, body, contentRange) => {
    const answer = await ask(PATH, { range });
    expect([answer.status, answer.body, answer.headers['content-range']]).toEqual([
      status,
      body,
      contentRange,
    ]);
  });

  it('a range of a file that changed meanwhile is the whole file', async () => {
    const { headers } = await ask(PATH);
    const etag = String(headers['etag']);
    expect((await ask(PATH, { range: 'bytes=0-1', 'if-range': etag })).status).toBe(206);
    expect((await ask(PATH, { range: 'bytes=0-1', 'if-range': '"other"' })).status).toBe(200);
  });

  it('HEAD has the headers and no body; other methods are refused', async () => {
    const head = await ask(PATH, {}, 'HEAD');
    expect([head.status, head.headers['content-length'], head.body]).toEqual([200, '10', '']);
    expect((await ask(PATH, {}, 'PUT')).status).toBe(405);
    expect((await ask('/metadata/empty.json')).status).toBe(200);
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
  ])('%s is not shown', async (path) => {
    const answer = await ask(path);
    expect([answer.status, answer.body]).toEqual([404, '']);
  });

  it('a port that is taken is told by its code', async () => {
    const port = Number(new URL(server.url).port);
    const again = serveRepository({ dir: join(home, 'repo'), host: '127.0.0.1', port }, () => undefined);
    await expect(again).rejects.toMatchObject({ code: 'http_listen' });
    const nowhere = serveRepository({ dir: join(home, 'no'), host: '127.0.0.1', port: 0 }, () => undefined);
    await expect(nowhere).rejects.toMatchObject({ code: 'repo_missing' });
  });

  it('tells each request', () => {
    expect(served).toContainEqual({ method: 'GET', path: PATH, status: 206 });
  });
});
