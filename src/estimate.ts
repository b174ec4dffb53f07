import type { SiteCalibration } from './calibration/calibration.ts';
import type { HeightEstimate } from './calibration/types.ts';
import type { CalibrationSummary } from './contract/observation.ts';
import type { ViewSignature } from './vision/protocol.ts';

export const UNCALIBRATED: CalibrationSummary = {
  labels: 0,
  labels_wanted: 8,
  loo_mae_m: null,
  loo_median_mae_m: null,
  view: 'unknown',
};

/** What the site's labels say of a burst; without a calibration or an embedding, that they say nothing. */
export function estimateHeight(
  calibration: SiteCalibration | null,
  embedding: Float32Array | null,
  view: ViewSignature | null,
): HeightEstimate {
  if (calibration && embedding) return calibration.estimate(embedding, view);
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
