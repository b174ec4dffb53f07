import { describe, expect, it } from 'vitest';
import { isAbort } from '../../../src/base/errors.ts';
import type { Bundle } from '../../../src/model/manifest.ts';
import { SiteCalibrations } from '../../../src/observation/site-calibrations.ts';
import { syntheticSite } from '../../fixtures/labelled.ts';
import { silentLog } from '../../fixtures/store.ts';

const bundle = { embeddingDigest: 'sha256:trunk' } as Bundle;

/** So large that a fit takes many slices, also on a fast machine. */
const DIMENSION = 1280;

/** `values`: what an earlier run has stored. */
function site(values = new Map<string, string>(), labels = 40) {
  const stop = new AbortController();
  const server = { bundle };
  let reads = 0;
  const bursts = () => {
    reads += 1;
    return syntheticSite({ seed: 1, bursts: labels, dimension: DIMENSION });
  };
  const memory = {
    get: (key: string) => values.get(key) ?? null,
    set: (key: string, value: string) => void values.set(key, value),
    delete: (key: string) => void values.delete(key),
  };
  const calibrations = new SiteCalibrations(
    { sessionHours: 6 },
    { log: silentLog, memory, server, store: { labels: { bursts } }, signal: stop.signal },
  );
  return { calibrations, server, stop, values, reads: () => reads };
}
const probe = new Float32Array(DIMENSION).fill(0.5);

describe('SiteCalibrations', () => {
  it('opens a camera without waiting for its first fit; until then there is no height', async () => {
    const { calibrations } = site();
    await calibrations.open('north');
    const north = calibrations.of('north');
    expect(north?.digest).toBeNull();
    expect(north?.estimate(probe, null)).toMatchObject({
      heightM: null,
      reason: 'calibration_pending',
      summary: { labels: 40, sessions: 40, labels_wanted: 0 },
    });
    await calibrations.refit('north');
    expect(north?.estimate(probe, null)).toMatchObject({ reason: null, summary: { labels: 40 } });
  });

  it('fits nothing at a start with a valid stored fit, and gives the same heights', async () => {
    const before = site();
    await before.calibrations.open('north');
    await before.calibrations.refit('north');
    const after = site(new Map(before.values));
    await after.calibrations.open('north');
    expect(after.calibrations.of('north')?.estimate(probe, null)).toEqual(
      before.calibrations.of('north')?.estimate(probe, null),
    );
    expect(after.reads()).toBe(1);
  });

  it('uses the stored fit until later labels are fitted, and stores the new one', async () => {
    const before = site();
    await before.calibrations.open('north');
    await before.calibrations.refit('north');
    const after = site(new Map(before.values), 41);
    await after.calibrations.open('north');
    const labels = () => after.calibrations.of('north')?.estimate(probe, null).summary.labels;
    expect(labels()).toBe(40);
    await expect.poll(labels).toBe(41);
    await expect.poll(() => [...after.values.values()]).not.toEqual([...before.values.values()]);
  });

  it('fits again if the stored fit is damaged, and forgets the fit of a removed camera', async () => {
    const before = site();
    await before.calibrations.open('north');
    await before.calibrations.refit('north');
    const [key = '', text = ''] = [...before.values][0] ?? [];
    const after = site(new Map([[key, text.replace('"ids":["b0000"', '"ids":["b0009"')]]));
    await after.calibrations.open('north');
    expect(after.calibrations.of('north')?.digest).toBeNull();
    await expect.poll(() => after.values.get(key)).toBe(text);
    after.calibrations.forget('north');
    expect(after.values.size).toBe(0);
  });

  it('uses a fit that cannot be stored', async () => {
    const { calibrations, values } = site();
    const full = () => {
      throw new Error('disk full');
    };
    values.set = full;
    await calibrations.open('north');
    expect((await calibrations.refit('north')).labels).toBe(40);
    values.get = full;
    calibrations.forget('north');
    expect(calibrations.of('north')).toBeNull();
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
    await calibrations.refit('north');
    const before = reads();
    await Promise.all(Array.from({ length: 100 }, () => calibrations.refit('north')));
    expect(reads() - before).toBe(2);
  });

  it('reads no labels once the agent stops, at any moment of a fit', async () => {
    const { calibrations, stop, reads } = site();
    await calibrations.open('north');
    await calibrations.refit('north');
    const running = calibrations.refit('north');
    const next = calibrations.refit('north');
    expect(reads()).toBe(3);
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
    expect(reads()).toBe(3);
  });
});
