import type { Acceptance } from '../types.ts';

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

/** Splits rows of one run, sorted by id, into what went out together. */
export function streamRuns(rows: readonly Acceptance[]): readonly StreamRun[] {
  const runs: StreamRun[] = [];
  const open = new Map<string, { -readonly [K in keyof StreamRun]: StreamRun[K] }>();
  for (const { stream, seq, publishedAtMs, historical } of rows) {
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
