import type { CalibrationSummary } from '../contract/observation.ts';
import type { ModelLease, ViewSignature } from '../vision/protocol.ts';
import type { SiteCalibration } from './site-calibration.ts';
import type { HeightEstimate } from './types.ts';

export const UNCALIBRATED: CalibrationSummary = {
  labels: 0,
  labels_wanted: 8,
  loo_mae_m: null,
  loo_median_mae_m: null,
  view: 'unknown',
};

/**
 * The calibration that belongs to the model of the lease; null when there is none. A swap during the burst may have changed
 * the current calibration, so the one from before the burst is a candidate too.
 */
export function calibrationFor(
  lease: Pick<ModelLease, 'embeddingDigest'>,
  [current, beforeBurst]: readonly [SiteCalibration | null, SiteCalibration | null],
): SiteCalibration | null {
  return [current, beforeBurst].find((one) => one?.embeddingDigest === lease.embeddingDigest) ?? null;
}

/**
 * The height that the site's calibration gives for a burst; nulls with reason `uncalibrated` without a calibration or an
 * embedding. `stray`: an uploaded image, which the camera may have taken at any time.
 */
export function estimateHeight(
  calibration: SiteCalibration | null,
  embedding: Float32Array | null,
  view: ViewSignature | null,
  origin: 'camera' | 'upload' = 'camera',
): HeightEstimate {
  if (calibration && embedding) return calibration.estimate(embedding, view, origin);
  return {
    heightM: null,
    lowM: null,
    highM: null,
    coverage: null,
    basis: null,
    reason: 'uncalibrated',
    medianM: null,
    summary: calibration?.summary() ?? UNCALIBRATED,
  };
}
