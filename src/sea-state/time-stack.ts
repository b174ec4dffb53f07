import type { PixelSeries } from './types.ts';

/** One column of a series over time, for people. */
export interface TimeStack extends Pick<PixelSeries, 'samples' | 'rows' | 'columns' | 'rateHz'> {
  /** Index of the column. */
  readonly column: number;
  /** Grey values, 0..255: `[rows, samples]`. */
  readonly values: Uint8Array;
}

/** The column with the most cells that were used. */
export function timeStackOf(series: PixelSeries, cells: readonly number[]): TimeStack {
  const { samples, rows, columns, values, rateHz } = series;
  const counts = new Array<number>(columns).fill(0);
  for (const cell of cells) counts[cell % columns] = (counts[cell % columns] ?? 0) + 1;
  const column = cells.length === 0 ? columns >> 1 : counts.indexOf(Math.max(...counts));
  const stack = new Uint8Array(samples * rows);
  for (let sample = 0; sample < samples; sample += 1)
    for (let row = 0; row < rows; row += 1)
      stack[row * samples + sample] = values[(sample * rows + row) * columns + column] ?? 0;
  return { samples, rows, columns, rateHz, column, values: stack };
}
