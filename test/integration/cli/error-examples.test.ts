import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CAMERA_EXAMPLES, CONFIGURATION_EXAMPLES } from '../../../scripts/generate/error-examples.ts';
import { httpServer, tcpServer } from '../../fixtures/camera-server.ts';
import { CERTIFICATES } from '../../fixtures/camera-zoo/tls.ts';
import { fingerprintOf } from '../../fixtures/certificates.ts';
import { runCli } from '../../fixtures/cli.ts';
import { freePort } from '../../fixtures/mosquitto.ts';
import { TlsFront } from '../../fixtures/tls-front.ts';

const DRM =
  '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x"\n#EXTINF:2,\na.ts\n';

describe('the examples of docs/errors.md', () => {
  const dir = mkdtempSync(join(tmpdir(), 'swellsight-examples-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('are the lines of doctor for these cameras', { timeout: 120_000 }, async () => {
    const http = await httpServer((request, response) => {
      const status = { '/404': 404, '/401': 401 }[request.url ?? ''] ?? 200;
      response.writeHead(status, status === 401 ? { 'www-authenticate': 'Basic realm="cam"' } : {});
      response.end(request.url === '/drm' ? DRM : '<html><body>Session expired</body></html>');
    });
    const rtsp = await tcpServer((socket) => {
      socket.on('data', (request: Buffer) => {
        const cseq = /CSeq: (\d+)/i.exec(request.toString())?.[1] ?? '1';
        socket.write(`RTSP/1.0 404 Not Found\r\nCSeq: ${cseq}\r\n\r\n`);
      });
    });
    const other = await tcpServer((socket) =>
      socket.on('data', () => socket.write('HTTP/1.1 400 Bad\r\n\r\n')),
    );
    const secure = await TlsFront.start(http.port, CERTIFICATES.selfSigned);
    writeFileSync(join(dir, 'empty.mp4'), '');
    const cameras: Record<keyof typeof CAMERA_EXAMPLES, object> = {
      'http-404': { kind: 'http', url: `${http.url}/404` },
      'http-login': { kind: 'http', url: `${http.url}/401` },
      'http-text': { kind: 'http', url: `${http.url}/page` },
      'self-signed': { kind: 'http', url: `https://127.0.0.1:${secure.port}/page` },
      'rtsp-closed': { kind: 'rtsp', url: `rtsp://127.0.0.1:${await freePort()}/` },
      'rtsp-404': { kind: 'rtsp', url: `rtsp://127.0.0.1:${rtsp.port}/x` },
      'rtsp-http': { kind: 'rtsp', url: `rtsp://127.0.0.1:${other.port}/x` },
      'hls-drm': { kind: 'hls', url: `${http.url}/drm` },
      'hls-page': { kind: 'hls', url: `${http.url}/page` },
      'film-empty': { kind: 'video', path: join(dir, 'empty.mp4') },
    };
    const settings = {
      stateDir: join(dir, 'var'),
      inference: { providers: ['cpu'], threads: 1 },
      mqtt: { embedded: { port: await freePort() } },
      http: { port: await freePort() },
      cameras: Object.entries(cameras).map(([id, camera]) => ({ id, timeoutS: 10, ...camera })),
    };
    writeFileSync(join(dir, 'cameras.json'), JSON.stringify(settings));
    const { stdout } = await runCli(['doctor', '--config', 'cameras.json'], { cwd: dir });
    for (const server of [http, rtsp, other, secure]) await server.stop();
    for (const [id, example] of Object.entries(CAMERA_EXAMPLES)) {
      const line = example.replace('FINGERPRINT', fingerprintOf(CERTIFICATES.selfSigned));
      expect(stdout.replace(/ +/g, ' ')).toContain(`FAIL camera ${id} ${line}\n`);
    }
  });

  it.each(CONFIGURATION_EXAMPLES)('check-config reads %s', async (settings, line) => {
    writeFileSync(join(dir, 'bad.yaml'), settings);
    const { code, stdout, stderr } = await runCli(['check-config', '--config', 'bad.yaml'], { cwd: dir });
    expect(code).toBe(78);
    expect(stdout + stderr).toContain(line);
  });
});
