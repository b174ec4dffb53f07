import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import sharp from 'sharp';
import { afterEach, describe, expect, it } from 'vitest';
import type { CaptureOptions, Frame } from '../../src/camera/camera.ts';
import { SimulatedCamera, type SimulatedCameraOptions } from '../../src/camera/simulated/camera.ts';
import { DrawingProcess } from '../../src/camera/simulated/drawing-process.ts';
import { truthAt } from '../../src/camera/simulated/sea-state.ts';
import { systemClock, type Clock } from '../../src/base/clock.ts';
import { AgentError, isAbort } from '../../src/base/errors.ts';
import { createLog } from '../../src/base/log.ts';
import { eventually } from '../fixtures/capture.ts';
import { FakeClock } from '../fixtures/fake-clock.ts';

const log = createLog('silent');
const never = new AbortController().signal;
const ONE_FRAME: CaptureOptions = { frames: 1, intervalS: 0, timeoutS: 20 };
const cameras: SimulatedCamera[] = [];

function open(
  options: Partial<SimulatedCameraOptions> = {},
  clock: Clock = systemClock,
  drawing = new DrawingProcess(),
): SimulatedCamera {
  const size = { widthPx: 160, heightPx: 90 };
  const camera = new SimulatedCamera(
    { id: 'sim', seed: 1, speed: 3600, ...size, ...options },
    { clock, log, drawing },
  );
  cameras.push(camera);
  return camera;
}

async function capture(camera: SimulatedCamera, options = ONE_FRAME, signal = never): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const frame of camera.capture(options, signal)) frames.push(frame);
  return frames;
}

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

const bytesOf = (frame: Frame | undefined): Buffer => Buffer.from(frame?.bytes ?? []);

afterEach(async () => {
  await Promise.all(cameras.splice(0).map((camera) => camera.close()));
});

describe('SimulatedCamera', () => {
  it('yields a burst of JPEGs with their truth, timed by the clock, from a child process', async () => {
    const clock = new FakeClock(1_750_000_000_000);
    const camera = open({}, clock);
    expect(camera.pid).toBeNull();
    const frames = await capture(camera, { frames: 3, intervalS: 0.5, timeoutS: 20 });
    expect(frames.map(({ monoMs }) => monoMs)).toEqual([0, 500, 1000]);
    expect(frames.map(({ capturedAtMs }) => capturedAtMs - 1_750_000_000_000)).toEqual([0, 500, 1000]);
    expect(frames.map(({ truth }) => truth)).toMatchObject([0, 1800, 3600].map((s) => truthAt(1, s)));
    for (const { bytes } of frames) expect([...bytes.subarray(0, 2)]).toEqual([0xff, 0xd8]);
    expect(camera.pid).not.toBe(process.pid);
  });

  it('yields the same images at the same time after the first capture', async () => {
    const burst = { frames: 2, intervalS: 1, timeoutS: 20 };
    const first = await capture(open({}, new FakeClock(0)), burst);
    const laterClock = new FakeClock(99_999);
    laterClock.pass(777_000);
    const again = await capture(open({}, laterClock), burst);
    const other = await capture(open({ seed: 2 }, new FakeClock(0)), burst);
    expect(again.map(bytesOf)).toEqual(first.map(bytesOf));
    expect(bytesOf(other[0]).equals(bytesOf(first[0]))).toBe(false);
    expect(bytesOf(first[1]).equals(bytesOf(first[0]))).toBe(false);
  });

  it('yields a clip of a steady sea whose scene runs faster than the clock', async () => {
    const clock = new FakeClock(0);
    const camera = open({ clipSpeed: 4, widthPx: 1280, heightPx: 720 }, clock);
    await capture(camera);
    clock.pass(2000);
    const frames = await capture(camera, { frames: 5, intervalS: 0.5, timeoutS: 20, isClip: true });
    expect(frames.map(({ monoMs }) => monoMs)).toEqual([2000, 2125, 2250, 2375, 2500]);
    expect(frames.map(({ sceneMs }) => sceneMs)).toEqual([0, 500, 1000, 1500, 2000]);
    for (const { truth } of frames) expect(truth).toMatchObject(truthAt(1, 7200));
    const { width, height } = await sharp(frames[0]?.bytes).metadata();
    expect([width, height]).toEqual([320, 180]);
    expect(bytesOf(frames[1]).equals(bytesOf(frames[0]))).toBe(false);
  });

  it('plays a scene backwards, loses images, and throws when none arrives', async () => {
    const steps = [
      { fromS: 2, conditions: { reversed: true } },
      { fromS: 10, conditions: { dropped01: 0.5 } },
      { fromS: 50, conditions: { dropped01: 1 } },
    ];
    const clock = new FakeClock(0);
    const camera = open({ script: { steps } }, clock);
    const clip = { intervalS: 1, timeoutS: 20, isClip: true };
    const frames = await capture(camera, { ...clip, frames: 40 });
    const [first, second, , fourth, fifth] = frames.map(bytesOf);
    expect([fourth?.equals(second ?? fourth), fifth?.equals(first ?? fifth)]).toEqual([true, true]);
    const times = frames.map(({ sceneMs = 0 }) => sceneMs / 1000);
    expect(times.slice(0, 10)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(times.length).toBeGreaterThan(15);
    expect(times.length).toBeLessThan(35);
    clock.pass(60_000);
    await expect(capture(camera, { ...clip, frames: 3 })).rejects.toMatchObject({ code: 'camera_timeout' });
  });

  it('repeats a frozen image while clock and truth continue', async () => {
    const clock = new FakeClock(0);
    const camera = open({ script: { steps: [{ fromS: 1, conditions: { frozen: true } }] } }, clock);
    const frames = await capture(camera, { frames: 5, intervalS: 1, timeoutS: 20 });
    expect(bytesOf(frames[1]).equals(bytesOf(frames[0]))).toBe(false);
    expect(bytesOf(frames[3]).equals(bytesOf(frames[1]))).toBe(true);
    expect(bytesOf(frames[4]).equals(bytesOf(frames[1]))).toBe(true);
    expect(frames[4]?.truth).toMatchObject(truthAt(1, 4 * 3600));
  });

  it('restarts its process after a kill during a capture, and when it hangs', async () => {
    const camera = open();
    await capture(camera);
    const pid = camera.pid ?? 0;
    const broken = capture(camera, { frames: 50, intervalS: 0, timeoutS: 20 });
    process.kill(pid, 'SIGKILL');
    const failure: unknown = await broken.catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(AgentError);
    expect((failure as AgentError).code).toBe('camera_ended');
    expect(await capture(camera)).toHaveLength(1);
    const hanging = camera.pid ?? 0;
    expect(hanging).not.toBe(pid);
    process.kill(hanging, 'SIGSTOP');
    await expect(capture(camera, { ...ONE_FRAME, timeoutS: 0.5 })).rejects.toMatchObject({
      code: 'camera_timeout',
    });
    expect(await capture(camera)).toHaveLength(1);
    await eventually('process exited', () => !isRunning(hanging), 15_000);
  });

  it('stops at once on abort before, between and during frames, and leaves no process after close', async () => {
    const camera = open();
    await expect(capture(camera, ONE_FRAME, AbortSignal.abort())).rejects.toSatisfy(isAbort);
    expect(camera.pid).toBeNull();

    const stop = new AbortController();
    const frames: Frame[] = [];
    const paused = (async () => {
      for await (const frame of camera.capture({ frames: 2, intervalS: 600, timeoutS: 20 }, stop.signal)) {
        frames.push(frame);
        setTimeout(() => stop.abort(), 10);
      }
    })();
    await expect(paused).rejects.toSatisfy(isAbort);
    expect(frames).toHaveLength(1);

    process.kill(camera.pid ?? 0, 'SIGSTOP');
    await expect(capture(camera, ONE_FRAME, AbortSignal.timeout(200))).rejects.toSatisfy(isAbort);
    process.kill(camera.pid ?? 0, 'SIGCONT');
    expect(await capture(camera)).toHaveLength(1);

    // close() also ends a stopped process, and may be called twice.
    const pid = camera.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    const running = capture(camera).catch((thrown: unknown) => thrown);
    await camera.close();
    await camera.close();
    expect(isRunning(pid)).toBe(false);
    expect(await running).toMatchObject({ code: 'camera_ended' });
    await expect(capture(camera)).rejects.toMatchObject({ code: 'camera_ended' });
    expect(camera.pid).toBeNull();
  });

  it('draws for all cameras of one agent in one process, which ends with the last of them', async () => {
    const drawing = new DrawingProcess();
    const two = [1, 2].map((seed) => open({ seed }, systemClock, drawing));
    const [first, second] = two;
    const pictures = await Promise.all(two.map((camera) => capture(camera, { ...ONE_FRAME, frames: 3 })));
    expect(pictures.map((frames) => frames.length)).toEqual([3, 3]);
    expect(bytesOf(pictures[0]?.[0]).equals(bytesOf(pictures[1]?.[0]))).toBe(false);
    const pid = first?.pid ?? 0;
    expect(second?.pid).toBe(pid);
    await first?.close();
    await first?.close();
    expect(isRunning(pid)).toBe(true);
    expect(await capture(second ?? open())).toHaveLength(1);
    await second?.close();
    expect(isRunning(pid)).toBe(false);
  });

  it('waits for the scene of another camera, and does not kill the process that draws it', async () => {
    const drawing = new DrawingProcess();
    const [busy, waiting] = [open({}, systemClock, drawing), open({}, systemClock, drawing)];
    await capture(busy);
    const pid = busy.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    const slow = capture(busy);
    await expect(capture(waiting, { ...ONE_FRAME, timeoutS: 0.2 })).rejects.toMatchObject({
      code: 'camera_timeout',
    });
    process.kill(pid, 'SIGCONT');
    expect(await slow).toHaveLength(1);
    expect(await capture(waiting)).toHaveLength(1);
    expect(waiting.pid).toBe(pid);
  });

  it('leaves no process after the agent is killed', async () => {
    const parent = spawn(process.execPath, ['--input-type=module-typescript', '-e', PARENT], {
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: new URL('../..', import.meta.url),
    });
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString());
    expect(isRunning(pid)).toBe(true);
    parent.kill('SIGKILL');
    await eventually('process exited', () => !isRunning(pid), 15_000);
  });

  it('blocks neither the event loop nor uses memory of the calling process', async () => {
    const camera = open({ widthPx: 1280, heightPx: 720 });
    await capture(camera);
    const lag = monitorEventLoopDelay({ resolution: 5 });
    const before = process.memoryUsage().rss;
    lag.enable();
    await capture(camera, { frames: 2, intervalS: 0, timeoutS: 20 });
    lag.disable();
    // Drawing takes about 150 ms per image. In this process, that would be the median. The limit leaves room for a busy machine.
    expect(lag.percentile(50) / 1e6).toBeLessThan(30);
    expect(process.memoryUsage().rss - before).toBeLessThan(60e6);
  });
});

const PARENT = `
import { SimulatedCamera } from './src/camera/simulated/camera.ts';
import { DrawingProcess } from './src/camera/simulated/drawing-process.ts';
import { systemClock } from './src/base/clock.ts';
import { createLog } from './src/base/log.ts';
const camera = new SimulatedCamera({ id: 'sim', seed: 1, speed: 1, widthPx: 160, heightPx: 90 }, { clock: systemClock, log: createLog('silent'), drawing: new DrawingProcess() });
for await (const frame of camera.capture({ frames: 1, intervalS: 0, timeoutS: 20 }, new AbortController().signal)) console.log(camera.pid);
setInterval(() => {}, 1000);
`;
