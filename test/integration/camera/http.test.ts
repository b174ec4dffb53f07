import type { RequestListener } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpCamera } from '../../../src/camera/http/camera.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { digestGate, httpServer, tcpServer, type TestServer } from '../../fixtures/camera-server.ts';
import { collect, eventually, failureCode, told } from '../../fixtures/capture.ts';
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
const picture = await jpegOf(1);

describe('HTTP snapshots', () => {
  it('yields the bytes as they are, once a frame, and leaves no connection', async () => {
    const server = await serve((_, response) => response.end(picture));
    const { frames, failure } = await collect(open(server.url), { frames: 3, intervalS: 0.05 });
    expect(failure).toBeNull();
    expect(frames.map(({ bytes }) => Buffer.from(bytes))).toEqual([picture, picture, picture]);
    await eventually('connections closed', () => server.connections() === 0);
  });

  it.each([
    ['MD5', undefined],
    ['SHA-256', 'SHA-256' as const],
    ['MD5-sess', 'MD5-sess' as const],
    ['SHA-256-sess', 'SHA-256-sess' as const],
  ])('answers digest %s, and asks only once for the challenge', async (_, algorithm) => {
    const gate = digestGate({ ...USER, ...(algorithm ? { algorithm } : {}) });
    const server = await serve(
      (request, response) => gate.refuses(request, response) || response.end(picture),
    );
    const camera = open(`${server.url}/snap.cgi?channel=1&q=a%20b`, USER);
    const { frames, failure } = await collect(camera, { frames: 3 });
    expect(told(failure)).toBe('null');
    expect(frames).toHaveLength(3);
    expect(gate.seen.map((header) => header === null)).toEqual([true, false, false, false]);
  });

  it('answers a digest without qop (RFC 2069)', async () => {
    const gate = digestGate({ ...USER, qop: null });
    const server = await serve(
      (request, response) => gate.refuses(request, response) || response.end(picture),
    );
    expect(await failureCode(open(server.url, USER), { frames: 2 })).toBeNull();
  });

  it('answers anew when the nonce is stale, one-time, or announced in advance', async () => {
    const stale = digestGate(USER);
    const oneTime = digestGate({ ...USER, oneTime: true });
    const announced = digestGate({ ...USER, oneTime: true, announce: true });
    for (const gate of [stale, oneTime, announced]) {
      const server = await serve(
        (request, response) => gate.refuses(request, response) || response.end(picture),
      );
      const camera = open(server.url, USER);
      expect(await failureCode(camera)).toBeNull();
      if (gate === stale) gate.rotate();
      expect(await failureCode(camera)).toBeNull();
    }
    expect(stale.seen).toHaveLength(4);
    expect(oneTime.seen).toHaveLength(4);
    expect(announced.seen).toHaveLength(3);
  });

  it('answers basic, and takes credentials from the address too', async () => {
    const header = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString('base64')}`;
    const server = await serve((request, response) => {
      if (request.headers.authorization === header) response.end(picture);
      else response.writeHead(401, { 'www-authenticate': 'Basic realm="x", charset="UTF-8"' }).end();
    });
    expect(await failureCode(open(server.url, USER))).toBeNull();
    const inUrl = server.url.replace('//', `//admin:${encodeURIComponent(USER.password)}@`);
    expect(await failureCode(open(inUrl))).toBeNull();
  });

  it('tries a wrong password once, and tells nobody what it was', async () => {
    for (const algorithm of ['MD5', 'SHA-256'] as const) {
      const gate = digestGate({ ...USER, algorithm });
      const server = await serve(
        (request, response) => gate.refuses(request, response) || response.end(picture),
      );
      const { failure } = await collect(open(server.url.replace('//', '//admin:hunter22@')));
      expect(failure).toMatchObject({ code: 'camera_auth' });
      expect(told(failure)).not.toContain('hunter22');
      expect(gate.seen).toHaveLength(2);
    }
  });

  it('counts 304 as the same picture again', async () => {
    const asked: (string | undefined)[] = [];
    const server = await serve((request, response) => {
      asked.push(request.headers['if-none-match']);
      if (request.headers['if-none-match'] === '"a"') response.writeHead(304).end();
      else response.writeHead(200, { etag: '"a"' }).end(picture);
    });
    const { frames } = await collect(open(server.url), { frames: 2, intervalS: 0.05 });
    expect(asked).toEqual([undefined, '"a"']);
    expect(frames.map(({ bytes }) => Buffer.from(bytes))).toEqual([picture, picture]);
    expect(frames[1]!.monoMs).toBeGreaterThan(frames[0]!.monoMs);
  });

  it('follows a few redirects, and gives the password to the configured host alone', async () => {
    const gate = digestGate(USER);
    const foreign: (string | undefined)[] = [];
    const elsewhere = await serve((request, response) => {
      foreign.push(request.headers.authorization);
      if (request.url === '/challenge')
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      else response.end(picture);
    });
    const away = elsewhere.url.replace('127.0.0.1', 'localhost');
    const server = await serve((request, response) => {
      if (gate.refuses(request, response)) return;
      const to = { '/away': `${away}/x`, '/challenge': `${away}/challenge`, '/here': '/snap' }[
        request.url ?? ''
      ];
      if (to !== undefined) response.writeHead(302, { location: to }).end();
      else if (request.url === '/loop') response.writeHead(301, { location: '/loop' }).end();
      else if (request.url === '/file') response.writeHead(302, { location: 'file:///etc/passwd' }).end();
      else response.end(picture);
    });
    expect(await failureCode(open(`${server.url}/here`, USER))).toBeNull();
    expect(await failureCode(open(`${server.url}/away`, USER))).toBeNull();
    expect(await failureCode(open(`${server.url}/challenge`, USER))).toBe('camera_auth');
    expect(foreign).toEqual([undefined, undefined]);
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
  ])('status %i is %s', async (status, code) => {
    const server = await serve((_, response) => response.writeHead(status).end());
    expect(await failureCode(open(server.url, USER))).toBe(code);
  });

  it('is not fooled by a content type, and needs none', async () => {
    const server = await serve((request, response) => {
      if (request.url === '/page')
        response.writeHead(200, { 'content-type': 'image/jpeg' }).end('<html>log in</html>');
      else response.writeHead(200, { 'content-type': 'text/html' }).end(picture);
    });
    expect(await failureCode(open(`${server.url}/page`))).toBe('camera_codec');
    expect(await failureCode(open(`${server.url}/odd`))).toBeNull();
  });

  it('refuses an address that is none when it is made', () => {
    expect(() => open('rtsp://h/')).toThrow(expect.objectContaining({ code: 'config_invalid' }) as Error);
    expect(() => open('nonsense hunter22')).toThrow(/^(?!.*hunter22)/);
  });
});

describe('hostile HTTP servers', () => {
  it('stops reading a body without end at the bound', async () => {
    const block = Buffer.alloc(1 << 20, 0x41);
    let sent = 0;
    const server = await serve((_, response) => {
      const more = (): void => {
        while (!response.destroyed && sent < 1 << 30) {
          sent += block.length;
          if (!response.write(block)) {
            response.once('drain', more);
            return;
          }
        }
      };
      more();
    });
    expect(await failureCode(open(server.url))).toBe('camera_codec');
    expect(sent).toBeLessThan(100 << 20);
    await eventually('connection closed', () => server.connections() === 0);
  });

  it('gives up on one that accepts and says nothing, drips, or never ends its header', async () => {
    const timers: NodeJS.Timeout[] = [];
    const silent = await tcpServer(() => undefined);
    const drip = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n');
      timers.push(setInterval(() => socket.write('x'), 50));
    });
    const slowHeader = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      timers.push(setInterval(() => socket.write('X-A: b\r\n'), 50));
    });
    servers.push(silent, drip, slowHeader);
    try {
      for (const server of [silent, drip, slowHeader]) {
        expect(await failureCode(open(server.url), { timeoutS: 0.5 })).toBe('camera_timeout');
        await eventually('connection closed', () => server.connections() === 0);
      }
    } finally {
      for (const timer of timers) clearInterval(timer);
    }
  });

  it('survives a huge header, words that are no HTTP, and a cut body', async () => {
    const header = await tcpServer((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nX-A: ${'b'.repeat(200_000)}`);
    });
    const rubbish = await tcpServer((socket) => socket.end('220 ftp ready\r\n'));
    const cut = await tcpServer((socket) =>
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n\xff\xd8\xff'),
    );
    const closed = await tcpServer((socket) => socket.destroy());
    servers.push(header, rubbish, cut, closed);
    expect(await failureCode(open(header.url), { timeoutS: 5 })).toBe('camera_codec');
    expect(await failureCode(open(rubbish.url))).toBe('camera_codec');
    expect(await failureCode(open(cut.url))).toBe('camera_ended');
    expect(await failureCode(open(closed.url))).toBe('camera_unreachable');
    await closed.stop();
    expect(await failureCode(open(closed.url))).toBe('camera_unreachable');
    expect(await failureCode(open('http://no-such-host.invalid/'))).toBe('camera_unreachable');
  });
});

describe('Motion JPEG over HTTP', () => {
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
      'lengths, preamble',
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
      'no length, another boundary than announced',
      (jpeg: Buffer) => ['--other\nContent-type:image/jpg\n\n', jpeg, '\n--other\n'],
    ],
    ['wrong length', (jpeg: Buffer) => ['--frame\r\nContent-Length: 5\r\n\r\n', jpeg, '\r\n']],
    ['no headers at all', (jpeg: Buffer) => [jpeg]],
  ])('finds the pictures: %s', async (_, parts) => {
    const jpegs = await Promise.all([1, 2, 3].map((seed) => jpegOf(seed)));
    const server = await stream((send) => {
      let next = 0;
      const timer = setInterval(() => {
        for (const part of parts(jpegs[next++ % 3]!)) send(part);
        if (next > 100) clearInterval(timer);
      }, 20);
    });
    const { frames, failure } = await collect(open(server.url), { frames: 3, intervalS: 0.1 });
    expect(told(failure)).toBe('null');
    for (const { bytes } of frames) expect(jpegs.map(String)).toContain(Buffer.from(bytes).toString());
    expect(frames[2]!.monoMs - frames[0]!.monoMs).toBeGreaterThanOrEqual(180);
    await eventually('connection closed', () => server.connections() === 0);
  });

  it('says that the stream ended, broke off, or carries no picture', async () => {
    const ended = await stream((send, end) => {
      send(picture);
      setTimeout(end, 200);
    });
    const result = await collect(open(ended.url), { frames: 2, intervalS: 0.5 });
    expect(result.frames).toHaveLength(1);
    expect(result.failure).toMatchObject({ code: 'camera_ended' });
    const empty = await stream((send) => send('--frame\r\nContent-Type: image/jpeg\r\n\r\n'));
    expect(await failureCode(open(empty.url), { timeoutS: 0.5 })).toBe('camera_no_frame');
  });

  it('drops frames that nobody reads and stays small', async () => {
    const jpegs = await Promise.all(
      [1, 2].map((seed) => jpegOf(seed, { width: 640, height: 480, quality: 95 })),
    );
    let sent = 0;
    const server = await serve((_, response) => {
      response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace' });
      const more = (): void => {
        while (!response.destroyed) {
          const jpeg = jpegs[sent % 2]!;
          sent += jpeg.length;
          if (!response.write(jpeg)) {
            response.once('drain', more);
            return;
          }
        }
      };
      more();
    });
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    // Long enough for a busy machine to send what is wanted.
    const { frames, failure } = await collect(open(server.url), { frames: 2, intervalS: 3 });
    expect(told(failure)).toBe('null');
    expect(frames).toHaveLength(2);
    expect(sent).toBeGreaterThan(20e6);
    collectGarbage();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100e6);
  });
});
