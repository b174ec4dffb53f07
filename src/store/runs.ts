import type { Acceptance } from './types.ts';

/** Rows whose ids follow each other without a gap. */
export interface Run {
  readonly first: number;
  readonly last: number;
  readonly rows: readonly Acceptance[];
}

/** Messages of one stream whose numbers follow each other, and that were sent at one time. */
export interface StreamRun {
  readonly stream: string;
  readonly first: number;
  readonly last: number;
  readonly publishedAtMs: number;
  readonly historical: boolean;
}

/** Splits rows, sorted by id, into runs, so that each is one statement. */
export function runsOf(rows: readonly Acceptance[]): readonly Run[] {
  const runs: Run[] = [];
  let start = 0;
  rows.forEach((row, index) => {
    const following = rows[index + 1];
    if (following && following.rowId <= row.rowId + 1) return;
    const run = rows.slice(start, index + 1);
    runs.push({ first: run[0]?.rowId ?? row.rowId, last: row.rowId, rows: run });
    start = index + 1;
  });
  return runs;
}

/** Joins rows of one run with how they were sent. `found` may lack some; both are sorted by row id. */
export function streamRuns(
  found: readonly { readonly row_id: number; readonly stream: string; readonly seq: number }[],
  accepted: readonly Acceptance[],
): readonly StreamRun[] {
  const runs: StreamRun[] = [];
  const open = new Map<string, { -readonly [K in keyof StreamRun]: StreamRun[K] }>();
  let at = 0;
  for (const { row_id, stream, seq } of found) {
    let sent = accepted[at];
    while (sent && sent.rowId < row_id) sent = accepted[(at += 1)];
    if (sent?.rowId !== row_id) continue;
    const { publishedAtMs, historical } = sent;
    const run = open.get(stream);
    if (run?.last === seq - 1 && run.publishedAtMs === publishedAtMs && run.historical === historical) {
      run.last = seq;
      continue;
    }
    const begun = { stream, first: seq, last: seq, publishedAtMs, historical };
    open.set(stream, begun);
    runs.push(begun);
  }
  return runs;
}
