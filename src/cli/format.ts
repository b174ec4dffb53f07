import type { SeaStateRecord } from '../contract/sea-state.ts';
import type { CalibrationSummary, Observation } from '../contract/observation.ts';

/**
 * `1.20 m (0.90 to 1.50, site_calibrated)`, or the reason for a missing height. The median of the labels is no
 * measurement: `usual height 1.20 m (0.90 to 1.50, median of the labels)`.
 */
export function formatHeight({
  wave,
  status,
  reasons,
}: Pick<Observation, 'wave' | 'status' | 'reasons'>): string {
  if (wave.height_m === null)
    return reasons.length > 0 ? `no height: ${reasons.join(', ')}` : `no height: ${status}`;
  const isUsual = wave.height_basis === 'site_median';
  const details = [
    ...(wave.height_low_m === null || wave.height_high_m === null
      ? []
      : [`${wave.height_low_m.toFixed(2)} to ${wave.height_high_m.toFixed(2)}`]),
    ...(wave.height_basis === null ? [] : [isUsual ? 'median of the labels' : wave.height_basis]),
  ];
  const height = `${isUsual ? 'usual height ' : ''}${wave.height_m.toFixed(2)} m`;
  return details.length > 0 ? `${height} (${details.join(', ')})` : height;
}

/** An observation as one line. */
export const formatObservation = (observation: Observation): string =>
  [
    observation.captured_at,
    observation.camera,
    observation.status,
    formatHeight(observation),
    observation.id,
  ].join('  ');

/**
 * `3 labels in 2 sessions, 6 more sessions needed`; after a move of the camera
 * `the view has changed: 12 labels of another view are kept`.
 */
export function formatCalibration({
  labels,
  labels_wanted,
  sessions,
  labels_kept = 0,
  loo_mae_m,
  loo_median_mae_m,
  view,
}: CalibrationSummary): string {
  const kept = `${formatCount(labels_kept, 'label')} of another view ${labels_kept === 1 ? 'is' : 'are'} kept`;
  if (view === 'changed') return `the view has changed: ${kept}`;
  const inSessions = sessions === undefined || labels === 0 ? '' : ` in ${formatCount(sessions, 'session')}`;
  const parts = [formatCount(labels, 'label') + inSessions];
  if (labels_wanted > 0) parts.push(`${formatCount(labels_wanted, 'more session')} needed`);
  if (loo_mae_m !== null && loo_median_mae_m !== null)
    parts.push(`error ${loo_mae_m.toFixed(2)} m, error of the median ${loo_median_mae_m.toFixed(2)} m`);
  if (labels_kept > 0) parts.push(kept);
  return parts.join(', ');
}

/** `period 13.7 s (12.6 to 14.5 s)`, or `no period: no_peak`. */
export function formatPeriod({ period, reasons, status, simulated }: SeaStateRecord): string {
  const { peak_s: peakS, low_s: lowS, high_s: highS } = period;
  const mark = simulated ? ', simulated' : '';
  if (peakS === null) return `no period: ${reasons.join(', ') || status}${mark}`;
  const interval = lowS === null || highS === null ? '' : ` (${lowS.toFixed(1)} to ${highS.toFixed(1)} s)`;
  return `period ${peakS.toFixed(1)} s${interval}${mark}`;
}

/** `90 s`, `5 min`, `3 h`, `2 d`; `never` for null. */
export function formatAge(seconds: number | null): string {
  if (seconds === null) return 'never';
  if (seconds < 120) return `${String(Math.round(seconds))} s`;
  if (seconds < 7200) return `${String(Math.round(seconds / 60))} min`;
  if (seconds < 172_800) return `${String(Math.round(seconds / 3600))} h`;
  return `${String(Math.round(seconds / 86_400))} d`;
}

/** `4.7 MB`. */
export const formatSize = (bytes: number): string =>
  bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

/** `1 node`, `2 nodes`. */
export const formatCount = (count: number, noun: string): string =>
  `${String(count)} ${noun}${count === 1 ? '' : 's'}`;

const BAR_CHARS = 10;

/** `####------`. */
export function formatBar(percent: number): string {
  const full = Math.round((Math.min(100, Math.max(0, percent)) / 100) * BAR_CHARS);
  return '#'.repeat(full) + '-'.repeat(BAR_CHARS - full);
}

/** Aligns columns. Returns one line for each row. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, index) => (widths[index] = Math.max(widths[index] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
