import { parse, type CsvError } from 'csv-parse/sync';

interface CsvRow {
  /** The value of a column without blanks at its ends; empty when the row or the file has no such column. */
  readonly cell: (column: string) => string;
  /** First line of the row in the file, from 1. */
  readonly line: number;
}

export interface CsvTable {
  /** Names of the columns, in lower case. */
  readonly columns: ReadonlySet<string>;
  readonly rows: readonly CsvRow[];
}

/**
 * Parses RFC 4180 CSV with a header, with or without a byte order mark, with CRLF or LF. Blank lines are skipped. The
 * columns may have any order. `onInvalid` is called for a part that cannot be parsed.
 */
export function parseCsv(text: string, onInvalid: (line: number, why: string) => void): CsvTable {
  const [header, ...records] = parseRecords(text, onInvalid);
  const columns = new Map(header?.cells.map((name, index) => [name.trim().toLowerCase(), index]));
  return {
    columns: new Set(columns.keys()),
    rows: records.map(({ cells, line }) => ({
      line,
      cell: (column) => cells[columns.get(column) ?? -1]?.trim() ?? '',
    })),
  };
}

interface CsvRecord {
  readonly cells: readonly string[];
  readonly line: number;
}

function parseRecords(text: string, onInvalid: (line: number, why: string) => void): CsvRecord[] {
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
