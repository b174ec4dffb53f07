import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Clock } from '../../../../src/base/clock.ts';
import { AgentError } from '../../../../src/base/errors.ts';
import { createLog } from '../../../../src/base/log.ts';
import type { Frame } from '../../../../src/camera/camera.ts';
import { StreamCamera } from '../../../../src/camera/ffmpeg/stream-camera.ts';
import { FrameSource } from '../../../../src/camera/frame-source.ts';
import { captureBurst, failureCode } from '../../../fixtures/capture.ts';
import { ManualClock } from '../../../fixtures/manual-clock.ts';

const SMALLEST_JPEG = Buffer.from('ffd8ffda0002ffd9', 'hex');

/** Receives a frame for each request, until the test makes it fail or end. */
class ControlledSource extends FrameSource {
  failing = false;
  readonly fps: number;

  constructor(fps: number, deps: { readonly clock: Clock }) {
    super(deps);
    this.fps = fps;
  }

  override nextFrame(notBeforeMs: number, signal: AbortSignal): Promise<Frame> {
    if (this.failing) return Promise.reject(new AgentError('camera_ended', 'planned'));
    this.receiveFrame();
    return super.nextFrame(notBeforeMs, signal);
  }

  receiveFrame(): void {
    this.addBytes(SMALLEST_JPEG);
  }

  end(): void {
    this.fail(new AgentError('camera_ended', 'planned'));
  }

  override timeoutError(): AgentError {
    return new AgentError('camera_timeout', 'planned');
  }

  override close(): Promise<void> {
    this.end();
    return Promise.resolve();
  }
}

const make = (persistent: boolean, sharedFps: number | null = null) => {
  const clock = new ManualClock();
  const sources: ControlledSource[] = [];
  const openSource = (fps: number) => {
    sources.push(new ControlledSource(fps, { clock }));
    return Promise.resolve(sources.at(-1)!);
  };
  const camera = new StreamCamera(
    { id: 'cam', persistent, fps: sharedFps },
    { clock, log: createLog('silent'), openSource },
  );
  return { clock, sources, camera };
};

describe('StreamCamera', () => {
  it('opens and closes a source for each burst when it is not persistent', async () => {
    const { camera, sources } = make(false);
    await captureBurst(camera);
    await captureBurst(camera);
    expect(sources.map(({ hasEnded }) => hasEnded)).toEqual([true, true]);
  });

  it('keeps one source over many captures when it is persistent', async () => {
    const { camera, sources, clock } = make(true);
    for (let capture = 0; capture < 5; capture += 1) {
      expect(await failureCode(camera)).toBeNull();
      await clock.pass(30_000);
      sources.at(-1)!.receiveFrame();
    }
    expect(sources.map(({ hasEnded }) => hasEnded)).toEqual([false]);
    await camera.close();
    expect(sources[0]!.hasEnded).toBe(true);
  });

  it('closes a persistent source after two minutes without a capture, and opens another', async () => {
    const { camera, sources, clock } = make(true);
    await captureBurst(camera);
    await clock.pass(119_000);
    expect(sources[0]!.hasEnded).toBe(false);
    await clock.pass(2000);
    expect(sources[0]!.hasEnded).toBe(true);
    await captureBurst(camera);
    expect(sources).toHaveLength(2);
  });

  it.each([
    ['was silent for ten seconds', ({ clock }: ReturnType<typeof make>) => clock.pass(11_000)],
    [
      'has ended',
      async ({ sources, clock }: ReturnType<typeof make>) => {
        sources[0]!.end();
        await clock.pass(0);
      },
    ],
  ])('replaces a source that %s', async (_, disturb) => {
    const setting = make(true);
    await captureBurst(setting.camera);
    await disturb(setting);
    expect(await failureCode(setting.camera)).toBeNull();
    expect(setting.sources.map(({ hasEnded }) => hasEnded)).toEqual([true, false]);
  });

  it('replaces a persistent source each hour', async () => {
    const { camera, sources, clock } = make(true);
    for (let minute = 0; minute <= 60; minute += 1) {
      expect(await failureCode(camera)).toBeNull();
      await clock.pass(60_000);
      sources.at(-1)!.receiveFrame();
    }
    expect(sources.map(({ hasEnded }) => hasEnded)).toEqual([true, false]);
  });

  it.each([false, true])(
    'shares one source between captures at the same time (persistent: %s)',
    async (persistent) => {
      const { camera, sources } = make(persistent, 2);
      const clip = camera.capture({ frames: 100, intervalS: 0, timeoutS: 9 }, new AbortController().signal);
      const [first, burst] = await Promise.all([clip.next(), captureBurst(camera, { frames: 3 })]);
      expect([first.done, burst.frames.length, burst.failure]).toEqual([false, 3, null]);
      // The end of the burst does not end the clip, nor does its failure.
      expect((await clip.next()).done).toBe(false);
      await captureBurst(camera, {}, AbortSignal.timeout(0));
      expect((await clip.next()).done).toBe(false);
      expect(sources.map(({ fps, hasEnded }) => [fps, hasEnded])).toEqual([[2, false]]);
      await clip.return();
      expect(sources[0]!.hasEnded).toBe(!persistent);
      await camera.close();
    },
  );

  it('closes a source that failed, and one with another frame rate than the burst needs', async () => {
    const { camera, sources } = make(true);
    await captureBurst(camera);
    sources[0]!.failing = true;
    expect(await failureCode(camera)).toBe('camera_ended');
    expect(sources[0]!.hasEnded).toBe(true);
    await captureBurst(camera, { frames: 1 });
    expect(sources[1]!.fps).toBe(2);
    const burst = captureBurst(camera, { frames: 2, intervalS: 0.2 });
    await nextTurn();
    expect(sources.map(({ fps, hasEnded }) => [fps, hasEnded])).toEqual([
      [2, true],
      [2, true],
      [10, false],
    ]);
    await camera.close();
    await burst;
  });
});
