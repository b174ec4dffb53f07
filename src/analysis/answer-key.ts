import { hash } from 'node:crypto';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';

/**
 * Increase this when a new version of the agent gives another result for the same image and model, because the format
 * or the arithmetic has changed.
 */
const KEY_FORMAT = 2;

/** Everything except the image on which the result of an image depends. */
export interface AnalysisConditions {
  readonly modelDigest: string | null;
  readonly camera: CameraSettings | null;
  readonly calibration: SiteCalibration | null;
}

/** The key of a result in the analysis cache. */
export function answerKey(
  imageSha256: string,
  { modelDigest, camera, calibration }: AnalysisConditions,
): string {
  // While the first fit runs, results without a height have a key of their own.
  const calibrationDigest = calibration && (calibration.digest ?? 'pending');
  const settings = camera && [camera.id, camera.roi, camera.privacyMasks];
  return hash('sha256', JSON.stringify([KEY_FORMAT, imageSha256, modelDigest, settings, calibrationDigest]));
}
