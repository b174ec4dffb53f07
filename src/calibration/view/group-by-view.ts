import type { Steps } from '../steps.ts';
import type { LabelledBurst } from '../types.ts';
import { buildViewReference, checkViewSteps, type ViewCheck, type ViewReference } from './check-view.ts';

/** A reference uses the newest views up to this number: enough to average the moving water away. */
const MAX_REFERENCE_VIEWS = 16;

export interface ViewGroup {
  readonly reference: ViewReference | null;
  /** Oldest first. */
  readonly bursts: readonly LabelledBurst[];
}

/**
 * Groups labelled bursts (oldest first) by the view that they show; the newest view comes first. A burst starts a new
 * view only on evidence that the camera was moved. A burst without a view signature, or with an unknown view, belongs to
 * the newest view.
 */
export function* groupByView(bursts: readonly LabelledBurst[]): Steps<readonly ViewGroup[]> {
  const groups: { reference: ViewReference | null; bursts: LabelledBurst[] }[] = [];
  for (const burst of bursts.toReversed()) {
    const checked: { readonly group: (typeof groups)[number]; readonly check: ViewCheck }[] = [];
    for (const group of groups) {
      checked.push({ group, check: yield* checkViewSteps(group.reference, burst.view) });
      yield;
    }
    const group = bestView(checked)?.group ?? { reference: null, bursts: [] };
    if (group.bursts.length === 0) groups.push(group);
    group.bursts.push(burst);
    // Build the reference again at each doubling. That is often enough: each further view changes it less.
    const size = group.bursts.length;
    if (size <= MAX_REFERENCE_VIEWS && Number.isInteger(Math.log2(size)))
      group.reference = yield* buildViewReference(newestViews(group.bursts), false);
  }
  const complete: ViewGroup[] = [];
  for (const group of groups)
    complete.push({
      reference: yield* buildViewReference(newestViews(group.bursts), true),
      bursts: group.bursts.reverse(),
    });
  return complete;
}

/** The view with the best score among those in state `same`, otherwise the first one in state `unknown`. */
export function bestView<T extends { readonly check: ViewCheck }>(checked: readonly T[]): T | undefined {
  const same = checked.filter(({ check }) => check.state === 'same');
  return (
    same.toSorted((a, b) => b.check.score - a.check.score)[0] ??
    checked.find(({ check }) => check.state === 'unknown')
  );
}

/** `bursts` are ordered newest first. */
const newestViews = (bursts: readonly LabelledBurst[]) =>
  bursts.flatMap(({ view }) => (view === null ? [] : [view])).slice(0, MAX_REFERENCE_VIEWS);
