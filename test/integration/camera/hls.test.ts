import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import sharp from 'sharp';
import type { Camera } from '../../../src/camera/camera.ts';
import { openCamera } from '../../../src/camera/open.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { httpServer, type TestServer } from '../../fixtures/camera-server.ts';
import {
  cameraSettings,
  captureBurst,
  descendants,
  eventually,
  failureCode,
  errorText,
} from '../../fixtures/capture.ts';

const directory = mkdtempSync(join(tmpdir(), 'swellsight-hls-'));
const TOKEN = 'tok3nsecret';
let encoder: ChildProcess;
let server: TestServer;
let firstSegment = Buffer.alloc(0);
let damagedRequests = 0;
let mode: 'good' | 'silent' = 'good';
const cameras: Camera[] = [];

beforeAll(async () => {
  const source = ['-re', '-f', 'lavfi', '-i', 'testsrc=r=10:s=640x360'];
  const output = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '10', '-f', 'hls', '-hls_time', '1'];
  const list = ['-hls_list_size', '4', '-hls_flags', 'delete_segments', join(directory, 'live.m3u8')];
  encoder = spawn('ffmpeg', ['-v', 'error', '-nostdin', ...source, ...output, ...list], { stdio: 'inherit' });
  server = await httpServer((request, response) => {
    if (mode === 'silent') return;
    const url = new URL(request.url ?? '', 'http://h');
    const file = join(directory, basename(url.pathname));
    if (url.pathname.startsWith('/private/') && request.headers.authorization === undefined)
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    else if (url.pathname === '/hostile.m3u8')
      response.end('#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname.ts\n');
    else if (url.pathname === '/damaged.m3u8') {
      const parts = Array.from(
        { length: 3000 },
        (_, i) => `#EXT-X-DISCONTINUITY\n#EXTINF:1,\ndamaged?${i}\n`,
      );
      response.end(`#EXTM3U\n#EXT-X-TARGETDURATION:1\n${parts.join('')}#EXT-X-ENDLIST\n`);
    } else if (url.pathname === '/damaged') {
      damagedRequests += 1;
      response.end(url.search === '?0' ? firstSegment : 'garbage');
    } else if (existsSync(file)) response.end(readFileSync(file));
    else response.writeHead(404).end();
  });
  await eventually('segments', () => existsSync(join(directory, 'live3.ts')), 60_000);
  firstSegment = readFileSync(join(directory, 'live2.ts'));
});
afterEach(async () => {
  mode = 'good';
  await Promise.all(cameras.splice(0).map((camera) => camera.close()));
  expect(descendants('format_whitelist')).toEqual([]);
});
afterAll(async () => {
  encoder.kill('SIGKILL');
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

const open = async (path: string, part: { username?: string; password?: string; everyS?: number } = {}) => {
  const { everyS = 600, ...credentials } = part;
  const settings = cameraSettings({
    kind: 'hls',
    url: server.url + path,
    schedule: { everyS },
    ...credentials,
  });
  const camera = await openCamera(settings, { clock: systemClock, log: createLog('silent') });
  cameras.push(camera);
  return camera;
};

describe('HLS', () => {
  it.each([
    ['one connection per burst', 600],
    ['kept open', 10],
  ])('yields evenly spaced frames of a live stream: %s', async (_, everyS) => {
    const camera = await open('/live.m3u8', { everyS });
    const { frames, failure } = await captureBurst(camera, { frames: 3, intervalS: 1 });
    expect(errorText(failure)).toBe('null');
    expect(new Set(frames.map(({ bytes }) => Buffer.from(bytes).toString('base64'))).size).toBe(3);
    expect(frames[2]!.monoMs - frames[0]!.monoMs).toBeGreaterThan(1700);
    expect(await sharp(frames[0]!.bytes).metadata()).toMatchObject({ width: 640, height: 360 });
  });

  it('authenticates, and reveals neither password nor token', async () => {
    const credentials = { username: 'me', password: 'hunter 2' };
    const camera = await open(`/private/live.m3u8?token=${TOKEN}`, credentials);
    const running = captureBurst(camera);
    await eventually('ffmpeg runs', () => descendants('format_whitelist').length > 0);
    const commandLines = descendants('format_whitelist')
      .map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
      .join();
    expect(commandLines).not.toMatch(/hunter|tok3n/);
    expect(errorText((await running).failure)).toBe('null');
    expect(await failureCode(await open('/private/live.m3u8', { everyS: 1 }))).toBe('camera_auth');
  });

  it('ends a stream that ffmpeg cannot read any more, also without a capture', async () => {
    const camera = await open('/damaged.m3u8', { everyS: 10 });
    expect(errorText((await captureBurst(camera)).failure)).toBe('null');
    let before = -1;
    await eventually('an end of the requests', async () => {
      const hasStopped = before === damagedRequests;
      before = damagedRequests;
      await delay(1500);
      return hasStopped;
    });
    expect(damagedRequests).toBeLessThan(10);
  });

  it('reports a missing playlist, a silent server, and a playlist with local files', async () => {
    const missing = await captureBurst(await open(`/none.m3u8?token=${TOKEN}`, { everyS: 1 }));
    expect(missing.failure).toMatchObject({ code: 'camera_unreachable' });
    expect(errorText(missing.failure)).not.toContain(TOKEN);
    expect(await failureCode(await open('/hostile.m3u8', { everyS: 1 }), { timeoutS: 5 })).toMatch(
      /^camera_/,
    );
    mode = 'silent';
    expect(await failureCode(await open('/live.m3u8', { everyS: 1 }), { timeoutS: 1 })).toBe(
      'camera_timeout',
    );
  });
});
