import { randomUUID } from 'node:crypto';
import type { BurstFeatures, ObservationDraft, StoreOptions } from '../../src/store/types.ts';

export const NO_FEATURES: BurstFeatures = { embedding: null, embeddingDigest: null, view: null };

/** 30 days at one record a minute. */
export const MONTH_RECORDS = 43_200;

export const storeOptions = (stateDir: string): StoreOptions => ({
  stateDir,
  retentionDays: 90,
  maxMb: 1024,
  outbox: { maxMessages: 100_000, maxAgeDays: 30 },
});

/** The record of a calibrated camera at a minute of the month. */
export function makeDrainRecord(minute: number): ObservationDraft {
  return {
    schema: 'swellsight.observation/1',
    id: randomUUID(),
    site: 'bench',
    device: 'ours',
    camera: 'north',
    boot_id: '1f8b4d5e-2c0a-4a44-9d15-6c1f0e9a7b31',
    captured_at: new Date(Date.now() - (MONTH_RECORDS - minute) * 60_000).toISOString(),
    mono_ms: minute * 60_000 + 417.25,
    clock: { synced: true, offset_ms: -0.4 },
    status: 'measured',
    reasons: [],
    burst: { requested: 5, used: 5, span_s: 8.012 },
    wave: {
      height_m: 1.2 + (minute % 97) / 100,
      height_ft: 3.94,
      height_low_m: 0.9,
      height_high_m: 1.7,
      interval_coverage: 0.9,
      height_basis: 'site_calibrated',
      direction: null,
      breaking_type: null,
      period_s: null,
      confidence: { height: 0.81, direction: null, breaking: null, overall: 0.81 },
      extreme: false,
    },
    calibration: { labels: 34, labels_wanted: 0, loo_mae_m: 0.17, loo_median_mae_m: 0.31, view: 'same' },
    quality: {
      score: 0.93,
      glare: 0.02,
      dark: 0,
      blur: 0.11,
      fog: 0.04,
      obstruction: 0,
      frozen: false,
      moved: false,
    },
    model: { name: 'swellsight-factory', version: '1.0.0', digest: `sha256:${'a7'.repeat(32)}` },
    provider: 'cpu',
    timing_ms: { capture: 412.5, decode: 31.2, preprocess: 4.1, inference: 22.7, total: 8510.3 },
    warnings: [],
  };
}
