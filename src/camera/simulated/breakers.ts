import { wander } from './noise.ts';
import type { Swell } from './sea-state.ts';
import { type Analytic, BREAKING, surfSpeed, WaveField } from './wave-field.ts';

/** Height at which a wave breaks at a place, metres. The sand is uneven, so waves break at different distances. */
export const breakingLimitM = (seed: number, depth: number, sM: number, cM: number): number =>
  BREAKING * depth * (0.8 + 0.4 * wander(seed + 801, sM / 42 + cM / 300));

/** Height of a wave from trough to crest, metres: breaking limits it. */
export function waveHeightM(envelopeM: number, limitM: number): number {
  const ratio = (2 * envelopeM) / limitM;
  return ratio > 1 ? limitM * (1 + 0.2 * Math.min(1, ratio - 1)) : 2 * envelopeM;
}

/** The waves that break along one line to the shore. */
export interface BreakerTruth {
  readonly count: number;
  readonly perMinute: number;
  /** Mean height of the highest third, from trough to crest where they begin to break, metres; null without breakers. */
  readonly significantM: number | null;
  readonly meanM: number | null;
}

/** Waves break within this distance from the shore, metres. */
const FARTHEST_M = 320;
const NEAREST_M = 4;
const STEP_M = 2;
const STEP_S = 0.25;
/** A crest begins to break at this ratio of its height to the limit, and stops below the second one. */
const BEGINS = 1.05;
const ENDS = 0.9;

interface Passage {
  readonly atS: number;
  readonly ratio: number;
  readonly isBroken: boolean;
}

/**
 * The breakers on the line at `sM` along the shore, from the moving field itself: crests are followed from the sea to the
 * shore. A wave that breaks on the bar, recovers, and breaks again counts twice.
 */
export function findBreakers(
  {
    seed,
    swells,
    sM = 0,
  }: { readonly seed: number; readonly swells: readonly Swell[]; readonly sM?: number },
  { fromS, durationS }: { readonly fromS: number; readonly durationS: number },
): BreakerTruth {
  const field = new WaveField(seed);
  const places = Array.from(
    { length: (FARTHEST_M - NEAREST_M) / STEP_M + 1 },
    (_, i) => FARTHEST_M - i * STEP_M,
  );
  const depths = places.map((c) => field.depthAt(c));
  const limits = places.map((c, i) => breakingLimitM(seed, depths[i] ?? 0, sM, c));
  const crests = passingCrests(field, { swells, places, sM, fromS, durationS });
  const heights: number[] = [];
  let outer: readonly Passage[] = [];
  for (const [place, passing] of crests.entries()) {
    const limit = limits[place] ?? 1;
    const travelS = STEP_M / surfSpeed(depths[place] ?? 1);
    outer = passing.map(({ atS, envelopeM }) => {
      const ratio = (2 * envelopeM) / limit;
      const before = outer.find((one) => Math.abs(atS - one.atS - travelS) < travelS + STEP_S);
      const wasBroken = before?.isBroken === true && ratio >= ENDS;
      // A crest that is seen for the first time may have broken before.
      if (before && !wasBroken && ratio >= BEGINS) heights.push(waveHeightM(envelopeM, limit));
      return { atS, ratio, isBroken: wasBroken || ratio >= BEGINS };
    });
  }
  const mean = (values: readonly number[]): number | null =>
    values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
  const highest = heights.toSorted((a, b) => b - a).slice(0, Math.ceil(heights.length / 3));
  return {
    count: heights.length,
    perMinute: (60 * heights.length) / durationS,
    significantM: mean(highest),
    meanM: mean(heights),
  };
}

/** The crests that pass each place. The phase at a place grows with time and is 0 on a crest. */
function passingCrests(
  field: WaveField,
  scene: {
    readonly swells: readonly Swell[];
    readonly places: readonly number[];
    readonly sM: number;
    readonly fromS: number;
    readonly durationS: number;
  },
): readonly (readonly { readonly atS: number; readonly envelopeM: number }[])[] {
  const { swells, places, sM, fromS, durationS } = scene;
  const passages = places.map((): { atS: number; envelopeM: number }[] => []);
  const before = new Float64Array(places.length);
  const wave: Analytic = { upM: 0, acrossM: 0 };
  for (let atS = fromS; atS < fromS + durationS; atS += STEP_S) {
    field.set(swells, atS);
    for (const [place, c] of places.entries()) {
      field.sample(sM, c, wave);
      const phase = Math.atan2(wave.acrossM, wave.upM);
      const last = before[place] ?? 0;
      if (atS > fromS && last < 0 && phase >= 0 && phase - last < Math.PI)
        passages[place]?.push({ atS, envelopeM: Math.hypot(wave.upM, wave.acrossM) });
      before[place] = phase;
    }
  }
  return passages;
}
