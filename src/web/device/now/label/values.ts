import type { Scale, Unit } from '../../../shared/preferences.ts';
import { toMetres, toUnit } from '../../../shared/format.ts';

/** In the Hawaiian scale a height is half of the face. */
const FACE_OF_SCALE: Readonly<Record<Scale, number>> = { face: 1, hawaiian: 2 };
/** The agent refuses higher faces. */
const MAX_FACE_M = 25;
/** Values that are offered at once, without `flat`. */
const FEW = 7;
/** Where the offered values begin when nothing is known about the height: middle of them, metres of face. */
const USUAL_M = 1;

interface Step {
  readonly upTo: number;
  readonly step: number;
}
/** How finely people tell heights apart. */
const STEPS: Readonly<Record<Unit, readonly Step[]>> = {
  m: [
    { upTo: 1.5, step: 0.1 },
    { upTo: 3, step: 0.25 },
    { upTo: 6, step: 0.5 },
    { upTo: 12, step: 1 },
  ],
  ft: [
    { upTo: 4, step: 0.5 },
    { upTo: 12, step: 1 },
    { upTo: 20, step: 2 },
    { upTo: 40, step: 5 },
  ],
};

/** All values that can be tapped, in a unit, without `flat`. */
export function allValues(unit: Unit): readonly number[] {
  const values: number[] = [];
  let value = 0;
  for (const { upTo, step } of STEPS[unit])
    while (value + step <= upTo + 1e-9) {
      value = Number((value + step).toFixed(2));
      values.push(value);
    }
  return values;
}

/** Metres of face of a value in a unit and scale. */
export const faceM = (value: number, unit: Unit, scale: Scale): number =>
  toMetres(value, unit) * FACE_OF_SCALE[scale];

/** A value in a unit and scale, of metres of face. */
export const valueOf = (heightM: number, unit: Unit, scale: Scale): number =>
  toUnit(heightM, unit) / FACE_OF_SCALE[scale];

/** The index of the value in the middle of those that are offered. */
export function middleIndex(estimateM: number | null, unit: Unit, scale: Scale): number {
  const values = allValues(unit);
  const wanted = valueOf(estimateM ?? USUAL_M, unit, scale);
  let nearest = 0;
  for (const [index, value] of values.entries())
    if (Math.abs(value - wanted) < Math.abs((values[nearest] ?? 0) - wanted)) nearest = index;
  return nearest;
}

/**
 * Whether the offered values must follow the estimate: it has left their inner part. Values that move with each small change
 * would slip away under a finger.
 */
export const mustFollow = (shownMiddle: number, newMiddle: number): boolean =>
  Math.abs(newMiddle - shownMiddle) > Math.floor(FEW / 2) - 1;

/** The offered values around this one. */
export function fewValues(middle: number, unit: Unit): readonly number[] {
  const values = allValues(unit);
  const start = Math.max(0, Math.min(values.length - FEW, middle - Math.floor(FEW / 2)));
  return values.slice(start, start + FEW);
}

/** A typed value: `1.2`, `1,2`. Null when it is no height that the agent takes. */
export function parseValue(typed: string, unit: Unit, scale: Scale): number | null {
  const trimmed = typed.trim().replace(',', '.');
  if (!/^\d+(\.\d*)?$|^\.\d+$/.test(trimmed)) return null;
  const value = Number(trimmed);
  return faceM(value, unit, scale) <= MAX_FACE_M ? value : null;
}

/** Something that a person saw from a time on, ms. */
export interface Seen<T> {
  readonly value: T;
  readonly sinceMs: number;
}

/** A person who taps within this time after a change has still seen what was there before. */
const REACTION_MS = 700;

/** What the person who taps at `tapMs` has seen. `seen`: the newest last. */
export function seenAt<T>(seen: readonly Seen<T>[], tapMs: number): T | null {
  const known = seen.findLast(({ sinceMs }) => sinceMs <= tapMs - REACTION_MS) ?? seen[0];
  return known?.value ?? null;
}
