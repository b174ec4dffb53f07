import type { Steps } from '../steps.ts';
import type { LabelledBurst } from '../types.ts';
import { buildViewReference, checkViewSteps, type ViewCheck, type ViewReference } from './check-view.ts';

/** Newest views that a reference is drawn from: enough to average the water away. */
const REFERENCE_VIEWS = 16;

export interface ViewGroup {
  readonly reference: ViewReference | null;
  /** Oldest first. */
  readonly bursts: readonly LabelledBurst[];
}

/**
 * Sorts labelled bursts (oldest first) by the view that they show, newest view first. A burst begins a view of its
 * own only on evidence that the camera looked elsewhere; without a picture, or in doubt, it belongs to the newest.
 */
export function* groupByView(bursts: readonly LabelledBurst[]): Steps<readonly ViewGroup[]> {
  const groups: { reference: ViewReference | null; bursts: LabelledBurst[] }[] = [];
  for (const burst of bursts.toReversed()) {
    const checks: { readonly group: (typeof groups)[number]; readonly check: ViewCheck }[] = [];
    for (const group of groups) {
      checks.push({ group, check: yield* checkViewSteps(group.reference, burst.view) });
      yield;
    }
    const home =
      checks
        .filter(({ check }) => check.state === 'same')
        .toSorted((a, b) => b.check.score - a.check.score)
        .at(0) ?? checks.find(({ check }) => check.state === 'unknown');
    const group = home?.group ?? { reference: null, bursts: [] };
    if (home === undefined) groups.push(group);
    group.bursts.push(burst);
    // Each doubling is drawn anew: often enough while every view still counts.
    const size = group.bursts.length;
    if (size <= REFERENCE_VIEWS && Number.isInteger(Math.log2(size)))
      group.reference = yield* buildViewReference(viewsOf(group.bursts), false);
  }
  const sorted: ViewGroup[] = [];
  for (const group of groups)
    sorted.push({
      reference: yield* buildViewReference(viewsOf(group.bursts), true),
      bursts: group.bursts.reverse(),
    });
  return sorted;
}

/** Of bursts, newest first. */
const viewsOf = (bursts: readonly LabelledBurst[]) =>
  bursts.flatMap(({ view }) => (view === null ? [] : [view])).slice(0, REFERENCE_VIEWS);
