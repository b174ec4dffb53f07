import { createHash } from 'node:crypto';
import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { LabelledBurst } from '../calibration/types.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';

export const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex');

/** Raised when the same image would get another answer under the same model: another format, or other arithmetic. */
const KEY_FORMAT = 1;

/** Everything but the image on which its answer depends. */
export interface Conditions {
  readonly modelDigest: string | null;
  readonly camera: CameraSettings | null;
  readonly calibration: SiteCalibration | null;
}

/** Digests of fits, each computed once. */
export class FitDigests {
  readonly #known = new WeakMap<readonly LabelledBurst[], string>();

  /** The same for the same labels of the same embedding, in this run and in later ones. */
  of(calibration: SiteCalibration): string {
    const bursts = calibration.bursts();
    const known = this.#known.get(bursts);
    if (known !== undefined) return known;
    const labels = bursts.map(({ label }) => [label.observationId, label.heightM, label.group]);
    const digest = sha256(JSON.stringify([calibration.embeddingDigest, labels]));
    this.#known.set(bursts, digest);
    return digest;
  }
}

/** What an answer is kept under. */
export function answerKey(
  imageSha256: string,
  { modelDigest, camera, calibration }: Conditions,
  fits: FitDigests,
): string {
  const fit = calibration && fits.of(calibration);
  const settings = camera && [camera.id, camera.roi, camera.privacyMasks];
  return sha256(JSON.stringify([KEY_FORMAT, imageSha256, modelDigest, settings, fit]));
}
