import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { PartFile } from '../../../src/model/fetch/part-file.ts';
import { HttpDownload, type DownloadOptions } from '../../../src/model/fetch/http-download.ts';
import { HttpRepository } from '../../../src/model/fetch/http-repository.ts';
import type { TransferLimits } from '../../../src/model/fetch/job.ts';
import { QUICK_TRANSFER } from '../../fixtures/fetching.ts';
import { makeCertificates } from '../../fixtures/mosquitto.ts';
import { tempDir } from '../../fixtures/store.ts';
import { WebServer } from '../../fixtures/web-server.ts';

const PATH = 'targets/models/gauge/1.0.0.tar';
const never = (): AbortSignal => new AbortController().signal;
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('HttpDownload', () => {
  let dir: { path: string; remove: () => void };
  let server: WebServer;
  let bytes: Buffer;
  let waits: string[];
  let updateId: string;

  beforeEach(async () => {
    dir = tempDir();
    bytes = randomBytes(600_000);
    writeServed(bytes);
    server = await WebServer.start(join(dir.path, 'www'));
    waits = [];
    updateId = randomUUID();
  });

  afterEach(async () => {
    await server.stop();
    dir.remove();
  });

  const writeServed = (content: Buffer): void => {
    const file = join(dir.path, 'www', PATH);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, content);
  };
  const repository = (
    limits: Partial<TransferLimits> = {},
    baseUrl = server.url,
    maxBytesPerS = 0,
  ): HttpRepository =>
    new HttpRepository(
      { baseUrl, clockSynced: true, limits: { ...QUICK_TRANSFER, ...limits }, maxBytesPerS },
      { clock: systemClock, onWait: (reason) => waits.push(reason) },
    );
  const openPart = (signed: boolean): Promise<PartFile> =>
    PartFile.open(
      { dir: join(dir.path, 'parts'), updateId, reserveBytes: 0 },
      {
        of: `http:${PATH}`,
        sha256: signed ? sha256(bytes) : null,
        sizeBytes: signed ? bytes.length : null,
      },
    );

  /** Downloads once. Returns the bytes of the part and the error code. */
  async function download(
    overrides: Partial<DownloadOptions> & {
      signed?: boolean;
      limits?: Partial<TransferLimits>;
      baseUrl?: string;
      maxBytesPerS?: number;
    } = {},
    signal = never(),
  ): Promise<{ held: Buffer; code: string | null }> {
    const { signed = true, limits = {}, baseUrl, maxBytesPerS, ...options } = overrides;
    const part = await openPart(signed);
    try {
      await new HttpDownload(repository(limits, baseUrl, maxBytesPerS), part, {
        path: PATH,
        expected: signed ? { sizeBytes: bytes.length, sha256: sha256(bytes) } : null,
        maxBytes: 10_000_000,
        onSize: () => Promise.resolve(),
        onProgress: () => undefined,
        ...options,
      }).run(signal);
      return { held: readFileSync(part.path), code: null };
    } catch (thrown) {
      const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : String(thrown);
      return { held: readFileSync(part.path), code };
    } finally {
      await part.close();
    }
  }

  it.each([true, false])('downloads a file once (signed: %s)', async (signed) => {
    const first = await download({ signed });
    expect(first.code).toBeNull();
    expect(first.held.equals(bytes)).toBe(true);
    await download({ signed });
    expect(server.asked).toEqual([{ path: `/${PATH}`, range: null, ifRange: null, authorization: null }]);
  });

  it.each([true, false])('continues after broken connections (signed: %s)', async (signed) => {
    let cuts = 0;
    server.behave = (request, response) => server.serve(request, response, cuts++ < 3 ? 150_000 : Infinity);
    const { held, code } = await download({ signed });
    expect(code).toBeNull();
    expect(held.equals(bytes)).toBe(true);
    expect(server.asked).toHaveLength(4);
    expect(server.asked[3]?.range).toMatch(/^bytes=\d+-$/);
    expect(server.asked[3]?.ifRange).toMatch(/^"/);
    // Only bytes in transit when the connection broke were sent twice.
    expect(server.sentBytes).toBeLessThan(bytes.length + 3 * 150_000);
    expect(waits).toHaveLength(3);
  });

  it('continues a part that an earlier process left', async () => {
    const part = await openPart(true);
    await part.append(bytes.subarray(0, 400_000));
    await part.close();
    const { held } = await download();
    expect(held.equals(bytes)).toBe(true);
    expect(server.asked[0]?.range).toBe('bytes=400000-');
    expect(server.sentBytes).toBe(200_000);
  });

  it('starts again when the file changed between two attempts', async () => {
    server.behave = (request, response) => server.serve(request, response, 200_000);
    const interrupted = await download({ signed: false, limits: { patienceMs: 0 } });
    expect(interrupted.code).toBe('model_transfer_failed');
    expect(interrupted.held.length).toBeGreaterThan(0);
    bytes = randomBytes(600_000);
    writeServed(bytes);
    server.behave = (_request, _response, next) => next();
    const { held } = await download({ signed: false });
    expect(held.equals(bytes)).toBe(true);
  });

  it('downloads again when a power cut left wrong bytes in the part', async () => {
    const part = await openPart(true);
    await part.append(Buffer.alloc(300_000));
    await part.close();
    const { held, code } = await download();
    expect(code).toBeNull();
    expect(held.equals(bytes)).toBe(true);
    expect(waits).toEqual(['the bytes have another digest than the signed one']);
  });

  it('gives up on a server that always sends wrong bytes, and keeps none of them', async () => {
    writeServed(randomBytes(bytes.length));
    const { held, code } = await download();
    expect(code).toBe('model_transfer_changed');
    expect(held.length).toBe(0);
    expect(server.asked).toHaveLength(3);
  });

  it('accepts a 200 response to a range request as the whole file', async () => {
    const part = await openPart(true);
    await part.append(randomBytes(400_000));
    await part.close();
    server.behave = (_request, response) =>
      response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
    expect((await download()).held.equals(bytes)).toBe(true);
  });

  it.each([
    ['another start', 'bytes 0-599999/600000'],
    ['another total size', 'bytes 400000-599999/700000'],
    ['an invalid header', 'bytes x'],
  ])('does not continue with a 206 response with %s', async (_name, contentRange) => {
    const part = await openPart(true);
    await part.append(bytes.subarray(0, 400_000));
    await part.close();
    server.behave = (request, response, next) => {
      if (request.headers.range === undefined) next();
      else response.writeHead(206, { 'content-range': contentRange }).end(bytes.subarray(400_000));
    };
    const { held, code } = await download();
    expect(code).toBeNull();
    expect(held.equals(bytes)).toBe(true);
    expect(waits).toEqual(['the repository sent another range than the requested one']);
  });

  it('starts again after a 416 response', async () => {
    const part = await openPart(true);
    await part.append(bytes.subarray(0, 400_000));
    await part.close();
    server.behave = (request, response, next) => {
      if (request.headers.range === undefined) next();
      else response.writeHead(416).end();
    };
    expect((await download()).held.equals(bytes)).toBe(true);
  });

  it('rejects a 206 response without a range request', async () => {
    server.behave = (_request, response) =>
      response.writeHead(206, { 'content-range': 'bytes 0-599999/600000' }).end(bytes);
    expect((await download()).code).toBe('model_transfer_changed');
  });

  it('stops at the signed size when the server sends more', async () => {
    server.behave = (_request, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write(Buffer.alloc(64 * 1024)), 1);
      response.on('close', () => clearInterval(timer));
    };
    const { held, code } = await download();
    expect(code).toBe('model_transfer_changed');
    expect(held.length).toBe(0);
  });

  it.each([
    ['with a content-length', { 'content-length': 11_000_000_000 }],
    ['without a content-length', {}],
  ])('refuses an unsigned file that is too large, %s', async (_name, headers) => {
    let sentBytes = 0;
    server.behave = (_request, response) => {
      response.writeHead(200, headers);
      const timer = setInterval(() => {
        sentBytes += 256 * 1024;
        response.write(Buffer.alloc(256 * 1024));
      }, 1);
      response.on('close', () => clearInterval(timer));
    };
    const { held, code } = await download({ signed: false, maxBytes: 1_000_000 });
    expect(code).toBe('model_too_large');
    expect(held.length).toBe(0);
    expect(sentBytes).toBeLessThan(50_000_000);
  });

  it('checks the disk space before writing a byte', async () => {
    const onSize = (): Promise<void> => Promise.reject(new Error('no space'));
    const { held, code } = await download({ signed: false, onSize });
    expect(code).toContain('no space');
    expect(held.length).toBe(0);
  });

  it('retries while a captive portal answers', async () => {
    let asked = 0;
    server.behave = (_request, response, next) => {
      if (asked++ > 0) next();
      else response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Please pay</h1>');
    };
    const { held, code } = await download();
    expect(code).toBeNull();
    expect(held.equals(bytes)).toBe(true);
  });

  it.each([429, 500, 502, 503, 504])(
    'retries after a %s response, and waits for the retry-after time',
    async (status) => {
      let asked = 0;
      const startedMs = performance.now();
      server.behave = (_request, response, next) => {
        if (asked++ > 0) next();
        else response.writeHead(status, { 'retry-after': '0.3' }).end();
      };
      expect((await download()).code).toBeNull();
      expect(performance.now() - startedMs).toBeGreaterThan(250);
    },
  );

  it.each([
    [401, 'model_transfer_failed'],
    [404, 'model_trust_target'],
    [403, 'model_trust_target'],
    [410, 'model_trust_target'],
    [400, 'model_transfer_failed'],
    [501, 'model_transfer_failed'],
  ])('does not retry after a %s response', async (status, code) => {
    server.behave = (_request, response) => response.writeHead(status).end();
    expect((await download()).code).toBe(code);
    expect(server.asked).toHaveLength(1);
  });

  it('refuses a compressed response', async () => {
    server.behave = (_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('x');
    expect((await download()).code).toBe('model_transfer_failed');
  });

  it.each<[string, WebServer['behave']]>([
    ['accepts and sends nothing', () => undefined],
    [
      'sends half of the body and stops',
      (_request, response) =>
        void response.writeHead(200, { 'content-length': 600_000 }).write(Buffer.alloc(9)),
    ],
    [
      'sends a byte at a time',
      (_request, response) => {
        response.writeHead(200, { 'content-length': 600_000 });
        const timer = setInterval(() => response.write('x'), 100);
        response.on('close', () => clearInterval(timer));
      },
    ],
    [
      'sends its header line by line',
      (request) => {
        request.socket.write('HTTP/1.1 200 OK\r\n');
        const timer = setInterval(() => request.socket.write('x-y: z\r\n'), 100);
        request.socket.on('close', () => clearInterval(timer));
      },
    ],
    ['closes the connection', (request) => void request.socket.destroy()],
    ['speaks another protocol', (request) => void request.socket.end('SSH-2.0-OpenSSH_9.2\r\n')],
  ])('gives up on a server that %s', async (_name, behave) => {
    server.behave = behave;
    const startedMs = performance.now();
    const { code } = await download({
      limits: { headerMs: 300, idleMs: 250, windowMs: 300, patienceMs: 1200 },
    });
    expect(code).toBe('model_transfer_failed');
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    expect(waits.length).toBeGreaterThan(0);
  });

  it('stops at once when the signal aborts', async () => {
    server.behave = () => undefined;
    const stop = new AbortController();
    const running = download({}, stop.signal);
    await delay(200);
    stop.abort(new Error('stopped'));
    expect((await running).code).toContain('stopped');
  });

  it('follows redirects within the server, up to a limit', async () => {
    server.behave = (request, response, next) => {
      if (request.url === `/elsewhere/${PATH}`) {
        request.url = `/${PATH}`;
        next();
      } else response.writeHead(302, { location: `/elsewhere/${PATH}` }).end();
    };
    expect((await download()).held.equals(bytes)).toBe(true);
    server.behave = (_request, response) => response.writeHead(302, { location: `/${PATH}` }).end();
    updateId = randomUUID();
    expect((await download()).code).toBe('model_transfer_failed');
  });

  it.each(['http://127.0.0.1:9/', 'ftp://127.0.0.1/x', 'file:///etc/passwd', 'http://[', undefined])(
    'does not follow a redirect to %s',
    async (location) => {
      server.behave = (_request, response) =>
        response.writeHead(302, location === undefined ? {} : { location }).end();
      expect((await download()).code).toBe('model_transfer_failed');
      expect(server.asked).toHaveLength(1);
    },
  );

  it.each([
    ['user:p%40ss', 'user:p@ss'],
    ['user:100%', 'user:100%'],
    ['50%off:p%3Ass', '50%off:p:ss'],
    ['user:%zz%', 'user:%zz%'],
    ['token', 'token:'],
  ])('sends the login %s of the URL to its own server', async (login, pair) => {
    const baseUrl = server.url.replace('//', `//${login}@`);
    expect((await download({ baseUrl })).code).toBeNull();
    expect(server.asked[0]?.authorization).toBe(`Basic ${Buffer.from(pair).toString('base64')}`);
  });

  it('refuses a TLS server with an untrusted certificate', async () => {
    const tls = tempDir();
    makeCertificates(tls.path);
    const read = (name: string): Buffer => readFileSync(join(tls.path, name));
    const tlsServer = createTlsServer(
      { key: read('server.key'), cert: read('server.crt') },
      (_request, response) => response.end(),
    ).listen(0, '127.0.0.1');
    await once(tlsServer, 'listening');
    try {
      const { port } = tlsServer.address() as { port: number };
      expect((await download({ baseUrl: `https://127.0.0.1:${port}/` })).code).toBe('model_transfer_failed');
      expect(waits).toEqual([]);
    } finally {
      tlsServer.close();
      tls.remove();
    }
  });

  it('limits the bandwidth', async () => {
    const startedMs = performance.now();
    expect((await download({ maxBytesPerS: 300_000 })).code).toBeNull();
    expect(performance.now() - startedMs).toBeGreaterThan(1600);
  });

  it('fetches a small file, at most the requested bytes, and null for a missing one', async () => {
    writeServed(Buffer.from('{"a":1}'));
    const source = repository();
    expect(Buffer.from((await source.fetch(PATH, 100, never())) ?? []).toString()).toBe('{"a":1}');
    expect((await source.fetch(PATH, 3, never()))?.length).toBe(4);
    expect(await source.fetch('metadata/2.root.json', 100, never())).toBeNull();
    for (const path of [
      '../x',
      'a/../b',
      '/etc/passwd',
      'a//b',
      '.git/x',
      'a b',
      'a?b',
      'a%2fb',
      'http://x/y',
    ]) {
      await expect(source.fetch(path, 100, never())).rejects.toMatchObject({ code: 'model_trust_mismatch' });
    }
  });
});
