import { parse, type CsvError } from 'csv-parse/sync';
import { AgentError } from '../../base/errors.ts';

/** One frame of a labels file. */
export interface LabelRow {
  readonly file: string;
  readonly camera: string;
  readonly burst: string;
  readonly group: string;
  readonly heightM: number;
  readonly note: string | null;
  /** First line of the row in the file, from 1. */
  readonly line: number;
}

export interface LabelRows {
  readonly rows: readonly LabelRow[];
  /** Unusable rows, with their first line and the reason. */
  readonly refused: readonly { readonly line: number; readonly why: string }[];
}

const MAX_NOTE_CHARS = 2000;

/**
 * Parses a labels file. The columns `file` and `height_m` are required; `camera`, `burst`, `group`, `clip` and `note` are
 * optional, in any order; other columns are ignored. Without `burst`, the frames of one clip (else each frame) are a burst;
 * without `group`, each burst is its own group. Throws `usage` for a missing column.
 */
export function parseLabels(text: string): LabelRows {
  const refused: LabelRows['refused'][number][] = [];
  const [header, ...records] = parseCsv(text, (line, why) => refused.push({ line, why }));
  const column = new Map(header?.cells.map((name, index) => [name.trim().toLowerCase(), index]));
  for (const name of ['file', 'height_m'])
    if (!column.has(name)) throw new AgentError('usage', `the labels file has no column ${name}`);

  const rows: LabelRow[] = [];
  for (const { cells, line } of records) {
    const cell = (name: string): string => cells[column.get(name) ?? -1]?.trim() ?? '';
    const file = cell('file');
    const heightM = Number(cell('height_m'));
    if (file === '') refused.push({ line, why: 'no file' });
    else if (cell('height_m') === '' || !Number.isFinite(heightM) || heightM < 0)
      refused.push({ line, why: `height_m is not a height: ${cell('height_m').slice(0, 40)}` });
    else {
      const burst = cell('burst') || cell('clip') || file;
      const note = cell('note');
      rows.push({
        file,
        camera: cell('camera') || 'camera',
        burst,
        group: cell('group') || burst,
        heightM,
        note: note === '' ? null : note.slice(0, MAX_NOTE_CHARS),
        line,
      });
    }
  }
  return { rows, refused: refused.sort((a, b) => a.line - b.line) };
}

interface CsvRecord {
  readonly cells: readonly string[];
  readonly line: number;
}

/** Parses RFC 4180 CSV with or without a byte order mark, with CRLF or LF. Blank lines are skipped. */
function parseCsv(text: string, onInvalid: (line: number, why: string) => void): CsvRecord[] {
  let error: CsvError | undefined;
  const parsed = parse(text, {
    bom: true,
    raw: true,
    record_delimiter: ['\r\n', '\n'],
    relax_column_count: true,
    relax_quotes: true,
    skip_records_with_error: true,
    on_skip: (skipped: CsvError | undefined) => {
      error = skipped;
      return undefined;
    },
  }) as unknown as { readonly record: readonly string[]; readonly raw: string }[];
  // Count the lines here: csv-parse counts a CRLF in a quoted cell twice.
  let line = 1;
  const records = parsed.map(({ record, raw }) => {
    const firstLine = line;
    line += raw.replace(/\r?\n?$/, '').split('\n').length;
    return { cells: record, line: firstLine };
  });
  // The only possible error is an open quote, which continues to the end of the file.
  if (error) onInvalid(line, error.code === 'CSV_QUOTE_NOT_CLOSED' ? 'a quote is not closed' : error.message);
  return records.filter(({ cells }) => cells.length > 1 || (cells[0] ?? '').trim() !== '');
}
