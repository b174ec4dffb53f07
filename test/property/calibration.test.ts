import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SiteCalibration } from '../../src/calibration/site-calibration.ts';
import { exportCalibration, importCalibration } from '../../src/calibration/document.ts';
import type { LabelledBurst } from '../../src/calibration/types.ts';
import { burst } from '../fixtures/labelled.ts';

const DIMENSION = 6;
const embedding = fc.array(fc.float({ min: -50, max: 50, noNaN: true }), {
  minLength: DIMENSION,
  maxLength: DIMENSION,
});
const bursts = (maxBursts: number) =>
  fc
    .array(
      fc.record({
        heightM: fc.double({ min: 0, max: 25, noNaN: true }),
        embedding,
        group: fc.nat(6),
        createdAtMs: fc.nat(1e9),
      }),
      { minLength: 1, maxLength: maxBursts },
    )
    .map((all) =>
      all.map((one, i) =>
        burst(`b${i}`, one.heightM, one.embedding, { group: `g${one.group}`, createdAtMs: one.createdAtMs }),
      ),
    );

function fitted(labelled: readonly LabelledBurst[]): SiteCalibration {
  const calibration = new SiteCalibration({ camera: 'north', embeddingDigest: 'd', sessionHours: 6 });
  calibration.fitNow(labelled);
  return calibration;
}

describe('a site calibration from any labels', () => {
  it('does not depend on the order of the labels', () => {
    fc.assert(
      fc.property(
        bursts(14).chain((all) =>
          fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }), embedding),
        ),
        ([all, shuffled, probe]) => {
          const at = Float32Array.from(probe);
          expect(fitted(shuffled).estimate(at, null)).toEqual(fitted(all).estimate(at, null));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('gives finite heights of zero or more, within their interval', () => {
    fc.assert(
      fc.property(bursts(20), embedding, (all, probe) => {
        const { heightM, lowM, highM } = fitted(all).estimate(Float32Array.from(probe), null);
        expect([heightM, lowM, highM].every(Number.isFinite)).toBe(true);
        expect(lowM).toBeGreaterThanOrEqual(0);
        expect(lowM).toBeLessThanOrEqual(heightM!);
        expect(highM).toBeGreaterThanOrEqual(heightM!);
      }),
      { numRuns: 100 },
    );
  });

  it('uses the median for an embedding far from all labels', () => {
    fc.assert(
      fc.property(bursts(20), (all) => {
        const { heightM, medianM } = fitted(all).estimate(new Float32Array(DIMENSION).fill(1e30), null);
        const isVaried = new Set(all.map(({ embedding: e }) => e.join())).size > 1;
        if (isVaried) expect(heightM).toBe(medianM);
      }),
      { numRuns: 60 },
    );
  });

  it('never asks for more labels after a further label', () => {
    fc.assert(
      fc.property(bursts(12), (all) => {
        let wanted = 8;
        for (let n = 1; n <= all.length; n += 1) {
          const now = fitted(all.slice(0, n)).summary().labels_wanted;
          expect(now).toBeLessThanOrEqual(wanted);
          wanted = now;
        }
      }),
      { numRuns: 30 },
    );
  });

  it('is unchanged after export and import', () => {
    fc.assert(
      fc.property(bursts(12), (all) => {
        const calibration = fitted(all);
        const json = JSON.stringify(exportCalibration(calibration, { atMs: 0, model: null }));
        expect(importCalibration(JSON.parse(json), { embeddingDigest: 'd' }).bursts).toEqual(
          calibration.bursts(),
        );
      }),
      { numRuns: 60 },
    );
  });
});

describe('importCalibration', () => {
  it('rejects any JSON value that is not a calibration with calibration_invalid', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(() => importCalibration(value, { embeddingDigest: 'd' })).toThrow(
          expect.objectContaining({ code: 'calibration_invalid' }) as Error,
        );
      }),
      { numRuns: 200 },
    );
  });
});
