import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { PartFile } from '../../../src/model/fetch/part-file.ts';
import { Download, type DownloadOptions } from '../../../src/model/fetch/transfer-download.ts';
import { HttpRepository } from '../../../src/model/fetch/transfer-http.ts';
import type { TransferTuning } from '../../../src/model/fetch/transfer-tuning.ts';
import { QUICK_TRANSFER } from '../../fixtures/fetching.ts';
import { makeCertificates } from '../../fixtures/mosquitto.ts';
import { tempDir } from '../../fixtures/store.ts';
import { WebServer } from '../../fixtures/web-server.ts';

const PATH = 'targets/models/gauge/1.0.0.tar';
const never = (): AbortSignal => new AbortController().signal;
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('a file from a web server', () => {
  let dir: { path: string; remove: () => void };
  let server: WebServer;
  let bytes: Buffer;
  let waits: string[];
  let updateId: string;

  beforeEach(async () => {
    dir = tempDir();
    bytes = randomBytes(600_000);
    put(bytes);
    server = await WebServer.start(join(dir.path, 'www'));
    waits = [];
    updateId = randomUUID();
  });

  afterEach(async () => {
    await server.stop();
    dir.remove();
  });

  const put = (content: Buffer): void => {
    const file = join(dir.path, 'www', PATH);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, content);
  };
  const repository = (
    tuning: Partial<TransferTuning> = {},
    baseUrl = server.url,
    maxBytesPerS = 0,
  ): HttpRepository =>
    new HttpRepository(
      { baseUrl, clockSynced: true, tuning: { ...QUICK_TRANSFER, ...tuning }, maxBytesPerS },
      { clock: systemClock, onWait: (reason) => waits.push(reason) },
    );
  const partOf = (signed: boolean): Promise<PartFile> =>
    PartFile.open(
      { dir: join(dir.path, 'parts'), updateId, reserveBytes: 0 },
      {
        of: `http:${PATH}`,
        sha256: signed ? sha256(bytes) : null,
        sizeBytes: signed ? bytes.length : null,
      },
    );

  /** Fetches once; what the part holds then, and what was thrown. */
  async function fetched(
    over: Partial<DownloadOptions> & {
      signed?: boolean;
      tuning?: Partial<TransferTuning>;
      baseUrl?: string;
      maxBytesPerS?: number;
    } = {},
    signal = never(),
  ): Promise<{ held: Buffer; code: string | null }> {
    const { signed = true, tuning = {}, baseUrl, maxBytesPerS, ...options } = over;
    const part = await partOf(signed);
    try {
      await new Download(repository(tuning, baseUrl, maxBytesPerS), part, {
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

  it.each([true, false])('comes whole, and is not asked for again (signed: %s)', async (signed) => {
    const first = await fetched({ signed });
    expect(first.code).toBeNull();
    expect(first.held.equals(bytes)).toBe(true);
    await fetched({ signed });
    expect(server.asked).toEqual([{ path: `/${PATH}`, range: null, ifRange: null, authorization: null }]);
  });

  it.each([true, false])('goes on where connections broke (signed: %s)', async (signed) => {
    let cuts = 0;
    server.behave = (request, response) => server.serve(request, response, cuts++ < 3 ? 150_000 : Infinity);
    const { held, code } = await fetched({ signed });
    expect(code).toBeNull();
    expect(held.equals(bytes)).toBe(true);
    expect(server.asked).toHaveLength(4);
    expect(server.asked[3]?.range).toMatch(/^bytes=\d+-$/);
    expect(server.asked[3]?.ifRange).toMatch(/^"/);
    // Nothing but what was on its way when it broke.
    expect(server.sentBytes).toBeLessThan(bytes.length + 3 * 150_000);
    expect(waits).toHaveLength(3);
  });

  it('goes on after the agent ended in the middle, over what the part holds', async () => {
    const part = await partOf(true);
    await part.append(bytes.subarray(0, 400_000));
    await part.close();
    const { held } = await fetched();
    expect(held.equals(bytes)).toBe(true);
    expect(server.asked[0]?.range).toBe('bytes=400000-');
    expect(server.sentBytes).toBe(200_000);
  });

  it('begins anew when the bytes changed between two tries', async () => {
    server.behave = (request, response) => server.serve(request, response, 200_000);
    const stopped = await fetched({ signed: false, tuning: { patienceMs: 0 } });
    expect(stopped.code).toBe('model_transfer_failed');
    expect(stopped.held.length).toBeGreaterThan(0);
    bytes = randomBytes(600_000);
    put(bytes);
    server.behave = (_request, _response, next) => next();
    const { held } = await fetched({ signed: false });
    expect(held.equals(bytes)).toBe(true);
  });

  it('fetches once more what a power cut left wrong in the part', async () => {
    const part = await partOf(true);
    await part.append(Buffer.alloc(300_000));
    await part.close();
    const { held, code } = await fetched();
    expect(code).toBeNull();
    expect(held.equals(bytes)).toBe(true);
    expect(waits).toEqual(['the bytes are not those that were signed for']);
  });

  it('gives up a server whose bytes never are the right ones, and keeps none of them', async () => {
    put(randomBytes(bytes.length));
    const { held, code } = await fetched();
    expect(code).toBe('model_transfer_changed');
    expect(held.length).toBe(0);
    expect(server.asked).toHaveLength(3);
  });

  it('takes a 200 for a range as the whole, from its beginning', async () => {
    const part = await partOf(true);
    await part.append(randomBytes(400_000));
    await part.close();
    server.behave = (_request, response) =>
      response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
    expect((await fetched()).held.equals(bytes)).toBe(true);
  });

  it.each([
    ['another beginning', 'bytes 0-599999/600000'],
    ['another whole', 'bytes 400000-599999/700000'],
    ['nonsense', 'bytes x'],
  ])('does not go on with a 206 of %s', async (_name, contentRange) => {
    const part = await partOf(true);
    await part.append(bytes.subarray(0, 400_000));
    await part.close();
    server.behave = (request, response, next) => {
      if (request.headers.range === undefined) next();
      else response.writeHead(206, { 'content-range': contentRange }).end(bytes.subarray(400_000));
    };
    const { held, code } = await fetched();
    expect(code).toBeNull();
    expect(held.equals(bytes)).toBe(true);
    expect(waits).toEqual(['the repository sent another range than it was asked for']);
  });

  it('begins anew after a 416', async () => {
    const part = await partOf(true);
    await part.append(bytes.subarray(0, 400_000));
    await part.close();
    server.behave = (request, response, next) => {
      if (request.headers.range === undefined) next();
      else response.writeHead(416).end();
    };
    expect((await fetched()).held.equals(bytes)).toBe(true);
  });

  it('does not believe a 206 that it did not ask for', async () => {
    server.behave = (_request, response) =>
      response.writeHead(206, { 'content-range': 'bytes 0-599999/600000' }).end(bytes);
    expect((await fetched()).code).toBe('model_transfer_changed');
  });

  it('ends at the promised size, whatever more comes', async () => {
    server.behave = (_request, response) => {
      response.writeHead(200);
      const more = setInterval(() => response.write(Buffer.alloc(64 * 1024)), 1);
      response.on('close', () => clearInterval(more));
    };
    const { held, code } = await fetched();
    expect(code).toBe('model_transfer_changed');
    expect(held.length).toBe(0);
  });

  it.each([
    ['announced', { 'content-length': 11_000_000_000 }],
    ['not announced', {}],
  ])('refuses what is too large, %s, without a signature to bound it', async (_name, headers) => {
    let sentBytes = 0;
    server.behave = (_request, response) => {
      response.writeHead(200, headers);
      const more = setInterval(() => {
        sentBytes += 256 * 1024;
        response.write(Buffer.alloc(256 * 1024));
      }, 1);
      response.on('close', () => clearInterval(more));
    };
    const { held, code } = await fetched({ signed: false, maxBytes: 1_000_000 });
    expect(code).toBe('model_too_large');
    expect(held.length).toBe(0);
    expect(sentBytes).toBeLessThan(50_000_000);
  });

  it('asks for room before a byte is written', async () => {
    const onSize = (): Promise<void> => Promise.reject(new Error('no room'));
    const { held, code } = await fetched({ signed: false, onSize });
    expect(code).toContain('no room');
    expect(held.length).toBe(0);
  });

  it('waits for a page of a paid network to go away', async () => {
    let asked = 0;
    server.behave = (_request, response, next) => {
      if (asked++ > 0) next();
      else response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Please pay</h1>');
    };
    const { held, code } = await fetched();
    expect(code).toBeNull();
    expect(held.equals(bytes)).toBe(true);
  });

  it.each([429, 500, 502, 503, 504])('tries again after a %s, later when it is told to', async (status) => {
    let asked = 0;
    const startedMs = performance.now();
    server.behave = (_request, response, next) => {
      if (asked++ > 0) next();
      else response.writeHead(status, { 'retry-after': '0.3' }).end();
    };
    expect((await fetched()).code).toBeNull();
    expect(performance.now() - startedMs).toBeGreaterThan(250);
  });

  it.each([
    [401, 'model_transfer_failed'],
    [404, 'model_trust_target'],
    [403, 'model_trust_target'],
    [410, 'model_trust_target'],
    [400, 'model_transfer_failed'],
    [501, 'model_transfer_failed'],
  ])('does not try again after a %s', async (status, code) => {
    server.behave = (_request, response) => response.writeHead(status).end();
    expect((await fetched()).code).toBe(code);
    expect(server.asked).toHaveLength(1);
  });

  it('refuses compressed bytes', async () => {
    server.behave = (_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('x');
    expect((await fetched()).code).toBe('model_transfer_failed');
  });

  it.each<[string, WebServer['behave']]>([
    ['accepts and says nothing', () => undefined],
    [
      'sends half of the body and stops',
      (_request, response) =>
        void response.writeHead(200, { 'content-length': 600_000 }).write(Buffer.alloc(9)),
    ],
    [
      'drips a byte at a time',
      (_request, response) => {
        response.writeHead(200, { 'content-length': 600_000 });
        const drip = setInterval(() => response.write('x'), 100);
        response.on('close', () => clearInterval(drip));
      },
    ],
    [
      'drips its header',
      (request) => {
        request.socket.write('HTTP/1.1 200 OK\r\n');
        const drip = setInterval(() => request.socket.write('x-y: z\r\n'), 100);
        request.socket.on('close', () => clearInterval(drip));
      },
    ],
    ['hangs up', (request) => void request.socket.destroy()],
    ['talks nonsense', (request) => void request.socket.end('SSH-2.0-OpenSSH_9.2\r\n')],
  ])('loses patience with a server that %s', async (_name, behave) => {
    server.behave = behave;
    const startedMs = performance.now();
    const { code } = await fetched({
      tuning: { headerMs: 300, idleMs: 250, windowMs: 300, patienceMs: 1200 },
    });
    expect(code).toBe('model_transfer_failed');
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    expect(waits.length).toBeGreaterThan(0);
  });

  it('ends at once when it is told to', async () => {
    server.behave = () => undefined;
    const stop = new AbortController();
    const running = fetched({}, stop.signal);
    await delay(200);
    stop.abort(new Error('stopped'));
    expect((await running).code).toContain('stopped');
  });

  it('follows redirects within the server, bounded', async () => {
    server.behave = (request, response, next) => {
      if (request.url === `/elsewhere/${PATH}`) {
        request.url = `/${PATH}`;
        next();
      } else response.writeHead(302, { location: `/elsewhere/${PATH}` }).end();
    };
    expect((await fetched()).held.equals(bytes)).toBe(true);
    server.behave = (_request, response) => response.writeHead(302, { location: `/${PATH}` }).end();
    updateId = randomUUID();
    expect((await fetched()).code).toBe('model_transfer_failed');
  });

  it.each(['http://127.0.0.1:9/', 'ftp://127.0.0.1/x', 'file:///etc/passwd', 'http://[', undefined])(
    'does not follow a redirect to %s',
    async (location) => {
      server.behave = (_request, response) =>
        response.writeHead(302, location === undefined ? {} : { location }).end();
      expect((await fetched()).code).toBe('model_transfer_failed');
      expect(server.asked).toHaveLength(1);
    },
  );

  it('gives the password of the address to its own server alone', async () => {
    const baseUrl = server.url.replace('//', '//user:p%40ss@');
    expect((await fetched({ baseUrl })).code).toBeNull();
    const pair = Buffer.from('user:p@ss').toString('base64');
    expect(server.asked[0]?.authorization).toBe(`Basic ${pair}`);
  });

  it('speaks TLS only with who can prove to be the server', async () => {
    const tls = tempDir();
    makeCertificates(tls.path);
    const read = (name: string): Buffer => readFileSync(join(tls.path, name));
    const secret = createTlsServer(
      { key: read('server.key'), cert: read('server.crt') },
      (_request, response) => response.end(),
    ).listen(0, '127.0.0.1');
    await once(secret, 'listening');
    try {
      const { port } = secret.address() as { port: number };
      expect((await fetched({ baseUrl: `https://127.0.0.1:${port}/` })).code).toBe('model_transfer_failed');
      expect(waits).toEqual([]);
    } finally {
      secret.close();
      tls.remove();
    }
  });

  it('holds the bandwidth down to what is allowed', async () => {
    const startedMs = performance.now();
    expect((await fetched({ maxBytesPerS: 300_000 })).code).toBeNull();
    expect(performance.now() - startedMs).toBeGreaterThan(1600);
  });

  it('hands out small files, what is not there, and no more than was asked for', async () => {
    put(Buffer.from('{"a":1}'));
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
