import { weightedMean } from '../base/statistics.ts';
import { selectBursts } from './select-bursts.ts';
import { assignSessions } from './sessions.ts';
import { runNow } from './steps.ts';
import type { LabelledBurst } from './types.ts';
import { calibrateView, estimateBy, estimateByRule, type HeightWithInterval } from './view-calibration.ts';

/** A labelled burst with estimates from calibrations that were fitted without the group of this burst. */
export interface HeldOutBurst {
  readonly observationId: string;
  readonly group: string;
  readonly labelM: number;
  readonly ridge: HeightWithInterval;
  readonly median: HeightWithInterval;
  /** The estimate that the agent would have published. */
  readonly rule: HeightWithInterval;
}

/**
 * Mean absolute error, share of the intervals that contain the label, and mean half width of the intervals. Each group counts
 * once, with any number of bursts.
 */
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
 * Leave-one-group-out evaluation: leaves out each group and repeats the whole calibration on the rest, with the intervals
 * and the choice between ridge regression and median. Null with fewer than two groups. Blocks for about n^4 / 2
 * microseconds, so use it only in command line tools.
 */
export function evaluateBursts(labelled: readonly LabelledBurst[], sessionHours: number): Evaluation | null {
  const selected = selectBursts(labelled).bursts;
  const sessionOf = assignSessions(selected, sessionHours);
  const samples = selected.map(({ label, embedding }) => ({
    observationId: label.observationId,
    group: sessionOf.get(label.observationId) ?? label.group,
    heightM: label.heightM,
    embedding,
  }));
  const groups = new Set(samples.map(({ group }) => group));
  if (groups.size < 2) return null;
  const bursts = [...groups].flatMap((leftOut): HeldOutBurst[] => {
    const calibration = runNow(calibrateView(samples.filter(({ group }) => group !== leftOut)));
    return samples
      .filter(({ group }) => group === leftOut)
      .map(({ observationId, group, heightM, embedding }) => ({
        observationId,
        group,
        labelM: heightM,
        ridge: estimateBy('ridge', calibration, embedding),
        median: estimateBy('median', calibration, embedding),
        rule: estimateByRule(calibration, embedding),
      }));
  });
  return {
    bursts,
    groups: groups.size,
    ridge: scoreMethod(bursts, 'ridge'),
    median: scoreMethod(bursts, 'median'),
    rule: scoreMethod(bursts, 'rule'),
  };
}

function scoreMethod(bursts: readonly HeldOutBurst[], method: 'ridge' | 'median' | 'rule'): MethodScore {
  const sizeOf = Map.groupBy(bursts, ({ group }) => group);
  const weights = bursts.map(({ group }) => 1 / (sizeOf.get(group)?.length ?? 1));
  const meanOf = (value: (estimate: HeightWithInterval, labelM: number) => number): number =>
    weightedMean(
      bursts.map((burst) => value(burst[method], burst.labelM)),
      weights,
    ) ?? 0;
  return {
    maeM: meanOf(({ heightM }, labelM) => Math.abs(heightM - labelM)),
    coverage01: meanOf(({ lowM, highM }, labelM) => Number(labelM >= lowM && labelM <= highM)),
    halfWidthM: meanOf(({ lowM, highM }) => (highM - lowM) / 2),
  };
}
