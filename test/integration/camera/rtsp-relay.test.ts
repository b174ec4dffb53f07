import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { AgentError } from '../../../src/base/errors.ts';
import { createLog } from '../../../src/base/log.ts';
import { openCamera } from '../../../src/camera/open.ts';
import type { Camera as CameraSettings } from '../../../src/config/schema.ts';
import { RtspRelay } from '../../../src/camera/rtsp/relay.ts';
import { tcpServer, type TestServer } from '../../fixtures/camera-server.ts';
import { cameraSettings, captureBurst, descendants, errorText, eventually } from '../../fixtures/capture.ts';
import { serveRtsp } from '../../fixtures/camera-zoo/fake-rtsp.ts';
import { CERTIFICATES, pinOf } from '../../fixtures/camera-zoo/tls.ts';
import { RtspServer } from '../../fixtures/rtsp.ts';
import { TlsFront } from '../../fixtures/tls-front.ts';

const TLS = { ca: null, fingerprint256: null, insecure: false };
const LOGIN = { username: 'viewer', password: 'hunter2' };
const stack: (() => Promise<unknown>)[] = [];
let disposables = new AsyncDisposableStack();
afterEach(async () => {
  await disposables.disposeAsync();
  disposables = new AsyncDisposableStack();
  for (const step of stack.splice(0).reverse()) await step();
  expect(descendants('ffmpeg')).toEqual([]);
});

const capture = async (url: string, part: Partial<CameraSettings> = {}) => {
  const settings = cameraSettings({ kind: 'rtsp', url, schedule: { everyS: 0.001 }, ...part });
  const camera = await openCamera(settings, { clock: systemClock, log: createLog('silent') });
  stack.push(() => camera.close());
  return await captureBurst(camera, { timeoutS: 15, noRetry: AbortSignal.abort() });
};

/** A server that records what it receives, and answers each request with a status line and headers. */
const fakeCamera = async (
  answer: (request: string) => string | readonly [head: string, body: string],
): Promise<{ readonly server: TestServer; readonly url: string; received: string }> => {
  const camera = { received: '' };
  const server = await tcpServer((socket: Socket) => {
    socket.on('data', (chunk: Buffer) => {
      const request = chunk.toString('latin1');
      camera.received += request;
      const seq = /CSeq: (\d+)/i.exec(request)?.[1] ?? '0';
      const [head = '', body = ''] = [answer(request)].flat();
      socket.write(`RTSP/1.0 ${head}\r\nCSeq: ${seq}\r\n\r\n${body}`);
    });
  });
  stack.push(() => server.stop());
  return Object.assign(camera, { server, url: `rtsp://127.0.0.1:${server.port}/cam` });
};
const redirectTo = (url: string) => () => `302 Moved\r\nLocation: ${url}`;

describe('redirects of RTSP', () => {
  it.each([
    ['another port', (port: number) => `rtsp://127.0.0.1:${port}/cam`],
    ['another host', (port: number) => `rtsp://localhost:${port}/cam`],
    ['a login of its own', (port: number) => `rtsp://a:b@127.0.0.1:${port}/cam`],
  ])('carry no credentials to %s', async (_, target) => {
    const other = await fakeCamera(() => '401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"');
    const camera = await fakeCamera(redirectTo(target(other.server.port)));
    const { failure } = await capture(camera.url, LOGIN);
    expect(failure).toMatchObject({ code: 'camera_unreachable' });
    expect(failure instanceof AgentError ? failure.hint : '').toContain('address of the redirect');
    expect(other.received).toBe('');
    expect(errorText(failure)).not.toContain('hunter2');
  });

  it('are followed within the camera with credentials, and to others without', async () => {
    const open = await RtspServer.start({ fps: 10 });
    stack.push(() => open.stop());
    const camera = await fakeCamera(redirectTo(open.url));
    expect(errorText((await capture(camera.url)).failure)).toBe('null');
    const loop = await fakeCamera(redirectTo('/other'));
    expect((await capture(loop.url, LOGIN)).failure).toMatchObject({ code: 'camera_unreachable' });
    expect(loop.received).toContain('rtsp://127.0.0.1');
  });

  it('are followed with credentials to the same host in other letters', async () => {
    const camera = await serveRtsp(disposables, {
      answer: ({ method, uri }) =>
        method === 'DESCRIBE' && uri.endsWith('/cam')
          ? { status: '302 Moved', headers: [`Location: ${uri.replace('localhost', 'LocalHost')}2`] }
          : {},
    });
    const { failure } = await capture(`rtsp://${camera.host.replace('127.0.0.1', 'localhost')}/cam`, LOGIN);
    expect(errorText(failure)).toBe('null');
  });

  it.each([
    ['without an address', '302 Moved'],
    ['to a file', '302 Moved\r\nLocation: file:///etc/passwd'],
    ['to HTTP', '301 Moved\r\nLocation: http://127.0.0.1/'],
    ['with a hidden address', '302 Moved\r\nLoca\rtion: rtsp://127.0.0.1:9/'],
  ])('are refused %s', async (_, answer) => {
    const camera = await fakeCamera(() => answer);
    const { failure } = await capture(camera.url, LOGIN);
    expect(failure).toMatchObject({ code: 'camera_unreachable' });
    expect(errorText(failure)).toContain('the camera redirects');
  });

  it('do not leave TLS', async () => {
    const open = await fakeCamera(() => '200 OK');
    const camera = await fakeCamera(redirectTo(open.url));
    const front = await TlsFront.start(camera.server.port, CERTIFICATES.selfSigned);
    stack.push(() => front.stop());
    const tls = { ...TLS, ...pinOf(CERTIFICATES.selfSigned) };
    const { failure } = await capture(`rtsps://127.0.0.1:${front.port}/cam`, { tls });
    expect(errorText(failure)).toContain('from rtsps to rtsp');
    expect(open.received).toBe('');
  });
});

describe('answers that nobody asked for', () => {
  const statusLines = [
    'RTSP/1.0 302 Moved',
    'RTSP/1.0  302 Moved',
    'RTSP/1.0\t302 Moved',
    'RTSP/1.0 0302 Moved',
    'RTSP/1.0 200 OK\r\nX: y\n\r\r\nRTSP/1.0 302 Moved',
    'OPTIONS * RTSP/1.0\r\nContent-Length: 9999\r\nContent-Length: 0\r\n\r\nRTSP/1.0 302 Moved',
  ];
  it.each(statusLines)('do not lead ffmpeg to another server: %j', async (statusLine) => {
    const other = await serveRtsp(disposables, {});
    const redirect = `${statusLine}\r\nCSeq: 77\r\nLocation: rtsp://${other.host}/other`;
    const camera = await serveRtsp(disposables, {
      answer: ({ method }) => (method === 'OPTIONS' ? { headers: ['', redirect] } : {}),
    });
    await capture(`rtsp://${camera.host}/cam`, { ...LOGIN, timeoutS: 5 });
    expect(camera.requests.map(({ method }) => method)).toContain('OPTIONS');
    expect(other.requests).toEqual([]);
  });

  it('are not taken for the answer to the next request', async () => {
    const camera = await serveRtsp(disposables, {
      answer: ({ method }) =>
        method === 'OPTIONS' ? { headers: ['', 'RTSP/1.0 404 Not Found\r\nCSeq: 77'] } : {},
    });
    expect(errorText((await capture(`rtsp://${camera.host}/cam`)).failure)).toBe('null');
  });
});

describe('addresses of RTSP', () => {
  it.each([
    "it's",
    "a/b'c'd?x='y'",
    String.raw`a\b%20c%25?q=%27&r="1"`,
    'strand/öst ü.sdp',
    'user=admin_password=_channel=1/',
    '',
  ])('reach the camera unchanged: /%s', async (path) => {
    const camera = await serveRtsp(disposables, {});
    const url = new URL(`rtsp://${camera.host}/${path}`);
    expect(errorText((await capture(url.href)).failure)).toBe('null');
    const described = camera.requests.find(({ method }) => method === 'DESCRIBE');
    expect(described?.uri).toBe(url.href);
    const setUp = camera.requests.find(({ method }) => method === 'SETUP');
    expect(setUp?.uri.startsWith(url.href)).toBe(true);
  });

  it('are not shown by ffmpeg', async () => {
    const camera = await serveRtsp(disposables, { recording: { sdp: 'v=0\r\n', packets: [] } });
    const { failure } = await capture(`rtsp://${camera.host}/user=admin_password=hunter2`);
    expect(failure).not.toBeNull();
    expect(errorText(failure)).not.toContain('hunter2');
  });
});

describe('RTSP over TLS', () => {
  it('asks for no packets by UDP, which are not encrypted, also when the camera refuses TCP', async () => {
    const sdp =
      'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track1\r\n';
    const camera = await fakeCamera((request) => {
      if (request.startsWith('OPTIONS')) return '200 OK\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY';
      if (!request.startsWith('DESCRIBE')) return '461 Unsupported Transport';
      return [`200 OK\r\nContent-Type: application/sdp\r\nContent-Length: ${sdp.length}`, sdp];
    });
    const front = await TlsFront.start(camera.server.port, CERTIFICATES.selfSigned);
    stack.push(() => front.stop());
    const tls = { ...TLS, ...pinOf(CERTIFICATES.selfSigned) };
    const { failure } = await capture(`rtsps://127.0.0.1:${front.port}/cam`, { tls });
    expect(failure).toMatchObject({ code: 'camera_unreachable' });
    expect(camera.received).toContain('RTP/AVP/TCP');
    expect(camera.received).not.toContain('client_port');
  });
});

describe('logins of RTSP', () => {
  it.each([
    ['an unknown scheme', 'Bearer realm="x"'],
    ['an unknown algorithm', 'Digest realm="x", nonce="n", algorithm=SHA-512-256'],
  ])('name the cause when the camera asks for %s', async (_, challenge) => {
    const camera = await fakeCamera(() => `401 Unauthorized\r\nWWW-Authenticate: ${challenge}`);
    const { failure } = await capture(camera.url, LOGIN);
    expect(failure).toMatchObject({ code: 'camera_auth' });
    expect(errorText(failure)).toContain('neither Basic nor Digest');
    expect(camera.received).not.toMatch(/authorization/i);
  });

  it('try a wrong password once', async () => {
    const camera = await fakeCamera((request) =>
      request.startsWith('OPTIONS')
        ? '200 OK\r\nPublic: DESCRIBE'
        : '401 Unauthorized\r\nWWW-Authenticate: Digest realm="x", nonce="n", algorithm=SHA-256, qop="auth"',
    );
    expect((await capture(camera.url, LOGIN)).failure).toMatchObject({ code: 'camera_auth' });
    expect(camera.received.match(/response="[0-9a-f]{64}"/g)).toHaveLength(1);
  });
});

describe('the relay', () => {
  it.each([
    ['no RTSP', 'GET / HTTP/1.1\r\n\r\n'],
    ['another token', `DESCRIBE rtsp://127.0.0.1/${'0'.repeat(32)}/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n`],
    ['a media packet', Buffer.from([0x24, 0, 0, 1, 0])],
    ['the address of the camera', 'DESCRIBE rtsp://127.0.0.1:554/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n'],
  ])('disconnects a client that shows %s, and does not connect to the camera', async (_, bytes) => {
    const camera = await fakeCamera(() => '200 OK');
    const relay = await RtspRelay.start({ url: new URL(camera.url), credentials: LOGIN, tls: TLS });
    stack.push(() => relay.close());
    const { hostname, port } = new URL(relay.url);
    expect(hostname).toBe('127.0.0.1');
    const client = connect(Number(port), hostname);
    client.write(bytes);
    expect(await text(client)).toBe('');
    expect(camera.received).toBe('');
    expect(relay.failure).toBeNull();
  });

  it('serves ffmpeg while others hold connections to it', async () => {
    const camera = await serveRtsp(disposables, {});
    const relay = await RtspRelay.start({
      url: new URL(`rtsp://${camera.host}/cam`),
      credentials: null,
      tls: TLS,
    });
    stack.push(() => relay.close());
    const port = Number(new URL(relay.url).port);
    const others = Array.from({ length: 40 }, () => connect(port, '127.0.0.1'));
    for (const other of others) {
      other.on('error', () => undefined);
      other.write('OPT');
    }
    const trickle = setInterval(() => {
      for (const other of others) if (other.writable) other.write('I');
    }, 100);
    disposables.defer(() => clearInterval(trickle));
    for (const other of others) if (other.connecting) await once(other, 'connect');
    const client = connect(port, '127.0.0.1');
    client.write(`OPTIONS ${relay.url} RTSP/1.0\r\nCSeq: 1\r\n\r\n`);
    expect(String(await once(client, 'data'))).toContain('200 OK');
    // Each of the others loses its place, although it sends something all the time.
    await eventually('the others are disconnected', () => others.every(({ closed }) => closed));
    expect(client.destroyed).toBe(false);
    client.destroy();
  });

  it('disconnects a client that sends much before the token', async () => {
    const relay = await RtspRelay.start({ url: new URL('rtsp://127.0.0.1:9/'), credentials: null, tls: TLS });
    stack.push(() => relay.close());
    const client = connect(Number(new URL(relay.url).port), '127.0.0.1');
    client.write(`OPTIONS ${'x'.repeat(60_000)}`);
    expect(await text(client)).toBe('');
  });

  it('ends with the capture', async () => {
    const server = await RtspServer.start({ fps: 10 });
    stack.push(() => server.stop());
    const relay = await RtspRelay.start({ url: new URL(server.url), credentials: null, tls: TLS });
    const { port } = new URL(relay.url);
    const client = connect(Number(port), '127.0.0.1');
    client.write(`OPTIONS ${relay.url} RTSP/1.0\r\nCSeq: 1\r\n\r\n`);
    await once(client, 'data');
    expect((await server.send('state')).clients).toBe(1);
    const closed = once(client, 'close');
    client.resume();
    await relay.close();
    await closed;
    await eventually('no client', async () => (await server.send('state')).clients === 0);
    await expect(once(connect(Number(port), '127.0.0.1'), 'connect')).rejects.toThrow(/ECONNREFUSED/);
  });
});
