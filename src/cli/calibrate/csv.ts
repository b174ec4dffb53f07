import { AgentError } from '../../base/errors.ts';

/** One frame of a labels file. */
export interface LabelRow {
  readonly file: string;
  readonly camera: string;
  readonly burst: string;
  readonly group: string;
  readonly heightM: number;
  readonly note: string | null;
  /** Line of the file on which the row begins, from 1. */
  readonly line: number;
}

export interface LabelRows {
  readonly rows: readonly LabelRow[];
  /** Rows that cannot be used, with their line and why. */
  readonly refused: readonly { readonly line: number; readonly why: string }[];
}

/**
 * Reads labels: columns `file` and `height_m` are needed; `camera`, `burst`, `group`, `clip` and `note` are used when
 * there; others are passed over; any order. Without `burst`, frames of one clip (else each frame) are a burst;
 * without `group`, each burst is its own. Throws `usage` when the needed columns are missing.
 */
export function readLabels(text: string): LabelRows {
  const [head, ...records] = parseCsv(text);
  const column = new Map(head?.cells.map((name, index) => [name.trim().toLowerCase(), index]));
  for (const name of ['file', 'height_m'])
    if (!column.has(name)) throw new AgentError('usage', `the labels file has no column ${name}`);

  const rows: LabelRow[] = [];
  const refused: LabelRows['refused'][number][] = [];
  for (const { cells, line } of records) {
    const cell = (name: string): string => cells[column.get(name) ?? -1]?.trim() ?? '';
    const file = cell('file');
    const heightM = Number(cell('height_m'));
    if (file === '') refused.push({ line, why: 'no file' });
    else if (cell('height_m') === '' || !Number.isFinite(heightM) || heightM < 0)
      refused.push({ line, why: `height_m is no height: ${cell('height_m').slice(0, 40)}` });
    else {
      const burst = cell('burst') || cell('clip') || file;
      const note = cell('note');
      rows.push({
        file,
        camera: cell('camera') || 'camera',
        burst,
        group: cell('group') || burst,
        heightM,
        note: note === '' ? null : note.slice(0, 2000),
        line,
      });
    }
  }
  return { rows, refused };
}

interface CsvRecord {
  readonly cells: readonly string[];
  readonly line: number;
}

/** RFC 4180: quoted cells with commas, doubled quotes and line breaks; a byte order mark and bare LF are accepted. */
function parseCsv(text: string): CsvRecord[] {
  const records: CsvRecord[] = [];
  let cells: string[] = [];
  let cell = '';
  let quoted = false;
  let line = 1;
  let begun = 1;
  const endRecord = (): void => {
    cells.push(cell);
    if (cells.length > 1 || cell.trim() !== '') records.push({ cells, line: begun });
    cells = [];
    cell = '';
    begun = line + 1;
  };
  const start = text.startsWith('\ufeff') ? 1 : 0;
  for (let at = start; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (quoted) {
      if (char === '"' && text.charAt(at + 1) === '"') {
        cell += '"';
        at += 1;
      } else if (char === '"') quoted = false;
      else cell += char;
    } else if (char === '"' && cell === '') quoted = true;
    else if (char === ',') {
      cells.push(cell);
      cell = '';
    } else if (char === '\n') endRecord();
    else if (char !== '\r') cell += char;
    if (char === '\n') line += 1;
  }
  endRecord();
  return records;
}
