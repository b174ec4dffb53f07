import type { CalibrationSummary, Observation } from '../contract/observation.ts';

/** `1.20 m (0.90 to 1.50, site_median)`, or why there is no height. */
export function heightPhrase({
  wave,
  status,
  reasons,
}: Pick<Observation, 'wave' | 'status' | 'reasons'>): string {
  if (wave.height_m === null)
    return reasons.length > 0 ? `no height: ${reasons.join(', ')}` : `no height: ${status}`;
  const details = [
    ...(wave.height_low_m === null || wave.height_high_m === null
      ? []
      : [`${wave.height_low_m.toFixed(2)} to ${wave.height_high_m.toFixed(2)}`]),
    ...(wave.height_basis === null ? [] : [wave.height_basis]),
  ];
  return `${wave.height_m.toFixed(2)} m${details.length > 0 ? ` (${details.join(', ')})` : ''}`;
}

/** One line about an observation. */
export const observationLine = (observation: Observation): string =>
  [
    observation.captured_at,
    observation.camera,
    observation.status,
    heightPhrase(observation),
    observation.id,
  ].join('  ');

export function calibrationPhrase({
  labels,
  labels_wanted,
  loo_mae_m,
  loo_median_mae_m,
  view,
}: CalibrationSummary): string {
  const parts = [labels === 1 ? '1 label' : `${String(labels)} labels`];
  if (labels_wanted > 0) parts.push(`${String(labels_wanted)} more wanted`);
  if (loo_mae_m !== null && loo_median_mae_m !== null)
    parts.push(`error ${loo_mae_m.toFixed(2)} m against the median's ${loo_median_mae_m.toFixed(2)} m`);
  if (view === 'changed') parts.push('the view has changed');
  return parts.join(', ');
}

export function agePhrase(seconds: number | null): string {
  if (seconds === null) return 'never';
  if (seconds < 120) return `${String(Math.round(seconds))} s`;
  if (seconds < 7200) return `${String(Math.round(seconds / 60))} min`;
  if (seconds < 172_800) return `${String(Math.round(seconds / 3600))} h`;
  return `${String(Math.round(seconds / 86_400))} d`;
}

/** What others sent may steer a terminal: control characters are shown as `?`. */
export const withoutControls = (text: string): string => text.replace(/\p{Cc}/gu, '?');

/** Columns padded to their widest cell. */
export function table(cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map(withoutControls));
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, index) => (widths[index] = Math.max(widths[index] ?? 0, cell.length)));
  return rows
    .map((row) =>
      row
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
