import { describe, expect, it } from 'vitest';
import type { Camera } from '../../src/camera/camera.ts';
import { detectImageType } from '../../src/camera/camera.ts';
import { isAbort } from '../../src/base/errors.ts';
import { collect, descendants, eventually, told } from '../fixtures/capture.ts';

export interface CameraUnderTest {
  readonly camera: Camera;
  /** Makes the next capture fail; absent where nothing can be made to fail. */
  readonly spoil?: () => void | Promise<void>;
  readonly mend?: () => void | Promise<void>;
  /** Sockets that the camera holds now, where the other side can count them. */
  readonly connections?: () => number;
  /** The camera may keep its source between captures. */
  readonly persistent?: boolean;
}

const TIMEOUT_S = 40;

/** What every implementation of the port `Camera` owes its callers. `open` is called afresh for each case. */
export function cameraContract(name: string, open: () => Promise<CameraUnderTest>): void {
  /** No process is left at this very moment; the other side sees its socket close a moment later. */
  const released = async (subject: CameraUnderTest): Promise<void> => {
    expect([...descendants('ffmpeg'), ...descendants('capture-stand-in')]).toEqual([]);
    await eventually('connections closed', () => (subject.connections?.() ?? 0) === 0);
  };
  const within = async (ms: number, work: Promise<unknown>): Promise<void> => {
    const startedMs = performance.now();
    await work;
    expect(performance.now() - startedMs).toBeLessThan(ms);
  };

  describe(`camera contract: ${name}`, () => {
    it('yields the wanted frames, spaced as wanted, and releases all', async () => {
      const subject = await open();
      const beganMs = Date.now();
      const { frames, failure } = await collect(subject.camera, {
        frames: 3,
        intervalS: 0.4,
        timeoutS: TIMEOUT_S,
      });
      expect(told(failure)).toBe('null');
      expect(frames).toHaveLength(3);
      for (const [index, frame] of frames.entries()) {
        expect(detectImageType(Buffer.from(frame.bytes))).not.toBeNull();
        expect(frame.capturedAtMs).toBeGreaterThanOrEqual(beganMs - 1);
        expect(frame.capturedAtMs).toBeLessThanOrEqual(Date.now());
        const sinceFirstMs = frame.monoMs - frames[0]!.monoMs;
        expect(sinceFirstMs).toBeGreaterThanOrEqual(index * 400 - 150);
        expect(sinceFirstMs).toBeLessThan(index * 400 + 10_000);
      }
      if (subject.persistent !== true) await released(subject);
      await subject.camera.close();
      await released(subject);
    });

    it('releases all when the loop is left early, and can be used again', async () => {
      const subject = await open();
      const options = { frames: 5, intervalS: 30, timeoutS: TIMEOUT_S };
      for await (const frame of subject.camera.capture(options, new AbortController().signal)) {
        expect(frame.bytes.length).toBeGreaterThan(0);
        break;
      }
      if (subject.persistent !== true) await released(subject);
      expect((await collect(subject.camera, { timeoutS: TIMEOUT_S })).frames).toHaveLength(1);
      await subject.camera.close();
      await released(subject);
    });

    it('rejects and releases all when the signal aborts in the middle', async () => {
      const subject = await open();
      const stop = new AbortController();
      const options = { frames: 2, intervalS: 60, timeoutS: TIMEOUT_S };
      const frames = subject.camera.capture(options, stop.signal)[Symbol.asyncIterator]();
      expect((await frames.next()).done).toBe(false);
      const second = frames.next();
      second.catch(() => undefined);
      setTimeout(() => stop.abort(), 100);
      await within(20_000, expect(second).rejects.toSatisfy(isAbort));
      await released(subject);
      expect((await collect(subject.camera, { timeoutS: TIMEOUT_S })).frames).toHaveLength(1);
      await subject.camera.close();
      await released(subject);
    });

    it('takes nothing when the signal has aborted before, or aborts at once', async () => {
      const subject = await open();
      const { frames, failure } = await collect(subject.camera, {}, AbortSignal.abort());
      expect(frames).toEqual([]);
      expect(isAbort(failure)).toBe(true);
      const stop = new AbortController();
      const early = collect(subject.camera, { frames: 2, intervalS: 60 }, stop.signal);
      stop.abort();
      expect(isAbort((await early).failure)).toBe(true);
      await released(subject);
      await subject.camera.close();
    });

    it('can be closed during a capture, twice, and never opens again', async () => {
      const subject = await open();
      const options = { frames: 2, intervalS: 60, timeoutS: TIMEOUT_S };
      const running = collect(subject.camera, options);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await within(20_000, Promise.all([subject.camera.close(), subject.camera.close()]));
      expect((await running).failure).not.toBeNull();
      await subject.camera.close();
      const after = await collect(subject.camera, { timeoutS: TIMEOUT_S });
      expect(after.frames).toEqual([]);
      expect(after.failure).not.toBeNull();
      await released(subject);
    });

    it('throws a camera_* failure, releases all, and works again afterwards', async () => {
      const subject = await open();
      if (subject.spoil) {
        await subject.spoil();
        const { failure } = await collect(subject.camera, { timeoutS: 3 });
        expect(failure).toMatchObject({
          name: 'AgentError',
          code: expect.stringMatching(/^camera_/) as string,
        });
        await released(subject);
        await subject.mend?.();
      }
      expect(told((await collect(subject.camera, { timeoutS: TIMEOUT_S })).failure)).toBe('null');
      await subject.camera.close();
      await released(subject);
    });
  });
}
