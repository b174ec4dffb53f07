import type { SegmentSpectra } from './spectra.ts';
import type { PixelSeries } from './types.ts';

export interface Travel {
  /** Share of the common energy of neighbouring cells that travels towards the shore (down the columns), 0..1. */
  readonly shoreward: number;
  /** Direction of travel in the picture: 0 up, 90 right, 180 down; null when the columns are lines. */
  readonly travelDeg: number | null;
  /** Magnitude-squared coherence of neighbouring cells, mean over the pairs, 0..1. */
  readonly coherence: number;
}

interface Phase {
  readonly shoreward: number;
  readonly seaward: number;
  /** Sum of the cross spectra, each divided by the root of the powers: its angle is the mean phase lag. */
  readonly lagSum: number;
  readonly coherence: number;
  readonly pairs: number;
}

/**
 * How the waves of some frequencies travel, from the phases between cells that are neighbours. Null when no two cells
 * are neighbours along a column.
 */
export function findTravel(
  spectra: SegmentSpectra,
  { columns, cellAspect }: Pick<PixelSeries, 'columns' | 'cellAspect'>,
  bins: { readonly from: number; readonly to: number },
): Travel | null {
  const indexOf = new Map(spectra.cells.map((cell, index) => [cell, index]));
  const down = comparePairs(
    spectra,
    bins,
    pairsAt(spectra.cells, indexOf, columns, () => true),
  );
  if (down.pairs === 0) return null;
  const hasRight = (cell: number): boolean => cell % columns < columns - 1;
  const right =
    cellAspect !== null && columns > 1
      ? comparePairs(spectra, bins, pairsAt(spectra.cells, indexOf, 1, hasRight))
      : null;
  const lagRight =
    right && right.pairs > 0 && cellAspect !== null ? right.lagSum / right.pairs / cellAspect : 0;
  const lagDown = down.lagSum / down.pairs;
  const degrees = (Math.atan2(lagRight, -lagDown) * 180) / Math.PI;
  const total = down.shoreward + down.seaward;
  return {
    shoreward: total > 0 ? down.shoreward / total : 0.5,
    travelDeg: right ? (degrees + 360) % 360 : null,
    coherence: down.coherence / down.pairs,
  };
}

function pairsAt(
  cells: readonly number[],
  indexOf: ReadonlyMap<number, number>,
  step: number,
  isInside: (cell: number) => boolean,
): readonly (readonly [number, number])[] {
  return cells.flatMap((cell, index) => {
    const next = indexOf.get(cell + step);
    return next !== undefined && isInside(cell) ? [[index, next] as const] : [];
  });
}

function comparePairs(
  { re, im, segments, frequenciesHz }: SegmentSpectra,
  { from, to }: { readonly from: number; readonly to: number },
  pairs: readonly (readonly [number, number])[],
): Phase {
  const bins = frequenciesHz.length;
  let shoreward = 0;
  let seaward = 0;
  let lagSum = 0;
  let coherence = 0;
  for (const [a, b] of pairs) {
    let crossRe = 0;
    let crossIm = 0;
    let powerA = 0;
    let powerB = 0;
    for (let segment = 0; segment < segments; segment += 1)
      for (let bin = from; bin <= to; bin += 1) {
        const i = (a * segments + segment) * bins + bin;
        const j = (b * segments + segment) * bins + bin;
        const aRe = re[i] ?? 0;
        const aIm = im[i] ?? 0;
        const bRe = re[j] ?? 0;
        const bIm = im[j] ?? 0;
        crossRe += aRe * bRe + aIm * bIm;
        // Positive when the second cell comes later.
        crossIm += aIm * bRe - aRe * bIm;
        powerA += aRe * aRe + aIm * aIm;
        powerB += bRe * bRe + bIm * bIm;
      }
    const power = powerA * powerB;
    if (power === 0) continue;
    const common = (crossRe * crossRe + crossIm * crossIm) / power;
    coherence += common;
    const lag = Math.atan2(crossIm, crossRe);
    lagSum += common * lag;
    if (lag > 0) shoreward += common * lag;
    else seaward -= common * lag;
  }
  return { shoreward, seaward, lagSum, coherence, pairs: pairs.length };
}
