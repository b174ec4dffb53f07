import { mean, median } from '../../base/statistics.ts';
import type { FrameResult } from '../../vision/protocol.ts';
import type { ShadowReport } from '../types.ts';

/** One live frame that both models answered. */
export interface Pair {
  readonly active: FrameResult;
  readonly candidate: FrameResult;
}

/** How the candidate's answers differ, over all pairs. */
export function compare(pairs: readonly Pair[]): Omit<ShadowReport, 'failures' | 'calibrations'> {
  const heights = pairs.flatMap(({ active, candidate }) => {
    const before = active.heads?.waveHeight?.heightM;
    const after = candidate.heads?.waveHeight?.heightM;
    return before === undefined || after === undefined ? [] : [after - before];
  });
  return {
    frames: pairs.length,
    activeP50Ms: median(pairs.map(({ active }) => active.timingMs.inference)),
    candidateP50Ms: median(pairs.map(({ candidate }) => candidate.timingMs.inference)),
    heightMeanDifferenceM: mean(heights),
    heightMaxDifferenceM: heights.length === 0 ? null : Math.max(...heights.map(Math.abs)),
    directionDiffers01: differs(pairs, (result) => result.heads?.waveDirection?.label),
    breakingDiffers01: differs(pairs, (result) => result.heads?.breakingType?.label),
  };
}

function differs(
  pairs: readonly Pair[],
  labelOf: (result: FrameResult) => string | undefined,
): number | null {
  return mean(
    pairs.flatMap(({ active, candidate }) => {
      const [before, after] = [labelOf(active), labelOf(candidate)];
      return before === undefined || after === undefined ? [] : [before === after ? 0 : 1];
    }),
  );
}
