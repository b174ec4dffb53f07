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

const mean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;

function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? null;
}
