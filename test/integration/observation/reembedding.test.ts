import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { timeOrderedUuid } from '../../../src/base/uuid.ts';
import type { Camera as CameraSettings } from '../../../src/config/schema.ts';
import { SiteCalibration, UNCALIBRATED } from '../../../src/calibration/site-calibration.ts';
import type { Bundle } from '../../../src/model/manifest.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import type { Candidate } from '../../../src/model/types.ts';
import { LabelledImages } from '../../../src/observation/labelled-images.ts';
import { Reembedder } from '../../../src/observation/reembedding.ts';
import { InProcessVision } from '../../../src/vision/in-process.ts';
import { factoryBundleDir } from '../../fixtures/bundles.ts';
import { leaseOf } from '../../fixtures/lease.ts';
import { burstFeatures, draft, silentLog } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const NORTH = { id: 'north', roi: null, privacyMasks: [] } as unknown as CameraSettings;
const NEVER = new AbortController().signal;
/** An image that depends on the height, so that a calibration can be fitted to its embedding. */
const sea = (heightM: number): Promise<Buffer> =>
  sharp({
    create: { width: 1280, height: 720, channels: 3, background: { r: 20 + heightM * 60, g: 90, b: 160 } },
  })
    .jpeg()
    .toBuffer();

describe('Reembedder and LabelledImages', () => {
  const state = useStore({}, { clock: systemClock });
  let factory: Bundle;
  let vision: InProcessVision;
  let images: LabelledImages;
  let reembedder: Reembedder;

  const openImages = (maxBytes?: number): LabelledImages =>
    new LabelledImages(
      { stateDir: state.dir, ...(maxBytes === undefined ? {} : { maxBytes }) },
      {
        clock: systemClock,
        log: silentLog,
        server: { lease: () => leaseOf(vision) },
        store: state.store,
        signal: NEVER,
      },
    );
  const createReembedder = (bundle: Bundle, refit = vi.fn(() => Promise.resolve(UNCALIBRATED))): Reembedder =>
    new Reembedder({
      clock: systemClock,
      log: silentLog,
      store: state.store,
      images,
      cameras: {
        list: () => [{ settings: NORTH, calibrationSummary: () => ({ ...UNCALIBRATED, loo_mae_m: 0.3 }) }],
        refit,
      },
      // These labels were given at one time: without hours between sessions, each is one.
      calibrations: {
        create: (camera, embeddingDigest) =>
          new SiteCalibration({ camera, embeddingDigest, sessionHours: 0 }),
      },
      server: { bundle, lease: () => leaseOf(vision) },
    });
  const candidate = (bundle: Bundle): Candidate => ({
    bundle,
    analyze: (bytes, options) => vision.analyze(bytes, options),
    close: () => Promise.resolve(),
  });
  const observe = async (heightM: number, keepImage = true): Promise<string> => {
    const { id } = state.store.append(draft(), burstFeatures([heightM, 1]));
    if (keepImage) await images.keep(NORTH, id, await sea(heightM), true);
    state.store.labels.add({ observationId: id, heightM, observer: null, note: null });
    return id;
  };

  beforeEach(async () => {
    factory = await openBundle(factoryBundleDir);
    vision = await InProcessVision.open({ bundle: factory }, { clock: systemClock });
    images = openImages();
    reembedder = createReembedder({ ...factory, embeddingDigest: 'trunk' });
  });
  afterEach(async () => {
    await vision.close();
  });

  it('embeds the stored images of earlier labels and forecasts the error of the calibration', async () => {
    const digest = factory.embeddingDigest ?? '';
    for (const heightM of [0.2, 0.6, 1, 1.4, 1.8, 2.2, 2.6, 3]) await observe(heightM);
    await observe(2, false);
    const [north] = await reembedder.forecast(candidate(factory), NEVER);
    expect(north).toMatchObject({
      camera: 'north',
      labels: 9,
      outcome: 'refitted',
      refittedLabels: 8,
      looMaeBeforeM: 0.3,
      looMaeAfterM: expect.any(Number) as number,
    });
    expect(north?.looMaeAfterM).toBeLessThan(0.8);
    const bursts = state.store.labels.bursts('north', digest);
    expect(bursts).toHaveLength(8);
    expect(bursts[0]?.embedding).toHaveLength(1280);
    expect(bursts[0]?.view).not.toBeNull();
    // The embeddings of the former model are kept for a rollback.
    expect(state.store.labels.bursts('north', 'trunk')).toHaveLength(9);
    const once = vi.spyOn(vision, 'analyze');
    await reembedder.forecast(candidate(factory), NEVER);
    expect(once).not.toHaveBeenCalled();
  });

  it('forecasts kept for the same embedding, none without labels and lost without images', async () => {
    const same = createReembedder(factory);
    expect(await same.forecast(candidate(factory), NEVER)).toMatchObject([{ outcome: 'none', labels: 0 }]);
    await observe(1, false);
    expect(await reembedder.forecast(candidate(factory), NEVER)).toMatchObject([
      { outcome: 'lost', labels: 1, refittedLabels: 0, looMaeAfterM: null },
    ]);
    expect(await same.forecast(candidate(factory), NEVER)).toMatchObject([{ outcome: 'kept', labels: 1 }]);
    expect(await reembedder.forecast(candidate({ ...factory, embeddingDigest: null }), NEVER)).toMatchObject([
      { outcome: 'lost' },
    ]);
  });

  it('skips broken images and gives up a model that fails on every image', async () => {
    const broken = await observe(1);
    await observe(2);
    const [name = ''] = readdirSync(join(state.dir, 'pictures/north')).filter((one) => one.includes(broken));
    writeFileSync(join(state.dir, 'pictures/north', name), '');
    expect(await reembedder.forecast(candidate(factory), NEVER)).toMatchObject([
      { outcome: 'refitted', refittedLabels: 1 },
    ]);
    const bad = {
      ...candidate({ ...factory, embeddingDigest: 'bad' }),
      analyze: vi.fn().mockRejectedValue(new Error('x')),
    };
    expect(await reembedder.forecast(bad, NEVER)).toMatchObject([{ outcome: 'lost' }]);
    await expect(
      reembedder.forecast(candidate({ ...factory, embeddingDigest: 'other' }), AbortSignal.abort()),
    ).rejects.toThrow(/abort/i);
  });

  it('embeds labels that came since the last run when it is nudged', async () => {
    const refit = vi.fn(() => Promise.resolve(UNCALIBRATED));
    const active = createReembedder(factory, refit);
    await observe(1);
    const stop = new AbortController();
    const running = active.run(stop.signal);
    await expect.poll(() => refit.mock.calls).toEqual([['north']]);
    expect(state.store.labels.bursts('north', factory.embeddingDigest ?? '')).toHaveLength(1);
    await observe(2);
    active.nudge();
    await expect.poll(() => refit.mock.calls.length).toBe(2);
    stop.abort();
    await expect(running).rejects.toThrow(/abort/i);
  });

  it('reads only images with the present privacy masks and deletes the others', async () => {
    const id = await observe(1);
    expect(await openImages().read(NORTH, id)).not.toBeNull();
    const masked = {
      ...NORTH,
      privacyMasks: [
        [
          [0, 0],
          [1, 0],
          [1, 1],
        ],
      ],
    } as unknown as CameraSettings;
    expect(await images.read(masked, id)).toBeNull();
    const other = await observe(2, false);
    await images.keep(masked, other, await sea(2), true);
    expect(readdirSync(join(state.dir, 'pictures/north'))).toEqual([expect.stringContaining(other)]);
  });

  it('keeps within its bound and deletes images without a label first', async () => {
    const noise = await sharp({
      create: {
        width: 640,
        height: 360,
        channels: 3,
        background: '#888',
        noise: { type: 'gaussian', mean: 128, sigma: 60 },
      },
    })
      .jpeg()
      .toBuffer();
    const { length } = await vision.render(noise, {
      privacyMasks: [],
      roi: null,
      maxWidthPx: 640,
      lines: [],
    });
    images = openImages(3 * length + 100);
    const labelled = await observe(1);
    const unlabelled: string[] = [];
    for (let count = 0; count < 45; count += 1) {
      const { id } = state.store.append(draft(), burstFeatures([1]));
      unlabelled.push(id);
      await images.keep(NORTH, id, noise, true);
    }
    expect(await images.has('north', labelled)).toBe(true);
    expect(await images.has('north', unlabelled[0] ?? '')).toBe(false);
    expect(readdirSync(join(state.dir, 'pictures/north')).length).toBeLessThan(25);
  });

  it('stores one image of observations within the minimum interval', async () => {
    const [first, second] = [
      state.store.append(draft(), burstFeatures([1])),
      state.store.append(draft(), burstFeatures([1])),
    ];
    await images.keep(NORTH, first.id, await sea(1));
    await images.keep(NORTH, second.id, await sea(1));
    expect([await images.has('north', first.id), await images.has('north', second.id)]).toEqual([
      true,
      false,
    ]);
  });

  it('uses the nearest image for a label of an observation without one, and keeps that image', async () => {
    const startMs = Date.UTC(2026, 5, 1);
    const append = (minute: number): string => {
      const id = timeOrderedUuid(startMs + minute * 60_000);
      return state.store.append(draft({ id }), burstFeatures([1])).id;
    };
    const [first, near, far, last] = [0, 4, 30, 10].map(append) as [string, string, string, string];
    await images.keep(NORTH, first, await sea(1), true);
    await images.keep(NORTH, last, await sea(3), true);
    state.store.labels.add({ observationId: near, heightM: 1, observer: null, note: null });
    expect(await images.read(NORTH, near)).toEqual(await images.read(NORTH, first));
    expect(await images.read(NORTH, far)).toBeNull();
    expect(await images.read(NORTH, 'clip-1')).toBeNull();
    // The image of the label stays when others are deleted.
    images = openImages(((await images.read(NORTH, first))?.length ?? 0) + 1);
    for (let n = 0; n < 20; n += 1) await images.keep(NORTH, append(100 + n), await sea(2), true);
    expect([await images.has('north', first), await images.has('north', last)]).toEqual([true, false]);
  });
});
