import { hash } from 'node:crypto';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { LabelledBurst } from '../calibration/types.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';

/**
 * Increase this when a new version of the agent gives another result for the same image and model, because the format
 * or the arithmetic has changed.
 */
const KEY_FORMAT = 1;

/** Everything except the image on which the result of an image depends. */
export interface AnalysisConditions {
  readonly modelDigest: string | null;
  readonly camera: CameraSettings | null;
  readonly calibration: SiteCalibration | null;
}

/** Computes the digests of calibrations, each digest once. */
export class CalibrationDigests {
  readonly #known = new WeakMap<readonly LabelledBurst[], string>();

  /** Two calibrations with equal labels and the same embedding have the same digest, also after a restart. */
  of(calibration: SiteCalibration): string {
    const bursts = calibration.bursts();
    const known = this.#known.get(bursts);
    if (known !== undefined) return known;
    const labels = bursts.map(({ label }) => [label.observationId, label.heightM, label.group]);
    const digest = hash('sha256', JSON.stringify([calibration.embeddingDigest, labels]));
    this.#known.set(bursts, digest);
    return digest;
  }
}

/** The key of a result in the analysis cache. */
export function answerKey(
  imageSha256: string,
  { modelDigest, camera, calibration }: AnalysisConditions,
  digests: CalibrationDigests,
): string {
  const calibrationDigest = calibration && digests.of(calibration);
  const settings = camera && [camera.id, camera.roi, camera.privacyMasks];
  return hash('sha256', JSON.stringify([KEY_FORMAT, imageSha256, modelDigest, settings, calibrationDigest]));
}
