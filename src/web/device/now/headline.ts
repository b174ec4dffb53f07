import type { Observation } from '../../../contract/observation.ts';
import { toUnit } from '../../shared/format.ts';
import type { Unit } from '../../shared/preferences.ts';
import { reasonText, text } from '../../shared/text.ts';

/** What the page says about the height. */
export interface Headline {
  /** usual: the usual height of the site, and no measurement. */
  readonly kind: 'measured' | 'usual' | 'none';
  readonly heightM: number | null;
  readonly lowM: number | null;
  readonly highM: number | null;
  /** Where the height comes from: `learned from 14 readings`. */
  readonly source: string;
  /** The record of the height; null: there is no height. */
  readonly record: Observation | null;
  /** Why there is no height, or no newer one; null when the newest record has one. */
  readonly why: string | null;
}

/**
 * `lastMeasured`: the newest record with a height, when the newest record has none. `labels`: present readings of the camera; those
 * since the newest record count from the next one on.
 */
export function headlineOf(
  latest: Observation | null,
  lastMeasured: Observation | null,
  labels: number,
): Headline {
  if (latest === null) return withoutHeight(text.now.neverObserved);
  if (latest.wave.height_m !== null) return ofRecord(latest, null);
  if (latest.reasons.includes('uncalibrated'))
    return withoutHeight(labels === 0 ? text.now.nobodyRead : text.now.nextHasHeight);
  const why = latest.reasons.map(reasonText).join('; ');
  return lastMeasured === null ? withoutHeight(why) : ofRecord(lastMeasured, why);
}

function withoutHeight(why: string): Headline {
  return { kind: 'none', heightM: null, lowM: null, highM: null, source: '', record: null, why };
}

function ofRecord(record: Observation, why: string | null): Headline {
  const { wave, calibration } = record;
  const readings = text.now.readings(calibration.labels);
  const isUsual = wave.height_basis === 'site_median';
  return {
    kind: isUsual ? 'usual' : 'measured',
    heightM: wave.height_m,
    lowM: wave.height_low_m,
    highM: wave.height_high_m,
    source: isUsual
      ? text.now.usualSource(readings)
      : wave.height_basis === 'model_head'
        ? text.now.modelSource
        : text.now.learnedSource(readings),
    record,
    why,
  };
}

/** Upper end of a part of the body, metres of face: how surfers say a height. */
const BODY_M = [
  [0.15, 'flat'],
  [0.4, 'ankle'],
  [0.65, 'knee'],
  [1.05, 'waist'],
  [1.4, 'chest'],
  [1.85, 'head'],
  [2.6, 'overhead'],
  [3.3, 'wellOverhead'],
  [4.6, 'doubleOverhead'],
  [Infinity, 'huge'],
] as const;

/** `waist high`. */
export function bodyHeight(heightM: number): string {
  const [, name] = BODY_M.find(([upToM]) => heightM < upToM) ?? [0, 'huge' as const];
  return text.now.body[name];
}

/** Where a drawn scale may end: half of it is a round number too. */
const SCALE_ENDS: Readonly<Record<Unit, readonly number[]>> = {
  m: [1, 2, 3, 4, 6, 8, 12, 16, 26],
  ft: [3, 6, 8, 10, 16, 20, 30, 40, 60, 86],
};

/** The end of a scale that shows these heights, in the unit. They end well inside of it, so that the scale seldom changes. */
export function scaleEnd(heightsM: readonly (number | null)[], unit: Unit): number {
  const greatest = toUnit(Math.max(0, ...heightsM.map((heightM) => heightM ?? 0)), unit);
  const ends = SCALE_ENDS[unit];
  return ends.find((end) => greatest * 1.1 <= end) ?? ends.at(-1) ?? greatest;
}
