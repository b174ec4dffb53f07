import { describe, expect, it } from 'vitest';
import { SiteCalibration } from '../../../src/calibration/site-calibration.ts';
import { exportCalibration, importCalibration } from '../../../src/calibration/document.ts';
import type { CalibrationDocument } from '../../../src/contract/calibration.ts';
import { burst, drawnView, syntheticSite } from '../../fixtures/labelled.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const MADE = { atMs: 1_700_000_000_000, model: { name: 'm', version: '1.0.0', digest: DIGEST } };

function calibrated(): SiteCalibration {
  const calibration = new SiteCalibration({ camera: 'north', embeddingDigest: DIGEST, sessionHours: 6 });
  calibration.fitNow(
    syntheticSite({ seed: 1, bursts: 12 }).map((one, i) => ({
      ...one,
      label: {
        ...one.label,
        observer: i % 2 ? 'Ana' : null,
        ...(i % 3 ? {} : { height: 3, unit: 'ft' as const, scale: 'hawaiian' as const, tideM: -0.5 }),
        note: i % 3 ? 'small, "clean"\nlow tide' : null,
      },
      view: i === 5 ? null : drawnView({ seed: i }),
    })),
  );
  return calibration;
}

const original = calibrated();
const document = (): CalibrationDocument => exportCalibration(original, MADE);
const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('exportCalibration and importCalibration', () => {
  it('return the same bits, which give the same estimates', () => {
    const { bursts, camera } = importCalibration(throughJson(exportCalibration(original, MADE)), {
      embeddingDigest: DIGEST,
      camera: 'north',
    });
    expect(camera).toBe('north');
    expect(bursts).toEqual(original.bursts());
    const copy = new SiteCalibration({ camera: 'north', embeddingDigest: DIGEST, sessionHours: 6 });
    copy.fitNow(bursts);
    const probe = Float32Array.from({ length: 64 }, (_, k) => Math.sin(k));
    expect(copy.estimate(probe, null)).toEqual(original.estimate(probe, null));
    expect(exportCalibration(copy, MADE).labels).toEqual(exportCalibration(original, MADE).labels);
  });

  it('keep extreme finite values', () => {
    const calibration = new SiteCalibration({ camera: 'north', embeddingDigest: DIGEST, sessionHours: 6 });
    calibration.fitNow([burst('x', 0, [3.4e38, -1e-45, -0, 0.1])]);
    const [imported] = importCalibration(throughJson(exportCalibration(calibration, MADE)), {
      embeddingDigest: DIGEST,
    }).bursts;
    expect([...imported!.embedding]).toEqual([...Float32Array.of(3.4e38, -1e-45, -0, 0.1)]);
  });

  it('do not depend on the order of keys', () => {
    const shuffle = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(shuffle)
        : typeof value === 'object' && value !== null
          ? Object.fromEntries(
              Object.entries(value)
                .reverse()
                .map(([k, v]) => [k, shuffle(v)]),
            )
          : value;
    expect(importCalibration(shuffle(document()), { embeddingDigest: DIGEST }).bursts).toHaveLength(12);
  });

  it('reject a calibration without labels', () => {
    const empty = new SiteCalibration({ camera: 'north', embeddingDigest: DIGEST, sessionHours: 6 });
    expect(() => exportCalibration(empty, MADE)).toThrow(
      expect.objectContaining({ code: 'calibration_invalid' }) as Error,
    );
  });

  const label = (change: object) => (doc: CalibrationDocument) => ({
    ...doc,
    labels: doc.labels.map((one, i) => (i === 3 ? { ...one, ...change } : one)),
  });
  const faults: Record<string, (doc: CalibrationDocument) => unknown> = {
    'null instead of an object': () => null,
    'a string instead of an object': () => 'calibration',
    'another format': (doc) => ({ ...doc, schema: 'swellsight.calibration/2' }),
    'an unknown key': (doc) => ({ ...doc, extra: 1 }),
    'another camera': (doc) => ({ ...doc, camera: 'south' }),
    'another embedding digest': (doc) => ({ ...doc, embedding_digest: 'sha256:other' }),
    'a changed height': label({ height_m: 1.23 }),
    'a height out of range': label({ height_m: 30 }),
    'a flipped bit in an embedding': (doc) =>
      label({ embedding: doc.labels[3]!.embedding.replace(/^./, (c) => (c === 'A' ? 'B' : 'A')) })(doc),
    'an embedding that is not base64': label({ embedding: '????' }),
    'an invalid time': label({ created_at: '2026-13-40T99:00:00.000Z' }),
    'a missing label': (doc) => ({ ...doc, labels: doc.labels.slice(1) }),
    'too many labels': (doc) => ({
      ...doc,
      labels: Array.from({ length: 1001 }, () => doc.labels[0]),
    }),
  };
  it.each(Object.entries(faults))('reject a document with %s', (_, change) => {
    expect(() => importCalibration(change(document()), { embeddingDigest: DIGEST, camera: 'north' })).toThrow(
      expect.objectContaining({ code: 'calibration_invalid' }) as Error,
    );
  });

  it.each([
    ['a NaN in an embedding', [NaN, 1]],
    ['an embedding of another length', [1, 2, 3]],
  ])('reject a document with %s and a correct digest', (_, embedding) => {
    // Written by the exporter, so that only the value is wrong.
    const wrong = exportCalibration(
      {
        camera: 'north',
        embeddingDigest: DIGEST,
        bursts: () => [burst('a', 1, [1, 2]), burst('b', 1, embedding)],
        summary: () => original.summary(),
      } as unknown as SiteCalibration,
      MADE,
    );
    expect(() => importCalibration(wrong, { embeddingDigest: DIGEST })).toThrow(/embedding of b/);
  });
});
