import { describe, expect, it } from 'vitest';
import type { Camera, Frame } from '../../../src/camera/camera.ts';
import { RetryingCamera } from '../../../src/camera/burst-capture.ts';
import { AgentError, isAbort, type ErrorCode } from '../../../src/base/errors.ts';
import { captureBurst, failureCode } from '../../fixtures/capture.ts';
import { FakeClock } from '../../fixtures/fake-clock.ts';

/** Each capture follows the next line of the plan: a number of frames, then an error or none. */
class PlannedCamera implements Camera {
  readonly id = 'cam';
  readonly startedMs: number[] = [];
  readonly #plan: Plan;
  readonly #clock: FakeClock;

  constructor(plan: Plan, clock: FakeClock) {
    this.#plan = plan;
    this.#clock = clock;
  }

  async *capture(): AsyncGenerator<Frame> {
    await Promise.resolve();
    this.startedMs.push(this.#clock.monoMs());
    const [frames, end] = this.#plan[this.startedMs.length - 1] ?? this.#plan.at(-1) ?? [0, null];
    for (let index = 0; index < frames; index += 1)
      yield { bytes: new Uint8Array(1), capturedAtMs: 0, monoMs: this.#clock.monoMs() };
    if (end === 'abort') throw new DOMException('closed', 'AbortError');
    if (end) throw new AgentError(end, 'planned');
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

type Plan = (readonly [number, ErrorCode | 'abort' | null])[];

/** `renewals`: the plans of the cameras with changed logins; null while the login is the same. */
const make = (plan: Plan, maxRetryS = 30, renewals: (Plan | null)[] = []) => {
  const clock = new FakeClock(0);
  const inner = new PlannedCamera(plan, clock);
  const renewLogin = (): Promise<Camera | null> => {
    const next = renewals.shift() ?? null;
    return Promise.resolve(next && new PlannedCamera(next, clock));
  };
  return {
    clock,
    inner,
    camera: new RetryingCamera({ maxRetryS }, { camera: inner, clock, random: () => 1, renewLogin }),
  };
};

describe('RetryingCamera', () => {
  it('retries with doubling pauses until a frame arrives', async () => {
    const { inner, camera } = make([
      [0, 'camera_timeout'],
      [0, 'camera_unreachable'],
      [0, 'camera_ended'],
      [2, null],
    ]);
    const { frames, failure } = await captureBurst(camera, { frames: 2 });
    expect(failure).toBeNull();
    expect(frames).toHaveLength(2);
    expect(inner.startedMs).toEqual([0, 1000, 3000, 7000]);
  });

  it('stays within the slot, continues the backoff in the next slot, and resets it after a frame', async () => {
    const { clock, inner, camera } = make([
      ...Array.from({ length: 6 }, () => [0, 'camera_timeout'] as const),
      [1, null],
      [0, 'camera_timeout'],
      [1, null],
    ]);
    expect(await failureCode(camera)).toBe('camera_timeout');
    expect(inner.startedMs).toEqual([0, 1000, 3000, 7000, 15_000]);
    clock.pass(45_000);
    expect(await failureCode(camera)).toBe('camera_timeout');
    expect(inner.startedMs).toHaveLength(6);
    clock.pass(60_000);
    expect(await failureCode(camera)).toBeNull();
    const secondCaptureMs = clock.monoMs();
    expect(await failureCode(camera)).toBeNull();
    expect(inner.startedMs.slice(7)).toEqual([secondCaptureMs, secondCaptureMs + 1000]);
  });

  it('connects at once with a changed login, and begins a short pause when that is refused too', async () => {
    const refused: Plan = [[0, 'camera_auth']];
    const { clock, inner, camera } = make(refused, 30, [null, refused, null, null, [[1, null]]]);
    const codes = async (count: number): Promise<readonly (string | null)[]> => {
      const found: (string | null)[] = [];
      for (let index = 0; index < count; index += 1) found.push(await failureCode(camera));
      return found;
    };
    // The first one connects, the second one is within the pause, the third one has another login.
    expect(await codes(3)).toEqual(['camera_auth', 'camera_auth', 'camera_auth']);
    clock.pass(29_000);
    expect(await codes(1)).toEqual(['camera_auth']);
    expect(clock.monoMs()).toBe(29_000);
    clock.pass(1000);
    expect(await codes(2)).toEqual(['camera_auth', null]);
    expect(inner.startedMs).toEqual([0]);
  });

  it('does not retry a burst that yielded some frames', async () => {
    const { inner, camera } = make([[1, 'camera_ended']]);
    const { frames, failure } = await captureBurst(camera, { frames: 3 });
    expect(frames).toHaveLength(1);
    expect(failure).toMatchObject({ code: 'camera_ended' });
    expect(inner.startedMs).toHaveLength(1);
  });

  it.each(['camera_program_missing', 'internal'] as const)('does not retry after %s', async (code) => {
    const { inner, camera } = make([[0, code]]);
    expect(await failureCode(camera)).toBe(code);
    expect(inner.startedMs).toHaveLength(1);
  });

  it('does not retry when a person waits, but keeps the pause after a rejected password', async () => {
    const { inner, camera } = make([
      [0, 'camera_timeout'],
      [0, 'camera_auth'],
      [1, null],
    ]);
    expect(await failureCode(camera, { noRetry: AbortSignal.abort() })).toBe('camera_timeout');
    expect(await failureCode(camera, { noRetry: AbortSignal.abort() })).toBe('camera_auth');
    expect(await failureCode(camera, { noRetry: AbortSignal.abort() })).toBe('camera_auth');
    expect(inner.startedMs).toHaveLength(2);
  });

  it('doubles the pause after each rejected password', async () => {
    const { clock, inner, camera } = make([[0, 'camera_auth']]);
    const attemptsS: number[] = [];
    for (let slot = 0; slot < 200; slot += 1) {
      const before = inner.startedMs.length;
      expect(await failureCode(camera)).toBe('camera_auth');
      if (inner.startedMs.length > before) attemptsS.push(slot * 10);
      clock.pass(10_000);
    }
    expect(attemptsS).toEqual([0, 30, 90, 210, 450, 930, 1530]);
  });

  it('rejects with the abort error', async () => {
    const { camera, inner } = make([[0, 'abort']]);
    expect(isAbort((await captureBurst(camera)).failure)).toBe(true);
    expect(inner.startedMs).toHaveLength(1);
    const stop = new AbortController();
    const unreachable = make([[0, 'camera_timeout']]);
    stop.abort();
    expect(isAbort((await captureBurst(unreachable.camera, {}, stop.signal)).failure)).toBe(true);
  });
});
