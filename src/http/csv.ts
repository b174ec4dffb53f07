import type { Observation } from '../contract/observation.ts';
import type { SeaStateRecord } from '../contract/sea-state.ts';

type Cell = string | number | boolean | null;

/** The columns of a table, in order. */
export type CsvTable<R> = readonly (readonly [name: string, cell: (record: R) => Cell])[];

export const OBSERVATION_TABLE: CsvTable<Observation> = [
  ['captured_at', (o) => o.captured_at],
  ['site', (o) => o.site],
  ['device', (o) => o.device],
  ['camera', (o) => o.camera],
  ['seq', (o) => o.seq],
  ['status', (o) => o.status],
  ['reasons', (o) => o.reasons.join(' ')],
  ['height_m', (o) => o.wave.height_m],
  ['height_low_m', (o) => o.wave.height_low_m],
  ['height_high_m', (o) => o.wave.height_high_m],
  ['interval_coverage', (o) => o.wave.interval_coverage],
  ['height_basis', (o) => o.wave.height_basis],
  ['direction', (o) => o.wave.direction],
  ['breaking_type', (o) => o.wave.breaking_type],
  ['period_s', (o) => o.wave.period_s],
  ['confidence_height', (o) => o.wave.confidence.height],
  ['confidence_direction', (o) => o.wave.confidence.direction],
  ['confidence_breaking', (o) => o.wave.confidence.breaking],
  ['confidence_overall', (o) => o.wave.confidence.overall],
  ['quality_score', (o) => o.quality.score],
  ['quality_glare', (o) => o.quality.glare],
  ['quality_obstruction', (o) => o.quality.obstruction],
  ['frames_used', (o) => o.burst.used],
  ['calibration_labels', (o) => o.calibration.labels],
  ['model_name', (o) => o.model?.name ?? null],
  ['model_version', (o) => o.model?.version ?? null],
  ['clock_synced', (o) => o.clock.synced],
  ['warnings', (o) => o.warnings.join(' ')],
  ['historical', (o) => o.historical],
  ['published_at', (o) => o.published_at],
  ['id', (o) => o.id],
  // Columns that were added later stand at the end: scripts may read the others by their position.
  ['has_height', (o) => o.has_height ?? o.wave.height_m !== null],
  ['store_id', (o) => o.store_id ?? null],
  ['period_low_s', (o) => o.wave.period_low_s ?? null],
  ['period_high_s', (o) => o.wave.period_high_s ?? null],
  ['period_basis', (o) => o.wave.period_basis ?? null],
  ['period_age_s', (o) => o.wave.period_age_s ?? null],
  ['simulated', (o) => o.simulated ?? null],
];

export const SEA_STATE_TABLE: CsvTable<SeaStateRecord> = [
  ['captured_at', (s) => s.captured_at],
  ['site', (s) => s.site],
  ['device', (s) => s.device],
  ['camera', (s) => s.camera],
  ['seq', (s) => s.seq],
  ['status', (s) => s.status],
  ['reasons', (s) => s.reasons.join(' ')],
  ['duration_s', (s) => s.duration_s],
  ['frames_wanted', (s) => s.frames.wanted],
  ['frames_used', (s) => s.frames.used],
  ['period_s', (s) => s.period.peak_s],
  ['period_low_s', (s) => s.period.low_s],
  ['period_high_s', (s) => s.period.high_s],
  ['interval_coverage', (s) => s.period.coverage],
  ['energy_period_s', (s) => s.period.energy_s],
  ['second_period_s', (s) => s.period.second_s],
  ['second_period_low_s', (s) => s.period.second_low_s],
  ['second_period_high_s', (s) => s.period.second_high_s],
  ['mixed_sea', (s) => s.period.mixed_sea],
  ['travel_deg', (s) => s.travel_deg],
  ['white_share', (s) => s.breaking.white_share],
  ['breakers_per_minute', (s) => s.breaking.per_minute],
  ['sets', (s) => s.breaking.sets],
  ['set_interval_s', (s) => s.breaking.set_interval_s],
  ['breaker_height_m', (s) => s.breaker.height_m],
  ['breaker_low_m', (s) => s.breaker.low_m],
  ['breaker_high_m', (s) => s.breaker.high_m],
  ['breaker_count', (s) => s.breaker.count],
  ['breaker_reason', (s) => s.breaker.reason],
  ['tide_m', (s) => s.breaker.tide_m],
  ['clock_synced', (s) => s.clock.synced],
  ['warnings', (s) => s.warnings.join(' ')],
  ['simulated', (s) => s.simulated],
  ['historical', (s) => s.historical],
  ['published_at', (s) => s.published_at],
  ['id', (s) => s.id],
  ['store_id', (s) => s.store_id ?? null],
];

/** A spreadsheet evaluates text that begins with one of these as a formula (OWASP, CSV injection). */
const FORMULA_START = /^[=+\-@\t\r\n]/;

/** One line with its line break (RFC 4180). */
const csvLine = (cells: readonly Cell[]): string => `${cells.map(csvCell).join(',')}\r\n`;

/** Escapes one cell (RFC 4180), and text that a spreadsheet would evaluate as a formula. */
export function csvCell(cell: Cell): string {
  if (cell === null) return '';
  if (typeof cell !== 'string') return String(cell);
  const text = FORMULA_START.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const csvHeader = <R>(table: CsvTable<R>): string => csvLine(table.map(([name]) => name));

export const csvRow = <R>(table: CsvTable<R>, record: R): string =>
  csvLine(table.map(([, cell]) => cell(record)));
