import { describe, expect, it } from 'vitest';
import { Analysis } from '../../../src/analysis/analysis.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { AgentError } from '../../../src/base/errors.ts';
import type { Camera as CameraSettings } from '../../../src/config/schema.ts';
import { leaseOf } from '../../fixtures/lease.ts';

const never = new AbortController().signal;

/** Three images that wait for a model that never answers, until the signal aborts. */
function analysisWithThreeImages(frameMs: number | null, signal = never): Analysis {
  const analysis = new Analysis(
    { maxUploadMb: 20 },
    {
      clock: systemClock,
      server: {
        lease: () =>
          leaseOf({
            analyze: (_bytes, _options, aborted) =>
              new Promise((_resolve, reject) => {
                aborted?.addEventListener('abort', () => reject(aborted.reason as Error));
              }),
          }),
        model: null,
        stats: () => ({ p50Ms: frameMs }),
      },
      cameras: { settingsOf: () => undefined, calibrationOf: () => null },
    },
  );
  for (const image of ['a', 'b', 'c'])
    void analysis.analyze(Buffer.from(image), {}, signal).catch(() => undefined);
  return analysis;
}

/** A model whose process crashes on every image, and the number of crashes. */
function crashingAnalysis() {
  let crashes = 0;
  const analysis = new Analysis(
    { maxUploadMb: 20 },
    {
      clock: systemClock,
      server: {
        lease: () =>
          leaseOf({
            analyze: async () => {
              await new Promise((resolve) => setImmediate(resolve));
              crashes += 1;
              throw new AgentError('vision_crashed', 'gone');
            },
          }),
        model: null,
        stats: () => ({ p50Ms: 1 }),
      },
      cameras: {
        settingsOf: (id) => ({ id, roi: null, privacyMasks: [] }) as unknown as CameraSettings,
        calibrationOf: () => null,
      },
    },
  );
  return { analysis, crashes: () => crashes };
}

function busyError(analysis: Analysis): unknown {
  try {
    for (let request = 0; request < 65; request += 1) analysis.reserveUpload(1);
  } catch (thrown) {
    return thrown;
  }
  return null;
}

describe('Analysis', () => {
  it.each([
    [6400, 20],
    [1, 1],
    [100_000, 60],
    [null, 2],
  ])('asks to retry when the images in the queue are done (%s ms each: %s s)', (frameMs, retryAfterS) => {
    expect(busyError(analysisWithThreeImages(frameMs))).toMatchObject({
      code: 'vision_busy',
      context: { retryAfterS },
    });
  });

  it('counts images that wait behind the two at the vision process, and forgets those whose client has gone', async () => {
    const gone = new AbortController();
    const analysis = analysisWithThreeImages(null, gone.signal);
    expect(analysis.stats().waiting).toBe(1);
    gone.abort();
    await expect.poll(() => analysis.stats().waiting).toBe(0);
    expect(busyError(analysis)).toMatchObject({ context: { retryAfterS: 1 } });
  });
});

describe('Analysis of an image that crashes the vision process', () => {
  it('refuses the image after two crashes, also when it is sent for ten cameras at the same time', async () => {
    const { analysis, crashes } = crashingAnalysis();
    const image = Buffer.from('poison');
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, (_, n) => analysis.analyze(image, { camera: `camera-${n}` }, never)),
    );
    const codes = results.map((result) =>
      result.status === 'rejected' ? (result.reason as AgentError).code : result.status,
    );
    expect(crashes()).toBe(2);
    expect(codes.filter((code) => code === 'image_corrupt')).toHaveLength(8);
  });
});
