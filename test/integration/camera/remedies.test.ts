import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import type { CaptureOptions } from '../../../src/camera/camera.ts';
import { openCamera } from '../../../src/camera/open.ts';
import type { Camera as CameraSettings } from '../../../src/config/schema.ts';
import { FAILURE_ROWS } from '../../fixtures/camera-zoo/failure-rows.ts';
import { http } from '../../fixtures/camera-zoo/http.ts';
import { describeOutcome, tryCamera } from '../../fixtures/camera-zoo/zoo.ts';
import { httpServer, type TestServer } from '../../fixtures/camera-server.ts';
import { cameraSettings, captureBurst } from '../../fixtures/capture.ts';

describe.each(Object.entries(FAILURE_ROWS))('a failing camera of kind %s', (_, rows) => {
  it.each(rows)('$quirk: $expected with a fitting remedy', async ({ open, expected, remedy }) => {
    const outcome = await tryCamera(open);
    const text = 'text' in outcome ? outcome.text : '';
    expect(describeOutcome(outcome), text).toBe(expected);
    expect(text).toMatch(remedy ?? /^$/);
  });
});

const captureOnce = async (
  settings: Partial<CameraSettings> & Pick<CameraSettings, 'kind'>,
  options: Partial<CaptureOptions>,
  signal?: AbortSignal,
) => {
  const camera = await openCamera(cameraSettings(settings), { clock: systemClock, log: createLog('silent') });
  try {
    return (await captureBurst(camera, options, signal)).failure;
  } finally {
    await camera.close();
  }
};

describe('the deadline of the caller', () => {
  const serve = async (
    status: number,
    onRequest: () => unknown = () => undefined,
  ): Promise<{ server: TestServer; count: () => number }> => {
    let requests = 0;
    const server = await httpServer((_, response) => {
      requests += 1;
      onRequest();
      response.writeHead(status).end();
    });
    return { server, count: () => requests };
  };

  it('is not reached without retries: the first failure is the answer', async () => {
    const { server, count } = await serve(404);
    const failure = await captureOnce({ kind: 'http', url: server.url }, { noRetry: AbortSignal.abort() });
    await server.stop();
    expect(failure).toMatchObject({
      code: 'camera_unreachable',
      message: expect.stringContaining('404') as unknown,
    });
    expect(count()).toBe(1);
  });

  it('is not awaited either when somebody begins to wait during the retries', async () => {
    const waits = new AbortController();
    const { server, count } = await serve(500, () => setTimeout(() => waits.abort(), 50));
    const failure = await captureOnce({ kind: 'http', url: server.url }, { noRetry: waits.signal });
    await server.stop();
    expect(failure).toMatchObject({ code: 'camera_unreachable' });
    expect(count()).toBe(1);
  });

  it('shows the last failure of the camera when it passes during the retries', async () => {
    const { server, count } = await serve(500);
    // The retries of this camera would go on for 30 s.
    const failure = await captureOnce({ kind: 'http', url: server.url }, {}, AbortSignal.timeout(1800));
    await server.stop();
    expect(failure).toMatchObject({
      code: 'camera_unreachable',
      hint: expect.stringContaining('restart') as unknown,
    });
    expect(count()).toBeGreaterThan(1);
  });

  it.each([
    ['http', 'http'],
    ['rtsp', 'rtsp'],
    ['hls', 'http'],
  ] as const)('is camera_timeout when a camera of kind %s has not answered yet', async (kind, scheme) => {
    const { server } = await serve(404);
    const silent = await httpServer(() => undefined);
    const url = `${scheme}://127.0.0.1:${String(silent.port)}/`;
    const failure = await captureOnce({ kind, url }, { timeoutS: 30 }, AbortSignal.timeout(800));
    await Promise.all([server.stop(), silent.stop()]);
    expect(failure).toMatchObject({
      code: 'camera_timeout',
      hint: expect.stringContaining('firewall') as unknown,
    });
  });
});

describe('text in place of an image', () => {
  it('shows the first 200 printable bytes without secrets and control characters', async () => {
    const outcome = await tryCamera(
      http(
        ({ head }) =>
          head.includes('authorization')
            ? { body: [`\x1b[31m  Hello\r\nviewer,\u202e wrong s3cretword, ${'x'.repeat(400)}`] }
            : { status: 'HTTP/1.1 401 No', headers: ['WWW-Authenticate: Basic realm="x"'] },
        { username: 'viewer', password: 's3cretword' },
      ),
    );
    const text = 'text' in outcome ? outcome.text : '';
    expect(text).toMatch(/text and not an image\n.*\n\[31m Hello viewer, wrong \*\*\*, x+…$/);
    expect(text).not.toMatch(/s3cret|[\x1b\u202e]|x{200}/);
  });

  it('shows what a program wrote, without its arguments', async () => {
    const open = (script: string) => () =>
      Promise.resolve({ kind: 'command' as const, command: ['sh', '-c', script, 'name', 't0ken-argument'] });
    const failed = await tryCamera(open('echo "\x1b[1mlogin of $1 refused" >&2; exit 4'));
    const wrong = await tryCamera(open('echo "hello $1"'));
    expect(failed).toMatchObject({
      text: expect.stringContaining('exit code 4: [1mlogin of *** refused\n') as unknown,
    });
    expect(wrong).toMatchObject({
      text: expect.stringContaining('wrote text and no image: hello ***\n') as unknown,
    });
  });
});
