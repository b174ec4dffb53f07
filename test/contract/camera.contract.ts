import { describe, expect, it } from 'vitest';
import { detectImageType, type Camera } from '../../src/camera/camera.ts';
import { isAbort } from '../../src/base/errors.ts';
import { captureBurst, descendants, eventually, errorText } from '../fixtures/capture.ts';

export interface CameraUnderTest {
  readonly camera: Camera;
  /** Makes the next capture fail; absent when the test cannot cause a failure. */
  readonly breakSource?: () => void | Promise<void>;
  readonly repairSource?: () => void | Promise<void>;
  /** Open sockets of the camera, if the server can count them. */
  readonly connections?: () => number;
  /** True: captures at the same time use one connection. */
  readonly isStream?: boolean;
  /** The camera may keep its source open between captures. */
  readonly persistent?: boolean;
}

const TIMEOUT_S = 40;

/** The contract of every implementation of `Camera`. Each case calls `open`. */
export function cameraContract(name: string, open: () => Promise<CameraUnderTest>): void {
  /** Expects no process now, and no open socket soon: the server notices the end of a connection later. */
  const expectReleased = async (subject: CameraUnderTest): Promise<void> => {
    expect([...descendants('ffmpeg'), ...descendants('capture-stand-in')]).toEqual([]);
    await eventually('connections closed', () => (subject.connections?.() ?? 0) === 0);
  };
  const expectWithin = async (ms: number, work: Promise<unknown>): Promise<void> => {
    const startedMs = performance.now();
    await work;
    expect(performance.now() - startedMs).toBeLessThan(ms);
  };

  describe(`camera contract: ${name}`, () => {
    it('yields the requested frames at the requested interval, and releases its resources', async () => {
      const subject = await open();
      const startedAtMs = Date.now();
      const { frames, failure } = await captureBurst(subject.camera, {
        frames: 3,
        intervalS: 0.4,
        timeoutS: TIMEOUT_S,
      });
      expect(errorText(failure)).toBe('null');
      expect(frames).toHaveLength(3);
      for (const [index, frame] of frames.entries()) {
        expect(detectImageType(Buffer.from(frame.bytes))).not.toBeNull();
        expect(frame.capturedAtMs).toBeGreaterThanOrEqual(startedAtMs - 1);
        expect(frame.capturedAtMs).toBeLessThanOrEqual(Date.now());
        const sinceFirstMs = frame.monoMs - frames[0]!.monoMs;
        expect(sinceFirstMs).toBeGreaterThanOrEqual(index * 400 - 150);
        expect(sinceFirstMs).toBeLessThan(index * 400 + 10_000);
      }
      if (subject.persistent !== true) await expectReleased(subject);
      await subject.camera.close();
      await expectReleased(subject);
    });

    it('releases its resources when the consumer leaves the loop early, and captures again', async () => {
      const subject = await open();
      const options = { frames: 5, intervalS: 30, timeoutS: TIMEOUT_S };
      for await (const frame of subject.camera.capture(options, new AbortController().signal)) {
        expect(frame.bytes.length).toBeGreaterThan(0);
        break;
      }
      if (subject.persistent !== true) await expectReleased(subject);
      expect((await captureBurst(subject.camera, { timeoutS: TIMEOUT_S })).frames).toHaveLength(1);
      await subject.camera.close();
      await expectReleased(subject);
    });

    it('captures a burst during a clip, through one connection if it is a stream', async () => {
      const subject = await open();
      const stop = new AbortController();
      const options = { frames: 50, intervalS: 0.2, timeoutS: TIMEOUT_S, isClip: true };
      const clip = subject.camera.capture(options, stop.signal)[Symbol.asyncIterator]();
      expect((await clip.next()).done).toBe(false);
      const burst = captureBurst(subject.camera, { frames: 2, intervalS: 0.3, timeoutS: TIMEOUT_S });
      const [second, { frames, failure }] = await Promise.all([clip.next(), burst]);
      expect([second.done, errorText(failure), frames.length]).toEqual([false, 'null', 2]);
      expect((await clip.next()).done).toBe(false);
      if (subject.isStream === true) expect(subject.connections?.()).toBe(1);
      await clip.return?.();
      await subject.camera.close();
      await expectReleased(subject);
    });

    it('rejects and releases its resources when the signal aborts during a burst', async () => {
      const subject = await open();
      const stop = new AbortController();
      const options = { frames: 2, intervalS: 60, timeoutS: TIMEOUT_S };
      const frames = subject.camera.capture(options, stop.signal)[Symbol.asyncIterator]();
      expect((await frames.next()).done).toBe(false);
      const second = frames.next();
      second.catch(() => undefined);
      setTimeout(() => stop.abort(), 100);
      await expectWithin(20_000, expect(second).rejects.toSatisfy(isAbort));
      await expectReleased(subject);
      expect((await captureBurst(subject.camera, { timeoutS: TIMEOUT_S })).frames).toHaveLength(1);
      await subject.camera.close();
      await expectReleased(subject);
    });

    it('yields no frame when the signal has aborted before or aborts at once', async () => {
      const subject = await open();
      const { frames, failure } = await captureBurst(subject.camera, {}, AbortSignal.abort());
      expect(frames).toEqual([]);
      expect(isAbort(failure)).toBe(true);
      const stop = new AbortController();
      const early = captureBurst(subject.camera, { frames: 2, intervalS: 60 }, stop.signal);
      stop.abort();
      expect(isAbort((await early).failure)).toBe(true);
      await expectReleased(subject);
      await subject.camera.close();
    });

    it('closes during a capture, also twice, and captures nothing afterwards', async () => {
      const subject = await open();
      const options = { frames: 2, intervalS: 60, timeoutS: TIMEOUT_S };
      const running = captureBurst(subject.camera, options);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await expectWithin(20_000, Promise.all([subject.camera.close(), subject.camera.close()]));
      expect((await running).failure).not.toBeNull();
      await subject.camera.close();
      const after = await captureBurst(subject.camera, { timeoutS: TIMEOUT_S });
      expect(after.frames).toEqual([]);
      expect(after.failure).not.toBeNull();
      await expectReleased(subject);
    });

    it('throws a camera_* error, releases its resources, and captures again afterwards', async () => {
      const subject = await open();
      if (subject.breakSource) {
        await subject.breakSource();
        const { failure } = await captureBurst(subject.camera, { timeoutS: 3 });
        expect(failure).toMatchObject({
          name: 'AgentError',
          code: expect.stringMatching(/^camera_/) as string,
        });
        await expectReleased(subject);
        await subject.repairSource?.();
      }
      expect(errorText((await captureBurst(subject.camera, { timeoutS: TIMEOUT_S })).failure)).toBe('null');
      await subject.camera.close();
      await expectReleased(subject);
    });
  });
}
