import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import type { Camera as CameraSettings } from '../../../src/config/schema.ts';
import type { Bundle } from '../../../src/model/manifest.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import type { Candidate } from '../../../src/model/types.ts';
import { LabelledImages } from '../../../src/observation/labelled-images.ts';
import { Reembedder } from '../../../src/observation/reembedding.ts';
import { InProcessVision } from '../../../src/vision/in-process.ts';
import { factoryBundleDir } from '../../fixtures/bundles.ts';
import { leaseOf } from '../../fixtures/lease.ts';
import { draft, burstFeatures, silentLog } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const NORTH = { id: 'north', roi: null, privacyMasks: [] } as unknown as CameraSettings;
const NEVER = new AbortController().signal;
const NO_FIGURE = {
  labels: 0,
  labels_wanted: 8,
  loo_mae_m: null,
  loo_median_mae_m: null,
  view: 'unknown',
} as const;

/** A picture that depends on the height: what the model makes of it can be learned from. */
const sea = (heightM: number): Promise<Buffer> =>
  sharp({
    create: { width: 1280, height: 720, channels: 3, background: { r: 20 + heightM * 60, g: 90, b: 160 } },
  })
    .jpeg()
    .toBuffer();

describe('a model with another trunk', () => {
  const state = useStore({}, { clock: systemClock });
  let factory: Bundle;
  let vision: InProcessVision;
  let pictures: LabelledImages;
  let retrunk: Reembedder;

  const makePictures = (maxBytes?: number): LabelledImages =>
    new LabelledImages(
      { dir: join(state.dir, 'pictures'), ...(maxBytes === undefined ? {} : { maxBytes }) },
      {
        clock: systemClock,
        log: silentLog,
        render: (bytes, options) => vision.render(bytes, options),
        labelled: (camera) => state.store.labels.list(camera).map(({ observationId }) => observationId),
      },
    );
  const makeRetrunk = (bundle: Bundle, refit = vi.fn(() => Promise.resolve(NO_FIGURE))): Reembedder =>
    new Reembedder({
      clock: systemClock,
      log: silentLog,
      store: state.store,
      pictures,
      cameras: () => [NORTH],
      summaryOf: () => ({ ...NO_FIGURE, loo_mae_m: 0.3 }),
      serving: {
        bundle,
        lease: () => leaseOf(vision),
      },
      refit,
    });
  const candidate = (bundle: Bundle): Candidate => ({
    bundle,
    report: vision.report,
    analyze: (bytes, options) => vision.analyze(bytes, options),
    stats: () => vision.stats(),
    close: () => Promise.resolve(),
  });
  const observe = async (heightM: number, keepPicture = true): Promise<string> => {
    const { id } = state.store.append(draft(), burstFeatures([heightM, 1]));
    if (keepPicture) await pictures.keep(NORTH, id, await sea(heightM), true);
    state.store.labels.add({ observationId: id, heightM, observer: null, note: null });
    return id;
  };

  beforeEach(async () => {
    factory = await openBundle(factoryBundleDir);
    vision = await InProcessVision.open({ bundle: factory }, { clock: systemClock });
    pictures = makePictures();
    retrunk = makeRetrunk({ ...factory, embeddingDigest: 'trunk' });
  });
  afterEach(async () => {
    await vision.close();
  });

  it('learns from the stored pictures of labels given before, and says what it will be worth', async () => {
    const digest = factory.embeddingDigest ?? '';
    for (const heightM of [0.2, 0.6, 1, 1.4, 1.8, 2.2, 2.6, 3]) await observe(heightM);
    await observe(2, false);
    const [north] = await retrunk.forecast(candidate(factory), NEVER);
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
    // What the former trunk saw is still there for the way back.
    expect(state.store.labels.bursts('north', 'trunk')).toHaveLength(9);
    const once = vi.spyOn(vision, 'analyze');
    await retrunk.forecast(candidate(factory), NEVER);
    expect(once).not.toHaveBeenCalled();
  });

  it('keeps a calibration of the same trunk, has none to lose without labels, and loses one without pictures', async () => {
    const same = makeRetrunk(factory);
    expect(await same.forecast(candidate(factory), NEVER)).toMatchObject([{ outcome: 'none', labels: 0 }]);
    await observe(1, false);
    expect(await retrunk.forecast(candidate(factory), NEVER)).toMatchObject([
      { outcome: 'lost', labels: 1, refittedLabels: 0, looMaeAfterM: null },
    ]);
    expect(await same.forecast(candidate(factory), NEVER)).toMatchObject([{ outcome: 'kept', labels: 1 }]);
    expect(await retrunk.forecast(candidate({ ...factory, embeddingDigest: null }), NEVER)).toMatchObject([
      { outcome: 'lost' },
    ]);
  });

  it('survives broken pictures, and a model that fails on every one', async () => {
    const broken = await observe(1);
    await observe(2);
    const [name = ''] = readdirSync(join(state.dir, 'pictures/north')).filter((one) => one.includes(broken));
    writeFileSync(join(state.dir, 'pictures/north', name), '');
    expect(await retrunk.forecast(candidate(factory), NEVER)).toMatchObject([
      { outcome: 'refitted', refittedLabels: 1 },
    ]);
    const bad = {
      ...candidate({ ...factory, embeddingDigest: 'bad' }),
      analyze: vi.fn().mockRejectedValue(new Error('x')),
    };
    expect(await retrunk.forecast(bad, NEVER)).toMatchObject([{ outcome: 'lost' }]);
    await expect(
      retrunk.forecast(candidate({ ...factory, embeddingDigest: 'other' }), AbortSignal.abort()),
    ).rejects.toThrow(/abort/i);
  });

  it('catches up, while it serves, with labels that came in between', async () => {
    const refit = vi.fn(() => Promise.resolve(NO_FIGURE));
    const serving = makeRetrunk(factory, refit);
    await observe(1);
    const stop = new AbortController();
    const running = serving.run(stop.signal);
    await expect.poll(() => refit.mock.calls).toEqual([['north']]);
    expect(state.store.labels.bursts('north', factory.embeddingDigest ?? '')).toHaveLength(1);
    await observe(2);
    serving.nudge();
    await expect.poll(() => refit.mock.calls.length).toBe(2);
    stop.abort();
    await expect(running).rejects.toThrow(/abort/i);
  });

  it('finds pictures only as long as they are masked as the camera is now', async () => {
    const id = await observe(1);
    expect(await makePictures().read(NORTH, id)).not.toBeNull();
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
    expect(await pictures.read(masked, id)).toBeNull();
    const other = await observe(2, false);
    await pictures.keep(masked, other, await sea(2), true);
    expect(readdirSync(join(state.dir, 'pictures/north'))).toEqual([expect.stringContaining(other)]);
  });

  it('keeps pictures within their bound, those with a label longest', async () => {
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
    pictures = makePictures(3 * length + 100);
    const labelled = await observe(1);
    const unlabelled: string[] = [];
    for (let count = 0; count < 45; count += 1) {
      const { id } = state.store.append(draft(), burstFeatures([1]));
      unlabelled.push(id);
      await pictures.keep(NORTH, id, noise, true);
    }
    expect(await pictures.has('north', labelled)).toBe(true);
    expect(await pictures.has('north', unlabelled[0] ?? '')).toBe(false);
    expect(readdirSync(join(state.dir, 'pictures/north')).length).toBeLessThan(25);
  });

  it('keeps one picture of observations that follow each other quickly', async () => {
    const [first, second] = [
      state.store.append(draft(), burstFeatures([1])),
      state.store.append(draft(), burstFeatures([1])),
    ];
    await pictures.keep(NORTH, first.id, await sea(1));
    await pictures.keep(NORTH, second.id, await sea(1));
    expect([await pictures.has('north', first.id), await pictures.has('north', second.id)]).toEqual([
      true,
      false,
    ]);
  });
});
