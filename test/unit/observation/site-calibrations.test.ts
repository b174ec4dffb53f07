import { describe, expect, it } from 'vitest';
import { isAbort } from '../../../src/base/errors.ts';
import type { Bundle } from '../../../src/model/manifest.ts';
import { SiteCalibrations } from '../../../src/observation/site-calibrations.ts';
import { syntheticSite } from '../../fixtures/labelled.ts';
import { silentLog } from '../../fixtures/store.ts';

const bundle = { embeddingDigest: 'sha256:trunk' } as Bundle;

function site() {
  const stop = new AbortController();
  const learned: string[] = [];
  let reads = 0;
  const calibrations = new SiteCalibrations({
    log: silentLog,
    serving: { bundle },
    labels: {
      bursts: () => {
        reads += 1;
        return syntheticSite({ seed: 1, bursts: 40 });
      },
    },
    onLearned: (camera) => learned.push(camera),
    signal: stop.signal,
  });
  return { calibrations, learned, stop, reads: () => reads };
}

describe('SiteCalibrations', () => {
  it('tells once the labels of a camera are learned', async () => {
    const { calibrations, learned } = site();
    await calibrations.open('north');
    expect(learned).toEqual(['north']);
    expect(calibrations.of('north')?.summary().labels).toBe(40);
  });

  it('asks the store for nothing once the agent stops, in whatever moment of a fit that is', async () => {
    const { calibrations, learned, stop, reads } = site();
    await calibrations.open('north');
    const running = calibrations.refit('north');
    const next = calibrations.refit('north');
    expect(reads()).toBe(2);
    stop.abort();
    const settled = await Promise.allSettled([
      running,
      next,
      calibrations.refit('north'),
      calibrations.prepare(['south'], { ...bundle, embeddingDigest: 'sha256:another' }),
    ]);
    expect(settled.map((fit) => fit.status === 'rejected' && isAbort(fit.reason))).toEqual(
      Array.from({ length: 4 }, () => true),
    );
    expect([learned, reads()]).toEqual([['north'], 2]);
  });
});
