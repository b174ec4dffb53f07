import type { X509Certificate } from 'node:crypto';

/** From when until when a certificate holds, ms since 1970. */
export interface Validity {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly fingerprint: string;
}

const DAY_MS = 86_400_000;
const WARN_MS = 14 * DAY_MS;
/** A renewal that is done at the usual two thirds of the life has failed when a fifth is left. */
const WARN_FRACTION = 1 / 5;

export function validityOf(certificate: X509Certificate): Validity {
  return {
    fromMs: Date.parse(certificate.validFrom),
    untilMs: Date.parse(certificate.validTo),
    fingerprint: certificate.fingerprint256,
  };
}

/** True in the last 14 days of a certificate, or the last fifth of one that holds for less than 70 days; true for ever after. */
export function isExpiring({ fromMs, untilMs }: Validity, nowMs: number): boolean {
  return nowMs > untilMs - Math.min(WARN_MS, (untilMs - fromMs) * WARN_FRACTION);
}
