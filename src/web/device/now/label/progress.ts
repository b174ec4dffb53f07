import type { CalibrationSummary } from '../../../../contract/observation.ts';

/** Visits until the gauge tries to measure by itself; the agent says how many are missing. */
const USUAL_WANTED = 8;

/** How many visits were read, and how many are wanted in all. `kept`: readings of other views. */
export function progressOf({
  labels,
  sessions = labels,
  labels_wanted: missing,
  labels_kept = 0,
}: CalibrationSummary): {
  readonly read: number;
  readonly wanted: number;
  readonly kept: number;
} {
  const wanted = missing === 0 ? Math.max(1, Math.min(sessions, USUAL_WANTED)) : sessions + missing;
  return { read: Math.min(sessions, wanted), wanted, kept: labels_kept };
}
