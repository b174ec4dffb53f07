import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { openCamera } from '../../../src/camera/open.ts';
import type { Camera } from '../../../src/config/schema.ts';
import { serveRtsp, type RtspQuirk, type RtspRequest } from '../../fixtures/camera-zoo/fake-rtsp.ts';
import { cameraSettings, captureBurst, errorText, failureCode } from '../../fixtures/capture.ts';

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

const UNSUPPORTED = { status: '461 Unsupported Transport' };
const transportOf = ({ headers }: RtspRequest): string =>
  /TCP/.test(headers.get('transport') ?? '') ? 'tcp' : 'udp';

/** A camera on a server with a quirk, its log, and the transports that it has asked for since the last call. */
const open = async (quirk: RtspQuirk, part: { transport?: Camera['transport']; password?: string } = {}) => {
  const { host, requests } = await serveRtsp(stack, quirk);
  const lines: string[] = [];
  const log = createLog('debug', { write: (line) => void lines.push(line) });
  const login = part.password === undefined ? {} : { username: 'admin', password: part.password };
  const settings = cameraSettings({
    kind: 'rtsp',
    url: `rtsp://${host}/cam`,
    transport: part.transport ?? 'auto',
    ...login,
  });
  const camera = await openCamera(settings, { clock: systemClock, log });
  stack.defer(() => camera.close());
  const takeSetups = (): string[] =>
    requests
      .splice(0)
      .filter(({ method }) => method === 'SETUP')
      .map(transportOf);
  return { camera, lines, takeSetups };
};

describe('the transport of RTSP', () => {
  it('is that which worked before, and the log names it once', async () => {
    const refusing = { is: 'tcp' };
    const { camera, lines, takeSetups } = await open({
      answer: (request) =>
        request.method === 'SETUP' && transportOf(request) === refusing.is ? UNSUPPORTED : {},
    });
    expect(await failureCode(camera, { noRetry: AbortSignal.abort() })).toBeNull();
    expect(takeSetups()).toEqual(['tcp', 'udp']);
    expect(await failureCode(camera, { noRetry: AbortSignal.abort() })).toBeNull();
    expect(takeSetups()).toEqual(['udp']);
    // Another firmware: now the camera refuses UDP.
    refusing.is = 'udp';
    expect(await failureCode(camera, { noRetry: AbortSignal.abort() })).toBeNull();
    expect(takeSetups()).toEqual(['udp', 'tcp']);
    const chosen = lines.filter((line) => line.includes('transport of the RTSP stream'));
    expect(chosen.map((line) => (JSON.parse(line) as { transport: string }).transport)).toEqual([
      'udp',
      'tcp',
    ]);
  });

  it('changes from capture to capture while the camera accepts it and sends nothing', async () => {
    const { camera, takeSetups } = await open({ isSending: false });
    for (const expected of ['tcp', 'udp', 'tcp']) {
      expect(await failureCode(camera, { timeoutS: 2, noRetry: AbortSignal.abort() })).toBe(
        'camera_no_frame',
      );
      expect(takeSetups()[0]).toBe(expected);
    }
  });

  it('stays for two captures without a frame if it worked before', async () => {
    const quirk = { isSending: true };
    const { camera, takeSetups } = await open(quirk);
    expect(await failureCode(camera, { noRetry: AbortSignal.abort() })).toBeNull();
    quirk.isSending = false;
    for (const expected of ['tcp', 'tcp', 'tcp', 'tcp', 'udp']) {
      expect(takeSetups()[0]).toBe(expected);
      await failureCode(camera, { timeoutS: 2, noRetry: AbortSignal.abort() });
    }
  });

  it.each(['tcp', 'udp'] as const)('is only %s when it is set', async (transport) => {
    const { camera, takeSetups } = await open({ isSending: false }, { transport });
    for (let capture = 0; capture < 2; capture += 1) {
      expect(await failureCode(camera, { timeoutS: 2, noRetry: AbortSignal.abort() })).toBe(
        'camera_no_frame',
      );
      expect(new Set(takeSetups())).toEqual(new Set([transport]));
    }
  });

  it.each<[string, RtspQuirk]>([
    [
      'refuses the login',
      { answer: () => ({ status: '401 Unauthorized', headers: ['WWW-Authenticate: Basic realm="x"'] }) },
    ],
    ['does not know the path', { answer: () => ({ status: '404 Not Found' }) }],
    [
      'echoes the request',
      { answer: ({ headers }) => ({ status: `500 ${[...headers.values()].join(' ')}` }) },
    ],
    ['closes the connection', { answer: () => ({ status: null, isClosing: true }) }],
  ])('shows no part of the password when the camera %s', async (_, quirk) => {
    const password = 'mark/er@1#?"ö';
    const { camera, lines } = await open(quirk, { password });
    const { failure } = await captureBurst(camera, { noRetry: AbortSignal.abort() });
    const text = `${errorText(failure)} ${lines.join('\n')}`;
    for (const secret of [
      'mark',
      encodeURIComponent(password),
      Buffer.from(`admin:${password}`).toString('base64'),
    ])
      expect(text).not.toContain(secret);
  });
});
