import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { HeightEstimate } from '../calibration/types.ts';
import type { CalibrationSummary } from '../contract/observation.ts';
import type { ModelLease, ViewSignature } from '../vision/protocol.ts';

export const UNCALIBRATED: CalibrationSummary = {
  labels: 0,
  labels_wanted: 8,
  loo_mae_m: null,
  loo_median_mae_m: null,
  view: 'unknown',
};

/** That of the model which answered: another one may have come in the midst of the burst, with another embedding. */
export function calibrationFor(
  lease: Pick<ModelLease, 'embeddingDigest'>,
  [present, before]: readonly [SiteCalibration | null, SiteCalibration | null],
): SiteCalibration | null {
  return [present, before].find((one) => one?.embeddingDigest === lease.embeddingDigest) ?? null;
}

/**
 * What the site's labels say of a burst; without a calibration or an embedding, that they say nothing. A `stray` picture
 * was not taken by the camera just now.
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
