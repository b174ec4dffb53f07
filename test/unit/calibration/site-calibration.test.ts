import { describe, expect, it } from 'vitest';
import { SiteCalibration } from '../../../src/calibration/site-calibration.ts';
import { burst, drawnView, randomFrom, syntheticSite } from '../../fixtures/labelled.ts';

const site = () => new SiteCalibration({ camera: 'north', embeddingDigest: 'sha256:trunk', sessionHours: 6 });
const anyEmbedding = Float32Array.from({ length: 64 }, (_, k) => k / 64);

describe('SiteCalibration', () => {
  it('gives no height without labels', () => {
    expect(site().estimate(anyEmbedding, null)).toMatchObject({
      heightM: null,
      basis: null,
      reason: 'uncalibrated',
      medianM: null,
      summary: { labels: 0, labels_wanted: 8, sessions: 0, labels_kept: 0, loo_mae_m: null, view: 'unknown' },
    });
  });

  it('gives the median with a wide interval for one to seven labels, and counts the missing labels', () => {
    const labelled = syntheticSite({ seed: 1, bursts: 7 });
    for (let n = 1; n <= 7; n += 1) {
      const calibration = site();
      calibration.fitNow(labelled.slice(0, n));
      const estimate = calibration.estimate(anyEmbedding, null);
      expect(estimate).toMatchObject({ basis: 'site_median', coverage: 0.8, reason: null });
      expect(estimate.heightM).toBe(estimate.medianM);
      expect(estimate.summary).toMatchObject({ labels: n, labels_wanted: 8 - n });
      expect(estimate.highM! - estimate.lowM!).toBeGreaterThan(0.4);
    }
  });

  it('uses ridge regression from eight labels if it is better than the median', () => {
    const all = syntheticSite({ seed: 2, bursts: 80 });
    const calibration = site();
    const { summary } = calibration.fitNow(all.slice(0, 30));
    expect(summary.loo_mae_m).toBeLessThan(summary.loo_median_mae_m!);
    const rest = all.slice(30).map(({ label, embedding }) => ({
      truthM: label.heightM,
      estimate: calibration.estimate(embedding, null),
    }));
    expect(new Set(rest.map(({ estimate }) => estimate.basis))).toEqual(new Set(['site_calibrated']));
    const mae = (of: (r: (typeof rest)[number]) => number) =>
      rest.reduce((sum, r) => sum + Math.abs(of(r) - r.truthM), 0) / rest.length;
    expect(mae((r) => r.estimate.heightM!)).toBeLessThan(0.6 * mae((r) => r.estimate.medianM!));
  });

  it('uses the median if the embedding does not depend on the height', () => {
    const { normal, uniform } = randomFrom(8);
    const noise = Array.from({ length: 24 }, (_, i) =>
      burst(
        `n${i}`,
        0.5 + uniform(),
        Array.from({ length: 64 }, () => normal()),
        { createdAtMs: i },
      ),
    );
    const calibration = site();
    calibration.fitNow(noise);
    expect(calibration.estimate(anyEmbedding, null)).toMatchObject({ basis: 'site_median' });
  });

  it('uses the median if all labels are equal, also for a flat sea', () => {
    for (const heightM of [0, 0.7]) {
      const calibration = site();
      calibration.fitNow(
        syntheticSite({ seed: 3, bursts: 12 }).map((one) => ({ ...one, label: { ...one.label, heightM } })),
      );
      expect(calibration.estimate(anyEmbedding, null)).toMatchObject({ heightM, basis: 'site_median' });
    }
  });

  it('needs several sessions: 19 labels of one session count as one', () => {
    const calibration = site();
    const { summary } = calibration.fitNow(
      syntheticSite({ seed: 4, bursts: 20 }).map((one, i) => ({
        ...one,
        label: { ...one.label, group: i < 19 ? 'monday' : 'tuesday' },
      })),
    );
    expect(summary).toMatchObject({ labels: 20, sessions: 2, labels_wanted: 6 });
    expect(calibration.estimate(anyEmbedding, null).basis).toBe('site_median');
  });

  it('ignores impossible labels, and limits the influence of a typing error', () => {
    const sound = syntheticSite({ seed: 5, bursts: 20 });
    const calibration = site();
    const { ignored } = calibration.fitNow([
      ...sound,
      burst('typed-30', 30, anyEmbedding),
      burst('negative', -1, anyEmbedding),
      burst('nan', NaN, anyEmbedding),
    ]);
    expect(ignored.map(({ observationId }) => observationId).sort()).toEqual(['nan', 'negative', 'typed-30']);
    const slipped = site();
    slipped.fitNow([...sound, burst('typed-14', 14, anyEmbedding), burst('zero', 0, anyEmbedding)]);
    for (const { embedding } of sound) {
      const { heightM, lowM, highM } = slipped.estimate(embedding, null);
      expect(heightM).toBeGreaterThanOrEqual(0);
      expect(heightM).toBeLessThan(4);
      expect(lowM! <= heightM! && heightM! <= highM!).toBe(true);
    }
  });

  it('uses the last of several labels of one observation', () => {
    const calibration = site();
    const outcome = calibration.fitNow([
      burst('twice', 2, anyEmbedding, { createdAtMs: 2 }),
      burst('twice', 1, anyEmbedding, { createdAtMs: 1 }),
    ]);
    expect(outcome.summary.labels).toBe(1);
    expect(calibration.estimate(anyEmbedding, null).medianM).toBe(2);
  });

  it('rejects embeddings that are broken or from another model', () => {
    const calibration = site();
    const { ignored, summary } = calibration.fitNow([
      ...syntheticSite({ seed: 6, bursts: 9 }),
      burst(
        'nan',
        1,
        anyEmbedding.map((v, k) => (k === 3 ? NaN : v)),
      ),
      burst('short', 1, [1, 2, 3]),
    ]);
    expect(summary.labels).toBe(9);
    expect(ignored.map(({ reason }) => reason)).toEqual(['embedding_invalid', 'embedding_invalid']);
    for (const bad of [
      Float32Array.of(NaN),
      new Float32Array(64).fill(Infinity),
      new Float32Array(0),
      new Float32Array(32),
    ])
      expect(() => calibration.estimate(bad, null)).toThrow(
        expect.objectContaining({ code: 'vision_output_invalid' }) as Error,
      );
  });

  it('fits the newest 200 labels and counts the older ones', () => {
    const outcome = site().fitNow(syntheticSite({ seed: 7, bursts: 230, dimension: 8 }));
    expect(outcome).toMatchObject({ tooOld: 30, summary: { labels: 200, labels_wanted: 0 } });
  });

  it('keeps the result of the later of two overlapping fits', async () => {
    const labelled = syntheticSite({ seed: 9, bursts: 60, dimension: 1280 });
    const calibration = site();
    const first = calibration.fit(labelled);
    const second = calibration.fit(labelled.slice(0, 5));
    await Promise.all([first, second]);
    expect(calibration.summary().labels).toBe(5);
    expect(calibration.bursts()).toHaveLength(5);
  });

  it('gives no height after the camera moved, and starts again with labels of the new view', () => {
    const old = syntheticSite({ seed: 10, bursts: 10 }).map((one, i) => ({
      ...one,
      view: drawnView({ seed: i, light: 0.7 + 0.06 * i }),
    }));
    const calibration = site();
    expect(calibration.fitNow(old).views).toBe(1);
    expect(calibration.estimate(anyEmbedding, drawnView({ seed: 50 }))).toMatchObject({
      reason: null,
      summary: { view: 'same', labels: 10 },
    });
    const moved = drawnView({ seed: 51, shiftX01: 0.1 });
    expect(calibration.estimate(anyEmbedding, moved)).toMatchObject({
      heightM: null,
      reason: 'view_changed',
      summary: { view: 'changed', labels: 0, labels_wanted: 0, labels_kept: 10 },
    });
    const label = burst('moved', 1.2, anyEmbedding, { createdAtMs: 100, view: moved });
    expect(calibration.fitNow([...old, label]).views).toBe(2);
    expect(calibration.estimate(anyEmbedding, drawnView({ seed: 52, shiftX01: 0.1 }))).toMatchObject({
      heightM: 1.2,
      summary: { view: 'same', labels: 1, labels_kept: 10 },
    });
    expect(calibration.estimate(anyEmbedding, drawnView({ seed: 53 })).summary).toMatchObject({ labels: 10 });
  });

  it('continues without a view signature; with one without edges it gives only the usual height', () => {
    const calibration = site();
    calibration.fitNow(
      syntheticSite({ seed: 11, bursts: 10 }).map((one, i) => ({ ...one, view: drawnView({ seed: i }) })),
    );
    const embedding = calibration.bursts()[3]?.embedding ?? anyEmbedding;
    expect(calibration.estimate(embedding, null)).toMatchObject({
      reason: null,
      basis: 'site_calibrated',
      summary: { view: 'unknown' },
    });
    const fog = { luma: new Uint8Array(14_400).fill(140), width: 160, height: 90 };
    expect(calibration.estimate(embedding, fog)).toMatchObject({
      reason: null,
      basis: 'site_median',
      summary: { view: 'unknown' },
    });
  });
});
