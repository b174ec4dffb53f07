import type { Steps } from './steps.ts';
import type { LabelledBurst } from './types.ts';
import { buildViewReference, checkView, type ViewReference } from './view.ts';

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
    const checks = groups.map((group) => ({ group, check: checkView(group.reference, burst.view) }));
    const home =
      checks
        .filter(({ check }) => check.state === 'same')
        .toSorted((a, b) => b.check.score - a.check.score)
        .at(0) ?? checks.find(({ check }) => check.state === 'unknown');
    if (home === undefined) groups.push({ reference: null, bursts: [burst] });
    else home.group.bursts.push(burst);
    const joined = home?.group ?? groups.at(-1);
    if (joined !== undefined && joined.bursts.length <= REFERENCE_VIEWS)
      joined.reference = buildViewReference(
        joined.bursts.flatMap(({ view }) => (view === null ? [] : [view])),
      );
    yield;
  }
  return groups.map(({ reference, bursts: newestFirst }) => ({ reference, bursts: newestFirst.reverse() }));
}
