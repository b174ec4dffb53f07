import { createHash } from 'node:crypto';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { LabelledBurst } from '../calibration/types.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';

/** Lower-case hexadecimal SHA-256. */
export const sha256Hex = (data: Uint8Array | string): string =>
  createHash('sha256').update(data).digest('hex');

/** Increase this when the same image and model give another result: another format, or other arithmetic. */
const KEY_FORMAT = 1;

/** Everything that the result of an image depends on, apart from the image. */
export interface AnalysisConditions {
  readonly modelDigest: string | null;
  readonly camera: CameraSettings | null;
  readonly calibration: SiteCalibration | null;
}

/** Digests of calibrations, each computed once. */
export class CalibrationDigests {
  readonly #known = new WeakMap<readonly LabelledBurst[], string>();

  /** Equal for equal labels of the same embedding, also after a restart. */
  of(calibration: SiteCalibration): string {
    const bursts = calibration.bursts();
    const known = this.#known.get(bursts);
    if (known !== undefined) return known;
    const labels = bursts.map(({ label }) => [label.observationId, label.heightM, label.group]);
    const digest = sha256Hex(JSON.stringify([calibration.embeddingDigest, labels]));
    this.#known.set(bursts, digest);
    return digest;
  }
}

/** The cache key of a result. */
export function answerKey(
  imageSha256: string,
  { modelDigest, camera, calibration }: AnalysisConditions,
  digests: CalibrationDigests,
): string {
  const calibrationDigest = calibration && digests.of(calibration);
  const settings = camera && [camera.id, camera.roi, camera.privacyMasks];
  return sha256Hex(JSON.stringify([KEY_FORMAT, imageSha256, modelDigest, settings, calibrationDigest]));
}
