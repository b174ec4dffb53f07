import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Camera, Frame } from '../../../src/camera/camera.ts';
import { FrozenDetector } from '../../../src/observation/frozen-detector.ts';
import { openCamera } from '../../../src/camera/open.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { tcpServer } from '../../fixtures/camera-server.ts';
import {
  cameraSettings,
  captureBurst,
  descendants,
  eventually,
  failureCode,
  errorText,
} from '../../fixtures/capture.ts';
import { RtspServer, type RtspOptions } from '../../fixtures/rtsp.ts';
import { signatureOf } from '../../fixtures/signature.ts';

const PASSWORD = 'pa s@/w"ö:1';
const directory = mkdtempSync(join(tmpdir(), 'swellsight-rtsp-'));
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  // Twenty levels of grey over a fixed texture: the brightness shows when an image was sent.
  for (let level = 0; level < 20; level += 1) {
    const pixels = Buffer.alloc(320 * 180, 90 + level * 6);
    for (let i = 0; i < pixels.length; i += 1) if ((i >> 4) % 3 === level % 3) pixels[i]! -= 50;
    const jpeg = await sharp(pixels, { raw: { width: 320, height: 180, channels: 1 } })
      .jpeg()
      .toBuffer();
    writeFileSync(join(directory, `${String(level).padStart(2, '0')}.jpg`), jpeg);
  }
});
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step();
  expect(descendants('ffmpeg')).toEqual([]);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const serve = async (options: RtspOptions = {}): Promise<RtspServer> => {
  // Ten frames per second: ffmpeg reads some frames before its first output, which takes half the time of five.
  const server = await RtspServer.start({ dir: directory, fps: 10, hold: 10, ...options });
  cleanups.push(() => server.stop());
  return server;
};
const open = async (
  url: string,
  part: { username?: string; password?: string; everyS?: number } = {},
): Promise<Camera> => {
  const { everyS = 600, ...credentials } = part;
  const settings = cameraSettings({ kind: 'rtsp', url, schedule: { everyS }, ...credentials });
  const camera = await openCamera(settings, { clock: systemClock, log: createLog('silent') });
  cleanups.push(() => camera.close());
  return camera;
};
/** Runs `act` after the first frame of a long burst. Returns the error that ends the burst, or null. */
const duringBurst = async (camera: Camera, act: () => void | Promise<void>): Promise<unknown> => {
  try {
    const burst = camera.capture({ frames: 30, intervalS: 1, timeoutS: 10 }, new AbortController().signal);
    let hasActed = false;
    for await (const frame of burst) {
      expect(frame.bytes.length).toBeGreaterThan(0);
      if (!hasActed) await act();
      hasActed = true;
    }
    return null;
  } catch (failure) {
    return failure;
  }
};
/** The level of the image, 0..19, from its brightest part. */
const readLevel = async (frame: Frame): Promise<number> => {
  const pixels = await sharp(frame.bytes).greyscale().raw().toBuffer();
  return Math.round(([...pixels].sort((a, b) => a - b)[Math.floor(pixels.length * 0.7)]! - 90) / 6);
};

describe('RTSP', () => {
  it.each(['digest', 'basic'] as const)(
    'authenticates with %s, without the password in a command line',
    async (auth) => {
      const server = await serve({
        auth,
        credentials: { username: 'ad min', password: PASSWORD },
        size: { width: 640, height: 360 },
      });
      const camera = await open(server.url, { username: 'ad min', password: PASSWORD });
      const running = captureBurst(camera, { frames: 2, intervalS: 0.5 });
      await eventually('ffmpeg runs', () => descendants('ffmpeg').length > 0);
      const commandLines = descendants('ffmpeg')
        .map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
        .join();
      const { frames, failure } = await running;
      expect(errorText(failure)).toBe('null');
      expect(commandLines).toContain('concat');
      for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), 'ad%20min', '127.0.0.1'])
        expect(commandLines).not.toContain(secret);
      expect(await sharp(frames[0]!.bytes).metadata()).toMatchObject({
        format: 'jpeg',
        width: 640,
        height: 360,
      });
    },
  );

  it.each(['tcp', 'udp'] as const)('reads a server that accepts %s alone', async (transport) => {
    const server = await serve({ transport, credentials: { username: 'admin', password: PASSWORD } });
    const camera = await open(server.url, { username: 'admin', password: PASSWORD });
    const { frames, failure } = await captureBurst(camera, { frames: 3, intervalS: 0.5 });
    expect(errorText(failure)).toBe('null');
    expect(frames).toHaveLength(3);
  });

  it('distinguishes a wrong password from an unreachable camera, and does not reveal the password', async () => {
    const server = await serve({ credentials: { username: 'admin', password: PASSWORD } });
    const wrongPassword = await captureBurst(await open(server.url.replace('//', '//admin:hunter2%40x@')));
    expect(wrongPassword.failure).toMatchObject({ code: 'camera_auth' });
    expect(errorText(wrongPassword.failure)).not.toMatch(/hunter2/);
    expect(
      await failureCode(
        await open(server.url.replace('/cam', '/none'), { username: 'admin', password: PASSWORD, everyS: 1 }),
      ),
    ).toBe('camera_unreachable');
    await server.stop();
    const unreachable = await captureBurst(
      await open(server.url, { username: 'admin', password: PASSWORD, everyS: 1 }),
    );
    expect(unreachable.failure).toMatchObject({ code: 'camera_unreachable' });
    expect(errorText(unreachable.failure)).not.toContain(encodeURIComponent(PASSWORD));
    expect(await failureCode(await open('rtsp://no-such-host.invalid/x', { everyS: 1 }))).toBe(
      'camera_unreachable',
    );
  });

  it('yields the latest frame after any pause between captures', async () => {
    const server = await serve();
    const camera = await open(server.url, { everyS: 10 });
    for (const pauseMs of [0, 3000]) {
      await delay(pauseMs);
      const startMs = systemClock.monoMs();
      const { frames } = await captureBurst(camera);
      const { index } = await server.send('state');
      expect(frames[0]!.monoMs).toBeGreaterThanOrEqual(startMs);
      // A level lasts one second.
      expect((index - (await readLevel(frames[0]!)) + 20) % 20).toBeLessThanOrEqual(3);
    }
    expect(descendants('ffmpeg')).toHaveLength(1);
  });

  it('reports a server that dies during a burst, and recovers with it', async () => {
    const server = await serve();
    const camera = await open(server.url, { everyS: 10 });
    const failure = await duringBurst(camera, () => server.stop());
    expect(failure).toMatchObject({ code: expect.stringMatching(/camera_(ended|no_frame)/) as string });
    expect(descendants('ffmpeg')).toEqual([]);
    await serve({ port: server.port });
    expect(await failureCode(camera)).toBeNull();
  });

  it('times out on a server that accepts and sends nothing', async () => {
    const server = await tcpServer(() => undefined);
    cleanups.push(() => server.stop());
    const camera = await open(`rtsp://127.0.0.1:${server.port}/cam`, { everyS: 1 });
    const startedMs = performance.now();
    expect(await failureCode(camera, { timeoutS: 1 })).toBe('camera_timeout');
    expect(performance.now() - startedMs).toBeLessThan(20_000);
    expect(descendants('ffmpeg')).toEqual([]);
  });

  it('detects a stream that stalls while ffmpeg runs, and recovers', async () => {
    const server = await serve();
    const camera = await open(server.url, { everyS: 2 });
    expect(await failureCode(camera)).toBeNull();
    const before = descendants('ffmpeg');
    await server.send('stall');
    // Frames in flight may still arrive.
    await captureBurst(camera, { timeoutS: 1 });
    expect(await failureCode(camera, { timeoutS: 1 })).toMatch(/camera_(no_frame|timeout|ended)/);
    expect(descendants('ffmpeg')).toEqual([]);
    await server.send('resume');
    expect(await failureCode(camera)).toBeNull();
    expect(descendants('ffmpeg')).not.toEqual(before);
  });

  it('recovers after kill -9 of ffmpeg, between captures and during one', async () => {
    const server = await serve();
    const camera = await open(server.url, { everyS: 10 });
    expect(await failureCode(camera)).toBeNull();
    for (const pid of descendants('ffmpeg')) process.kill(pid, 'SIGKILL');
    await eventually('ffmpeg exited', () => descendants('ffmpeg').length === 0);
    expect(await failureCode(camera)).toBeNull();
    const failure = await duringBurst(camera, () => {
      for (const pid of descendants('ffmpeg')) process.kill(pid, 'SIGKILL');
    });
    expect(failure).toMatchObject({ code: 'camera_ended', context: { signal: 'SIGKILL' } });
    expect(await failureCode(camera)).toBeNull();
  });

  it('kills an ffmpeg that ignores SIGTERM', async () => {
    const server = await serve();
    const camera = await open(server.url, { everyS: 10 });
    expect(await failureCode(camera)).toBeNull();
    // A stopped process reacts to SIGKILL only.
    for (const pid of descendants('ffmpeg')) process.kill(pid, 'SIGSTOP');
    await camera.close();
    expect(descendants('ffmpeg')).toEqual([]);
  });

  it('delivers frames in which the frozen detector finds a frozen image', async () => {
    const server = await serve({ hold: 4 });
    const camera = await open(server.url, { everyS: 2 });
    const verdicts = async (): Promise<string[]> => {
      const detector = new FrozenDetector({ bursts: 3, minSpanMs: 120_000 });
      const results: string[] = [];
      for (let burst = 0; burst < 4; burst += 1) {
        const { frames } = await captureBurst(camera);
        // The bursts of this test are half a second apart. The detector gets times one minute apart.
        results.push(detector.add(await signatureOf(Buffer.from(frames[0]!.bytes)), burst * 60_000));
        await delay(500);
      }
      return results;
    };
    expect(await verdicts()).toEqual(['moving', 'moving', 'moving', 'moving']);
    await server.send('freeze');
    await delay(1500);
    expect(await verdicts()).toEqual(['moving', 'moving', 'frozen', 'frozen']);
  });
});
