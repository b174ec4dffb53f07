import { expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import type { Camera } from '../../../src/camera/camera.ts';
import { AgentError } from '../../../src/base/errors.ts';
import { CameraRunner, type CameraRunnerDeps } from '../../../src/observation/camera-runner.ts';
import { leaseOf } from '../../fixtures/lease.ts';
import { silentLog } from '../../fixtures/store.ts';

it('abandons a capture on request at a stop, and records no camera failure', async () => {
  let end: (error: Error) => void = () => undefined;
  const camera: Camera = {
    id: 'north',
    // Gives nothing, until it is closed.
    capture: () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise((_resolve, reject) => (end = reject)),
      }),
    }),
    close: () => {
      end(new AgentError('camera_ended', 'closed'));
      return Promise.resolve();
    },
  };
  const append = vi.fn<CameraRunnerDeps['append']>();
  const raise = vi.fn<CameraRunnerDeps['raise']>();
  const stop = new AbortController();
  const runner = new CameraRunner(
    {
      settings: { id: 'north', schedule: {}, burst: { frames: 1, intervalS: 1 }, timeoutS: 10 },
      context: () => ({ site: 's', device: 'd', bootId: 'b', model: null, provider: null }),
    } as never,
    {
      camera,
      schedule: {
        async *slots(signal: AbortSignal) {
          yield* [];
          await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        },
        nextRunAtMs: () => null,
        wakeMonoMs: null,
        description: 'never',
      },
      lease: () => leaseOf({ analyze: () => Promise.reject(new Error('this camera gives no frame')) }),
      calibration: () => null,
      clock: systemClock,
      log: silentLog,
      append,
      raise,
      onObserved: () => undefined,
      onState: () => undefined,
    },
  );
  const running = runner.run(stop.signal);
  const captured = runner.capture(new AbortController().signal);
  const outcome = expect(captured).rejects.toMatchObject({ code: 'vision_closed' });
  await new Promise((resolve) => setImmediate(resolve));
  stop.abort();
  await running;
  await outcome;
  expect(append).not.toHaveBeenCalled();
  expect(raise).not.toHaveBeenCalled();
});
