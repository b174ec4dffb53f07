import { describe, expect, it } from 'vitest';
import { isAbort } from '../../../src/base/errors.ts';
import type { Bundle } from '../../../src/model/manifest.ts';
import { SiteCalibrations } from '../../../src/observation/site-calibrations.ts';
import { syntheticSite } from '../../fixtures/labelled.ts';
import { silentLog } from '../../fixtures/store.ts';

const bundle = { embeddingDigest: 'sha256:trunk' } as Bundle;

function site() {
  const stop = new AbortController();
  const server = { bundle };
  let reads = 0;
  const bursts = () => {
    reads += 1;
    return syntheticSite({ seed: 1, bursts: 40 });
  };
  const calibrations = new SiteCalibrations({
    log: silentLog,
    server,
    store: { labels: { bursts } },
    signal: stop.signal,
  });
  return { calibrations, server, stop, reads: () => reads };
}

describe('SiteCalibrations', () => {
  it('fits the calibration of a camera when it is opened', async () => {
    const { calibrations } = site();
    await calibrations.open('north');
    expect(calibrations.of('north')?.summary().labels).toBe(40);
  });

  it('has no calibration for a model without an embedding, and refuses to fit one', async () => {
    const { calibrations, server, reads } = site();
    server.bundle = { ...bundle, embeddingDigest: null };
    await calibrations.open('north');
    expect([calibrations.of('north'), reads()]).toEqual([null, 0]);
    await expect(calibrations.refit('north')).rejects.toMatchObject({ code: 'calibration_invalid' });
  });

  it('uses a prepared calibration from the moment when its model is the active one', async () => {
    const { calibrations, server } = site();
    await calibrations.open('north');
    const next = { ...bundle, embeddingDigest: 'sha256:next' };
    await calibrations.prepare(['north'], next);
    expect(calibrations.of('north')?.embeddingDigest).toBe('sha256:trunk');
    server.bundle = next;
    calibrations.relearn(['north']);
    expect(calibrations.of('north')).toMatchObject({ embeddingDigest: 'sha256:next' });
    expect(calibrations.of('north')?.summary().labels).toBe(40);
  });

  it('fits twice for many requests at once', async () => {
    const { calibrations, reads } = site();
    await calibrations.open('north');
    const before = reads();
    await Promise.all(Array.from({ length: 100 }, () => calibrations.refit('north')));
    expect(reads() - before).toBe(2);
  });

  it('reads no labels once the agent stops, at any moment of a fit', async () => {
    const { calibrations, stop, reads } = site();
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
    expect(reads()).toBe(2);
  });
});
