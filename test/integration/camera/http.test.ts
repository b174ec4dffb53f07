import type { RequestListener } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpCamera } from '../../../src/camera/http/camera.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { digestServer, httpServer, tcpServer, type TestServer } from '../../fixtures/camera-server.ts';
import { captureBurst, eventually, failureCode, errorText } from '../../fixtures/capture.ts';
import { collect as collectGarbage } from '../../fixtures/collect.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';

const servers: TestServer[] = [];
const serve = async (handler: RequestListener): Promise<TestServer> => {
  const server = await httpServer(handler);
  servers.push(server);
  return server;
};
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

const USER = { username: 'admin', password: 'p:@/s"ö' };
const open = (url: string, part: { username?: string; password?: string } = {}) =>
  new HttpCamera(
    { id: 'cam', url, username: part.username ?? null, password: part.password ?? null },
    { clock: systemClock },
  );
const image = await jpegOf(1);

describe('HttpCamera with snapshots', () => {
  it('yields the bytes of one request per frame, and leaves no connection', async () => {
    const server = await serve((_, response) => response.end(image));
    const { frames, failure } = await captureBurst(open(server.url), { frames: 3, intervalS: 0.05 });
    expect(failure).toBeNull();
    expect(frames.map(({ bytes }) => Buffer.from(bytes))).toEqual([image, image, image]);
    await eventually('connections closed', () => server.connections() === 0);
  });

  it.each([
    ['MD5', undefined],
    ['SHA-256', 'SHA-256' as const],
    ['MD5-sess', 'MD5-sess' as const],
    ['SHA-256-sess', 'SHA-256-sess' as const],
  ])('authenticates with digest %s, and keeps the challenge', async (_, algorithm) => {
    const digest = digestServer({ ...USER, ...(algorithm ? { algorithm } : {}) });
    const server = await serve(
      (request, response) => digest.rejects(request, response) || response.end(image),
    );
    const camera = open(`${server.url}/snap.cgi?channel=1&q=a%20b`, USER);
    const { frames, failure } = await captureBurst(camera, { frames: 3 });
    expect(errorText(failure)).toBe('null');
    expect(frames).toHaveLength(3);
    expect(digest.seen.map((header) => header === null)).toEqual([true, false, false, false]);
  });

  it('authenticates with a digest without qop (RFC 2069)', async () => {
    const digest = digestServer({ ...USER, qop: null });
    const server = await serve(
      (request, response) => digest.rejects(request, response) || response.end(image),
    );
    expect(await failureCode(open(server.url, USER), { frames: 2 })).toBeNull();
  });

  it('authenticates again when the nonce is stale, valid once, or announced in advance', async () => {
    const stale = digestServer(USER);
    const oneTime = digestServer({ ...USER, oneTime: true });
    const announced = digestServer({ ...USER, oneTime: true, announce: true });
    for (const digest of [stale, oneTime, announced]) {
      const server = await serve(
        (request, response) => digest.rejects(request, response) || response.end(image),
      );
      const camera = open(server.url, USER);
      expect(await failureCode(camera)).toBeNull();
      if (digest === stale) digest.rotate();
      expect(await failureCode(camera)).toBeNull();
    }
    expect(stale.seen).toHaveLength(4);
    expect(oneTime.seen).toHaveLength(4);
    expect(announced.seen).toHaveLength(3);
  });

  it('authenticates with Basic, also with credentials from the URL', async () => {
    const header = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString('base64')}`;
    const server = await serve((request, response) => {
      if (request.headers.authorization === header) response.end(image);
      else response.writeHead(401, { 'www-authenticate': 'Basic realm="x", charset="UTF-8"' }).end();
    });
    expect(await failureCode(open(server.url, USER))).toBeNull();
    const inUrl = server.url.replace('//', `//admin:${encodeURIComponent(USER.password)}@`);
    expect(await failureCode(open(inUrl))).toBeNull();
  });

  it('tries a wrong password once, and does not reveal it', async () => {
    for (const algorithm of ['MD5', 'SHA-256'] as const) {
      const digest = digestServer({ ...USER, algorithm });
      const server = await serve(
        (request, response) => digest.rejects(request, response) || response.end(image),
      );
      const { failure } = await captureBurst(open(server.url.replace('//', '//admin:hunter22@')));
      expect(failure).toMatchObject({ code: 'camera_auth' });
      expect(errorText(failure)).not.toContain('hunter22');
      expect(digest.seen).toHaveLength(2);
    }
  });

  it('yields the previous image for status 304', async () => {
    const etags: (string | undefined)[] = [];
    const server = await serve((request, response) => {
      etags.push(request.headers['if-none-match']);
      if (request.headers['if-none-match'] === '"a"') response.writeHead(304).end();
      else response.writeHead(200, { etag: '"a"' }).end(image);
    });
    const { frames } = await captureBurst(open(server.url), { frames: 2, intervalS: 0.05 });
    expect(etags).toEqual([undefined, '"a"']);
    expect(frames.map(({ bytes }) => Buffer.from(bytes))).toEqual([image, image]);
    expect(frames[1]!.monoMs).toBeGreaterThan(frames[0]!.monoMs);
  });

  it('follows redirects, and sends credentials to the configured host only', async () => {
    const digest = digestServer(USER);
    const authorizations: (string | undefined)[] = [];
    const otherHost = await serve((request, response) => {
      authorizations.push(request.headers.authorization);
      if (request.url === '/challenge')
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      else response.end(image);
    });
    const otherUrl = otherHost.url.replace('127.0.0.1', 'localhost');
    const server = await serve((request, response) => {
      if (digest.rejects(request, response)) return;
      const to = { '/away': `${otherUrl}/x`, '/challenge': `${otherUrl}/challenge`, '/here': '/snap' }[
        request.url ?? ''
      ];
      if (to !== undefined) response.writeHead(302, { location: to }).end();
      else if (request.url === '/loop') response.writeHead(301, { location: '/loop' }).end();
      else if (request.url === '/file') response.writeHead(302, { location: 'file:///etc/passwd' }).end();
      else response.end(image);
    });
    expect(await failureCode(open(`${server.url}/here`, USER))).toBeNull();
    expect(await failureCode(open(`${server.url}/away`, USER))).toBeNull();
    expect(await failureCode(open(`${server.url}/challenge`, USER))).toBe('camera_auth');
    expect(authorizations).toEqual([undefined, undefined]);
    expect(await failureCode(open(`${server.url}/loop`, USER))).toBe('camera_unreachable');
    expect(await failureCode(open(`${server.url}/file`, USER))).toBe('camera_unreachable');
  });

  it.each([
    [401, 'camera_auth'],
    [403, 'camera_auth'],
    [404, 'camera_unreachable'],
    [500, 'camera_unreachable'],
    [204, 'camera_no_frame'],
    [304, 'camera_no_frame'],
  ])('maps status %i to %s', async (status, code) => {
    const server = await serve((_, response) => response.writeHead(status).end());
    expect(await failureCode(open(server.url, USER))).toBe(code);
  });

  it('detects the image type from the bytes, not from the content type', async () => {
    const server = await serve((request, response) => {
      if (request.url === '/page')
        response.writeHead(200, { 'content-type': 'image/jpeg' }).end('<html>log in</html>');
      else response.writeHead(200, { 'content-type': 'text/html' }).end(image);
    });
    const { failure } = await captureBurst(open(`${server.url}/page`));
    expect(failure).toMatchObject({
      code: 'camera_codec',
      // Events publish the message: it must not have the text of a server whose address a remote command has set.
      message: 'the response is text and not an image',
      context: { answer: '<html>log in</html>' },
    });
    expect(await failureCode(open(`${server.url}/odd`))).toBeNull();
  });

  it('rejects an invalid URL in the constructor, without the URL in the message', () => {
    expect(() => open('rtsp://h/')).toThrow(expect.objectContaining({ code: 'config_invalid' }) as Error);
    expect(() => open('nonsense hunter22')).toThrow(/^(?!.*hunter22)/);
  });
});

describe('HttpCamera with hostile servers', () => {
  it('stops reading an endless body at the limit', async () => {
    const block = Buffer.alloc(1 << 20, 0x41);
    let sent = 0;
    const server = await serve((_, response) => {
      const sendMore = (): void => {
        while (!response.destroyed && sent < 1 << 30) {
          sent += block.length;
          if (!response.write(block)) {
            response.once('drain', sendMore);
            return;
          }
        }
      };
      sendMore();
    });
    expect(await failureCode(open(server.url))).toBe('camera_codec');
    expect(sent).toBeLessThan(100 << 20);
    await eventually('connection closed', () => server.connections() === 0);
  });

  it('times out on a server that sends nothing, sends too slowly, or never ends its header', async () => {
    const timers: NodeJS.Timeout[] = [];
    const silent = await tcpServer(() => undefined);
    const slowBody = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n');
      timers.push(setInterval(() => socket.write('x'), 50));
    });
    const slowHeader = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      timers.push(setInterval(() => socket.write('X-A: b\r\n'), 50));
    });
    servers.push(silent, slowBody, slowHeader);
    try {
      for (const server of [silent, slowBody, slowHeader]) {
        expect(await failureCode(open(server.url), { timeoutS: 0.5 })).toBe('camera_timeout');
        await eventually('connection closed', () => server.connections() === 0);
      }
    } finally {
      for (const timer of timers) clearInterval(timer);
    }
  });

  it('reports a huge header, a response that is not HTTP, and a truncated body', async () => {
    const header = await tcpServer((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nX-A: ${'b'.repeat(200_000)}`);
    });
    const notHttp = await tcpServer((socket) => socket.end('220 ftp ready\r\n'));
    const truncated = await tcpServer((socket) =>
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n\xff\xd8\xff'),
    );
    const closed = await tcpServer((socket) => socket.destroy());
    servers.push(header, notHttp, truncated, closed);
    expect(await failureCode(open(header.url), { timeoutS: 5 })).toBe('camera_codec');
    expect(await failureCode(open(notHttp.url))).toBe('camera_codec');
    expect(await failureCode(open(truncated.url))).toBe('camera_ended');
    expect(await failureCode(open(closed.url))).toBe('camera_unreachable');
    await closed.stop();
    expect(await failureCode(open(closed.url))).toBe('camera_unreachable');
    expect(await failureCode(open('http://no-such-host.invalid/'))).toBe('camera_unreachable');
  });
});

describe('HttpCamera with Motion JPEG', () => {
  const stream = (
    write: (send: (bytes: Buffer | string) => void, end: () => void) => void,
    type = 'multipart/x-mixed-replace; boundary=--frame',
  ) =>
    serve((_, response) => {
      response.writeHead(200, { 'content-type': type });
      write(
        (bytes) => response.write(bytes),
        () => response.end(),
      );
    });

  it.each([
    [
      'lengths and a preamble',
      (jpeg: Buffer) => [
        'hello\r\n',
        '--frame\r\nContent-Type: image/jpeg\r\nContent-Length: ',
        String(jpeg.length),
        '\r\n\r\n',
        jpeg,
        '\r\n--frame\r\n',
      ],
    ],
    [
      'no length, and another boundary than announced',
      (jpeg: Buffer) => ['--other\nContent-type:image/jpg\n\n', jpeg, '\n--other\n'],
    ],
    ['a wrong length', (jpeg: Buffer) => ['--frame\r\nContent-Length: 5\r\n\r\n', jpeg, '\r\n']],
    ['no headers at all', (jpeg: Buffer) => [jpeg]],
  ])('finds the images with %s', async (_, parts) => {
    const jpegs = await Promise.all([1, 2, 3].map((seed) => jpegOf(seed)));
    const server = await stream((send) => {
      let next = 0;
      const timer = setInterval(() => {
        for (const part of parts(jpegs[next++ % 3]!)) send(part);
        if (next > 100) clearInterval(timer);
      }, 20);
    });
    const { frames, failure } = await captureBurst(open(server.url), { frames: 3, intervalS: 0.1 });
    expect(errorText(failure)).toBe('null');
    for (const { bytes } of frames) expect(jpegs.map(String)).toContain(Buffer.from(bytes).toString());
    expect(frames[2]!.monoMs - frames[0]!.monoMs).toBeGreaterThanOrEqual(180);
    await eventually('connection closed', () => server.connections() === 0);
  });

  it('reports a stream that ends or carries no image', async () => {
    const ended = await stream((send, end) => {
      send(image);
      setTimeout(end, 200);
    });
    const result = await captureBurst(open(ended.url), { frames: 2, intervalS: 0.5 });
    expect(result.frames).toHaveLength(1);
    expect(result.failure).toMatchObject({ code: 'camera_ended' });
    const empty = await stream((send) => send('--frame\r\nContent-Type: image/jpeg\r\n\r\n'));
    expect(await failureCode(open(empty.url), { timeoutS: 0.5 })).toBe('camera_no_frame');
  });

  it('drops frames that nobody reads, in bounded memory', async () => {
    const jpegs = await Promise.all(
      [1, 2].map((seed) => jpegOf(seed, { width: 640, height: 480, quality: 95 })),
    );
    let sent = 0;
    const server = await serve((_, response) => {
      response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace' });
      const sendMore = (): void => {
        while (!response.destroyed) {
          const jpeg = jpegs[sent % 2]!;
          sent += jpeg.length;
          if (!response.write(jpeg)) {
            response.once('drain', sendMore);
            return;
          }
        }
      };
      sendMore();
    });
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    // Long enough for a busy machine to send 20 MB.
    const { frames, failure } = await captureBurst(open(server.url), { frames: 2, intervalS: 3 });
    expect(errorText(failure)).toBe('null');
    expect(frames).toHaveLength(2);
    expect(sent).toBeGreaterThan(20e6);
    collectGarbage();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100e6);
  });
});
