import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Frame } from '../../../src/camera/camera.ts';
import type { FrameSource } from '../../../src/camera/frame-source.ts';
import { StreamCamera } from '../../../src/camera/stream-camera.ts';
import type { Clock } from '../../../src/base/clock.ts';
import { AgentError } from '../../../src/base/errors.ts';
import { createLog } from '../../../src/base/log.ts';
import { collect, failureCode } from '../../fixtures/capture.ts';

/** Stands still until told; sleepers wake when their time has come. */
class HandClock implements Clock {
  #nowMs = 1e6;
  readonly #sleepers = new Set<{ readonly untilMs: number; readonly wake: () => void }>();

  nowMs = (): number => this.#nowMs;
  monoMs = (): number => this.#nowMs;

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((wake, reject) => {
      this.#sleepers.add({ untilMs: this.#nowMs + ms, wake });
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
    });
  }

  async pass(ms: number): Promise<void> {
    this.#nowMs += ms;
    for (const sleeper of this.#sleepers) if (sleeper.untilMs <= this.#nowMs) sleeper.wake();
    await turn();
  }
}

class PlannedSource implements FrameSource {
  ended = false;
  failing = false;
  lastMonoMs: number | null = null;
  readonly fps: number;
  readonly #clock: Clock;

  constructor(fps: number, clock: Clock) {
    this.fps = fps;
    this.#clock = clock;
  }

  next(): Promise<Frame> {
    if (this.failing) return Promise.reject(new AgentError('camera_ended', 'planned'));
    this.lastMonoMs = this.#clock.monoMs();
    return Promise.resolve({ bytes: new Uint8Array(1), capturedAtMs: 0, monoMs: this.lastMonoMs });
  }

  overdue(): AgentError {
    return new AgentError('camera_timeout', 'planned');
  }

  close(): Promise<void> {
    this.ended = true;
    return Promise.resolve();
  }
}

const make = (persistent: boolean) => {
  const clock = new HandClock();
  const sources: PlannedSource[] = [];
  const openSource = (fps: number) => {
    sources.push(new PlannedSource(fps, clock));
    return sources.at(-1)!;
  };
  const camera = new StreamCamera({ id: 'cam', persistent }, { clock, log: createLog('silent'), openSource });
  /** Like a living stream: a picture just came. */
  const alive = () => (sources.at(-1)!.lastMonoMs = clock.monoMs());
  return { clock, sources, camera, alive };
};

describe('StreamCamera', () => {
  it('opens and closes a source for each burst when it is not persistent', async () => {
    const { camera, sources } = make(false);
    await collect(camera);
    await collect(camera);
    expect(sources.map(({ ended }) => ended)).toEqual([true, true]);
  });

  it('keeps one source over many captures when it is persistent', async () => {
    const { camera, sources, clock, alive } = make(true);
    for (let capture = 0; capture < 5; capture += 1) {
      expect(await failureCode(camera)).toBeNull();
      await clock.pass(30_000);
      alive();
    }
    expect(sources.map(({ ended }) => ended)).toEqual([false]);
    await camera.close();
    expect(sources[0]!.ended).toBe(true);
  });

  it('closes it when nobody asks for two minutes, and opens another', async () => {
    const { camera, sources, clock } = make(true);
    await collect(camera);
    await clock.pass(119_000);
    expect(sources[0]!.ended).toBe(false);
    await clock.pass(2000);
    expect(sources[0]!.ended).toBe(true);
    await collect(camera);
    expect(sources).toHaveLength(2);
  });

  it.each([
    ['was silent for ten seconds', async ({ clock }: ReturnType<typeof make>) => clock.pass(11_000)],
    ['has ended', ({ sources }: ReturnType<typeof make>) => void (sources[0]!.ended = true)],
  ])('does not trust a source that %s', async (_, spoil) => {
    const setting = make(true);
    await collect(setting.camera);
    await spoil(setting);
    expect(await failureCode(setting.camera)).toBeNull();
    expect(setting.sources.map(({ ended }) => ended)).toEqual([true, false]);
  });

  it('renews it each hour', async () => {
    const { camera, sources, clock, alive } = make(true);
    for (let minute = 0; minute <= 60; minute += 1) {
      expect(await failureCode(camera)).toBeNull();
      await clock.pass(60_000);
      alive();
    }
    expect(sources.map(({ ended }) => ended)).toEqual([true, false]);
  });

  it('ends a source that failed, and one that is too slow for the burst', async () => {
    const { camera, sources } = make(true);
    await collect(camera);
    sources[0]!.failing = true;
    expect(await failureCode(camera)).toBe('camera_ended');
    expect(sources[0]!.ended).toBe(true);
    await collect(camera, { frames: 1 });
    expect(sources[1]!.fps).toBe(2);
    const burst = collect(camera, { frames: 2, intervalS: 0.2 });
    await turn();
    expect(sources.map(({ fps, ended }) => [fps, ended])).toEqual([
      [2, true],
      [2, true],
      [10, false],
    ]);
    await camera.close();
    await burst;
  });
});
