import type { PixelSeries } from './types.ts';

/** Samples that are read together: their rows fit into the cache of the processor. */
const BLOCK_SAMPLES = 64;

/** Writes the series of some cells one after the other: `[cells, samples]`. */
export function copyCellSeries(
  { values, samples, columns, rows }: PixelSeries,
  cells: readonly number[],
  into: Uint8Array,
): void {
  const stride = columns * rows;
  for (let from = 0; from < samples; from += BLOCK_SAMPLES) {
    const to = Math.min(samples, from + BLOCK_SAMPLES);
    for (let index = 0; index < cells.length; index += 1) {
      const cell = cells[index] ?? 0;
      for (let sample = from; sample < to; sample += 1)
        into[index * samples + sample] = values[sample * stride + cell] ?? 0;
    }
  }
}
