import { describe, expect, it } from 'vitest';
import { Analysis } from '../../../src/analysis/analysis.ts';
import { systemClock } from '../../../src/base/clock.ts';
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
