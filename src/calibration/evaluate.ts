import { selectBursts } from './select-bursts.ts';
import { runNow } from './steps.ts';
import type { LabelledBurst } from './types.ts';
import { calibrateView, heightBy, heightFor, type HeightWithInterval } from './view-calibration.ts';

/** One labelled burst, judged by calibrations that had seen nothing of its group. */
export interface HeldOutBurst {
  readonly observationId: string;
  readonly group: string;
  readonly labelM: number;
  readonly ridge: HeightWithInterval;
  readonly median: HeightWithInterval;
  /** What the agent would have published. */
  readonly rule: HeightWithInterval;
}

/** How well intervals hold: the share that contained the label, and their mean half width, metres. */
export interface MethodScore {
  readonly maeM: number;
  readonly coverage01: number;
  readonly halfWidthM: number;
}

export interface Evaluation {
  readonly bursts: readonly HeldOutBurst[];
  readonly groups: number;
  readonly ridge: MethodScore;
  readonly median: MethodScore;
  readonly rule: MethodScore;
}

/**
 * Leaves out each group whole and calibrates on the rest from the beginning, intervals and the choice between ridge
 * and median included. Null with fewer than two groups. Blocks for about n^4 / 2 microseconds: a tool's work.
 */
export function evaluateBursts(labelled: readonly LabelledBurst[]): Evaluation | null {
  const samples = selectBursts(labelled).bursts.map(({ label, embedding }) => ({
    observationId: label.observationId,
    group: label.group,
    heightM: label.heightM,
    embedding,
  }));
  const groups = new Set(samples.map(({ group }) => group));
  if (groups.size < 2) return null;
  const bursts = [...groups].flatMap((left): HeldOutBurst[] => {
    const calibration = runNow(calibrateView(samples.filter(({ group }) => group !== left)));
    return samples
      .filter(({ group }) => group === left)
      .map(({ observationId, group, heightM, embedding }) => ({
        observationId,
        group,
        labelM: heightM,
        ridge: heightBy('ridge', calibration, embedding),
        median: heightBy('median', calibration, embedding),
        rule: heightFor(calibration, embedding),
      }));
  });
  return {
    bursts,
    groups: groups.size,
    ridge: scoreOf(bursts, (burst) => burst.ridge),
    median: scoreOf(bursts, (burst) => burst.median),
    rule: scoreOf(bursts, (burst) => burst.rule),
  };
}

function scoreOf(
  bursts: readonly HeldOutBurst[],
  by: (burst: HeldOutBurst) => HeightWithInterval,
): MethodScore {
  let error = 0;
  let covered = 0;
  let half = 0;
  for (const burst of bursts) {
    const { heightM, lowM, highM } = by(burst);
    error += Math.abs(heightM - burst.labelM);
    if (burst.labelM >= lowM && burst.labelM <= highM) covered += 1;
    half += (highM - lowM) / 2;
  }
  const n = bursts.length;
  return { maeM: error / n, coverage01: covered / n, halfWidthM: half / n };
}
