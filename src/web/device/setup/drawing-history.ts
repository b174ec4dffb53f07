import type { Drawing } from './drawing.ts';

/** A drawing with the steps that can be undone and done again. */
export interface DrawingHistory {
  readonly past: readonly Drawing[];
  readonly present: Drawing;
  readonly future: readonly Drawing[];
  /** Steps with the same key follow each other as one, such as the moves of a drag. Null: the next one is a step of its own. */
  readonly key: string | null;
}

const MAX_STEPS = 100;

export const startHistory = (present: Drawing): DrawingHistory => ({
  past: [],
  present,
  future: [],
  key: null,
});

/** `key`: continues the step before when that had the same key. */
export function addStep(
  history: DrawingHistory,
  present: Drawing,
  key: string | null = null,
): DrawingHistory {
  if (present === history.present) return history;
  const isSameStep = key !== null && key === history.key;
  const past = isSameStep ? history.past : [...history.past, history.present].slice(-MAX_STEPS);
  return { past, present, future: [], key };
}

export function undoStep(history: DrawingHistory): DrawingHistory {
  const { past, present, future } = history;
  const before = past.at(-1);
  if (before === undefined) return history;
  return { past: past.slice(0, -1), present: before, future: [present, ...future], key: null };
}

export function redoStep(history: DrawingHistory): DrawingHistory {
  const { past, present, future } = history;
  const [next, ...rest] = future;
  if (next === undefined) return history;
  return { past: [...past, present], present: next, future: rest, key: null };
}
