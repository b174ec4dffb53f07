import { describe, expect, it, onTestFinished } from 'vitest';
import { Analysis } from '../../src/analysis/analysis.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { VisionProcess } from '../../src/vision/vision-process.ts';
import { childPids } from '../fixtures/children.ts';
import { until } from '../fixtures/mosquitto.ts';
import { solid } from '../fixtures/png.ts';
import { leaseOf } from '../fixtures/lease.ts';
import { startVision } from '../fixtures/vision-process.ts';

const never = new AbortController().signal;

/** Uploads to a vision process without a quality gate, so that images of one colour are analyzed. */
const analysisWith = (vision: VisionProcess): Analysis =>
  new Analysis(
    { maxUploadMb: 20 },
    {
      clock: systemClock,
      server: {
        lease: () =>
          leaseOf({
            analyze: (bytes, options, signal) =>
              vision.analyze(bytes, { ...options, ignoreGate: true }, signal),
          }),
        model: null,
        stats: () => ({ p50Ms: null }),
      },
      cameras: { settingsOf: () => undefined, calibrationOf: () => null },
    },
  );

describe('uploaded images and crashes of the vision process', () => {
  it('counts the crash of an image whose client has disconnected', async () => {
    const { vision, events } = await startVision('loop-when-red', { timeoutS: 1 });
    const analysis = analysisWith(vision);
    const red = await solid('#ff0000');
    for (let time = 0; time < 2; time += 1) {
      const gone = AbortSignal.timeout(100);
      await expect(analysis.analyze(red, {}, gone)).rejects.toMatchObject({ code: 'vision_timeout' });
    }
    await expect(analysis.analyze(red, {}, never)).rejects.toMatchObject({ code: 'image_corrupt' });
    expect(events.filter(({ type }) => type === 'exited')).toHaveLength(2);
  });

  it('does not blame images that wait while restarts fail', async () => {
    const { vision, events } = await startVision('heads');
    const analysis = analysisWith(vision);
    const blue = await solid('#0000ff');
    const killer = setInterval(() => {
      for (const pid of childPids('vision/child/process')) process.kill(pid, 'SIGKILL');
    }, 30);
    onTestFinished(() => clearInterval(killer));
    // The first process, and a restarted one.
    await until(() => events.filter(({ type }) => type === 'exited').length >= 2, 'two exits');
    for (let time = 0; time < 3; time += 1) {
      const failed = analysis.analyze(blue, {}, never);
      await expect(failed).rejects.toMatchObject({ code: 'vision_start_failed' });
    }
    clearInterval(killer);
    await until(() => vision.stats().ready, 'a running process');
    expect((await analysis.analyze(blue, {}, never)).model).toBeDefined();
  });
});
