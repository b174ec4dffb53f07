import { cameraOf, type Found, type prepareOutbox } from './statements.ts';
import type { OutboxTally } from './tally.ts';
import { runsOf, streamRuns, type Run } from './runs.ts';
import type { Acceptance } from '../types.ts';

type SettlingStatements = Pick<
  ReturnType<typeof prepareOutbox>,
  'sum' | 'found' | 'remove' | 'published' | 'eventsPublished'
>;

/**
 * Takes accepted rows out of the table, a run of them at a time, and notes on records and events when they were
 * published. Rows that are gone already had another fate, which is counted. Call it in a transaction.
 */
export function takeOut(
  rows: readonly Acceptance[],
  statements: SettlingStatements,
  tally: OutboxTally,
): void {
  for (const run of runsOf(rows.toSorted((a, b) => a.rowId - b.rowId))) {
    const sum = statements.sum.get(run.first, run.last);
    if (!sum || sum.rows === 0) continue;
    note(sum.rows === run.rows.length ? run.rows : stillThere(run, statements), statements);
    statements.remove.run(run.first, run.last);
    tally.went(sum);
  }
  tally.save();
}

/** Takes single rows out that have another fate. Call it in the transaction that counts it. */
export function takeGone(
  rows: readonly Found[],
  { remove }: Pick<SettlingStatements, 'remove'>,
  tally: OutboxTally,
): void {
  for (const { row_id: rowId, stream, bytes } of rows) {
    remove.run(rowId, rowId);
    tally.went({ rows: 1, events: cameraOf(stream) === null ? 1 : 0, bytes });
  }
  tally.save();
}

function stillThere({ first, last, rows }: Run, { found }: SettlingStatements): readonly Acceptance[] {
  const there = new Set(found.all(first, last).map(({ row_id }) => row_id));
  // Each once: `delete` is false for one that was met before.
  return rows.filter(({ rowId }) => there.delete(rowId));
}

function note(rows: readonly Acceptance[], statements: SettlingStatements): void {
  for (const { stream, first, last, publishedAtMs, historical } of streamRuns(rows)) {
    const camera = cameraOf(stream);
    if (camera === null) statements.eventsPublished.run(publishedAtMs, first, last);
    else statements.published.run(publishedAtMs, historical ? 1 : 0, camera, first, last);
  }
}
