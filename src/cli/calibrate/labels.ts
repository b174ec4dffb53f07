import { AgentError } from '../../base/errors.ts';
import { faceHeightM } from '../../calibration/reading.ts';
import type { Reading } from '../../calibration/types.ts';
import { parseCsv } from '../csv.ts';

/** One frame of a labels file. */
export interface LabelRow {
  readonly file: string;
  readonly camera: string;
  readonly burst: string;
  readonly group: string;
  readonly heightM: number;
  readonly note: string | null;
  readonly observer: string | null;
  /** Null: `heightM` itself was read. */
  readonly reading: Reading | null;
  readonly tideM: number | null;
  /** First line of the row in the file, from 1. */
  readonly line: number;
}

export interface LabelRows {
  readonly rows: readonly LabelRow[];
  /** Unusable rows, with their first line and the reason. */
  readonly refused: readonly { readonly line: number; readonly why: string }[];
}

/** What a validation leaves out together. */
export type HoldOut = 'group' | 'day' | 'tide';

const TIDE_STEP_M = 0.5;
const MAX_NOTE_CHARS = 2000;

/**
 * Parses a labels file. The columns `file` and `height_m` are required; instead of `height_m` there may be `height` with
 * `unit` and `scale`. `camera`, `burst`, `group`, `clip`, `note`, `observer`, `tide_m` and `day` are optional, in any
 * order; other columns are ignored. Without `burst`, the frames of one clip (else each frame) are a burst;
 * without `group`, each burst is its own group. `holdOut` makes each day, or each half metre of tide, a group. Throws
 * `usage` for a missing column.
 */
export function parseLabels(text: string, holdOut: HoldOut = 'group'): LabelRows {
  const refused: LabelRows['refused'][number][] = [];
  const { columns, rows: records } = parseCsv(text, (line, why) => refused.push({ line, why }));
  const height = columns.has('height_m') ? 'height_m' : columns.has('height') ? 'height' : null;
  const needed = holdOut === 'day' ? ['file', 'day'] : holdOut === 'tide' ? ['file', 'tide_m'] : ['file'];
  for (const name of needed)
    if (!columns.has(name)) throw new AgentError('usage', `the labels file has no column ${name}`);
  if (height === null) throw new AgentError('usage', 'the labels file has no column height_m');

  const rows: LabelRow[] = [];
  for (const { cell, line } of records) {
    const file = cell('file');
    const read = readHeight(cell, height);
    const tideM = cell('tide_m') === '' ? null : Number(cell('tide_m'));
    if (file === '') refused.push({ line, why: 'no file' });
    else if ('why' in read) refused.push({ line, why: read.why });
    else if (tideM !== null && !Number.isFinite(tideM))
      refused.push({ line, why: `tide_m is not a number: ${cell('tide_m').slice(0, 40)}` });
    else if ((holdOut === 'day' && cell('day') === '') || (holdOut === 'tide' && tideM === null))
      refused.push({ line, why: `no ${holdOut}` });
    else {
      const burst = cell('burst') || cell('clip') || file;
      const note = cell('note');
      rows.push({
        file,
        camera: cell('camera') || 'camera',
        burst,
        group: groupOf(cell, holdOut, tideM) || burst,
        ...read,
        tideM,
        observer: cell('observer') || null,
        note: note === '' ? null : note.slice(0, MAX_NOTE_CHARS),
        line,
      });
    }
  }
  return { rows, refused: refused.sort((a, b) => a.line - b.line) };
}

type Cell = (name: string) => string;

function readHeight(
  cell: Cell,
  column: 'height' | 'height_m',
): Pick<LabelRow, 'heightM' | 'reading'> | { readonly why: string } {
  const value = Number(cell(column));
  if (cell(column) === '' || !Number.isFinite(value) || value < 0)
    return { why: `${column} is not a height: ${cell(column).slice(0, 40)}` };
  if (column === 'height_m') return { heightM: value, reading: null };
  const unit = cell('unit') || 'm';
  const scale = cell('scale') || 'face';
  if ((unit !== 'm' && unit !== 'ft') || (scale !== 'face' && scale !== 'hawaiian'))
    return {
      why: `unit must be m or ft, and scale face or hawaiian: ${unit.slice(0, 20)} ${scale.slice(0, 20)}`,
    };
  const reading = { height: value, unit, scale } as const;
  return { heightM: faceHeightM(reading), reading };
}

function groupOf(cell: Cell, holdOut: HoldOut, tideM: number | null): string {
  if (holdOut === 'tide') return `tide ${String(Math.floor((tideM ?? 0) / TIDE_STEP_M))}`;
  return cell(holdOut);
}
