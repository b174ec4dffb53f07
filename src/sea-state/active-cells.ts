import { segmentLength, segmentSpectra, type SegmentSpectra } from './spectra.ts';
import type { PixelSeries } from './types.ts';
import { waveBand } from './wave-band.ts';

/** Share of the cells that are used: those with the most energy in the wave band. Most of them show breaking waves. */
const ACTIVE_SHARE = 0.1;
const MIN_CELLS = 12;
/** Standard deviation in the wave band, grey levels: less is noise of the camera. */
const MIN_DEVIATION = 1.5;
/** Cells whose spectra are computed at the same time: bounds the memory. */
const BATCH_CELLS = 512;

/**
 * Indices of all cells that move in the wave band, most energy first: the water, and what else moves. Empty when hardly
 * any does.
 */
export function findMovingCells(series: PixelSeries): readonly number[] {
  const count = series.columns * series.rows;
  const energies = new Float64Array(count);
  let spectra: SegmentSpectra | null = null;
  for (let from = 0; from < count; from += BATCH_CELLS) {
    const batch = Array.from({ length: Math.min(BATCH_CELLS, count - from) }, (_, i) => from + i);
    spectra = segmentSpectra(series, batch, spectra);
    const { segments, frequenciesHz, re, im } = spectra;
    const { first, last } = waveBand(frequenciesHz);
    // A Hann window keeps 3/8 of the energy; each frequency stands for its negative one too.
    const length = segmentLength(series);
    const scale = 2 / (0.375 * length * length * segments);
    for (const [index, cell] of batch.entries())
      for (let segment = 0; segment < segments; segment += 1) {
        const at = (index * segments + segment) * frequenciesHz.length;
        for (let bin = first; bin <= last; bin += 1)
          energies[cell] =
            (energies[cell] ?? 0) + ((re[at + bin] ?? 0) ** 2 + (im[at + bin] ?? 0) ** 2) * scale;
      }
  }
  const moving = Array.from(energies.keys()).filter(
    (cell) => Math.sqrt(energies[cell] ?? 0) >= MIN_DEVIATION,
  );
  return moving.length >= MIN_CELLS ? moving.sort((a, b) => (energies[b] ?? 0) - (energies[a] ?? 0)) : [];
}

/** Those of the moving cells that are used for the period. */
export const activeCells = (
  moving: readonly number[],
  { columns, rows }: Pick<PixelSeries, 'columns' | 'rows'>,
): readonly number[] => moving.slice(0, Math.max(MIN_CELLS, Math.round(columns * rows * ACTIVE_SHARE)));
