import type { Observation } from '../contract/observation.ts';

type Cell = string | number | boolean | null;

/** The columns of the table of observations, in order. */
const COLUMNS: readonly (readonly [name: string, cell: (observation: Observation) => Cell])[] = [
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

export const csvHeader = (): string => csvLine(COLUMNS.map(([name]) => name));

export const csvRow = (observation: Observation): string =>
  csvLine(COLUMNS.map(([, cell]) => cell(observation)));
