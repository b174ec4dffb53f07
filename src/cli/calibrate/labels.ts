import { AgentError } from '../../base/errors.ts';
import { parseCsv } from '../csv.ts';

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
  const { columns, rows: records } = parseCsv(text, (line, why) => refused.push({ line, why }));
  for (const name of ['file', 'height_m'])
    if (!columns.has(name)) throw new AgentError('usage', `the labels file has no column ${name}`);

  const rows: LabelRow[] = [];
  for (const { cell, line } of records) {
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
