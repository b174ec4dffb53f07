import type { ViewSignature } from '../../vision/protocol.ts';
import type { Steps } from '../steps.ts';
import type { LabelledBurst } from '../types.ts';
import { buildViewReference, findViewSteps, type ViewReference } from './check-view.ts';
import { newScratch } from './correlation.ts';

/** A reference uses the newest views up to this number: enough to average the moving water away. */
const MAX_REFERENCE_VIEWS = 16;
/** The newest bursts up to this number are compared with all views in each grouping; older ones keep their view. */
const MAX_CHECKED_BURSTS = 16;

export interface ViewGroup {
  readonly reference: ViewReference | null;
  /** Oldest first. */
  readonly bursts: readonly LabelledBurst[];
}

/** A view while bursts are added to it, newest first. */
interface OpenGroup {
  reference: ViewReference | null;
  readonly bursts: LabelledBurst[];
}

/**
 * Groups labelled bursts (oldest first) by the view that they show; the view with the newest burst comes first. A burst
 * starts a new view only on evidence that the camera was moved. A burst without a view signature, or with an unknown view,
 * belongs to the newest view.
 *
 * A comparison costs milliseconds. So a burst that clearly shows the only view of a former grouping joins it. Otherwise the
 * newest bursts are grouped again, and older bursts stay together: they belong to the view of the newest bursts with which
 * they shared one before.
 */
export function* groupByView(
  bursts: readonly LabelledBurst[],
  former: readonly ViewGroup[] = [],
): Steps<readonly ViewGroup[]> {
  const formerOf = findFormerGroups(bursts, former);
  const firstChecked = bursts.length - MAX_CHECKED_BURSTS;
  const isKept = (burst: LabelledBurst, index: number): boolean =>
    index < firstChecked && formerOf.has(burst);
  const groups: OpenGroup[] = [];
  const newBursts = bursts.filter((burst) => !formerOf.has(burst));
  if (firstChecked > 0 && (yield* showOnlyView(newBursts, former)))
    groups.push({ reference: null, bursts: [...bursts] });
  else {
    for (const burst of bursts.filter((one, index) => !isKept(one, index)).reverse())
      yield* addBursts(groups, [burst]);
    const kept = bursts.filter(isKept).reverse();
    for (const group of former) {
      const members = kept.filter((burst) => formerOf.get(burst) === group);
      if (members.length === 0) continue;
      const shared = groups.map(
        ({ bursts: checked }) => checked.filter((one) => formerOf.get(one) === group).length,
      );
      const most = groups[shared.indexOf(Math.max(1, ...shared))];
      if (most) most.bursts.push(...members);
      else yield* addBursts(groups, members);
    }
  }
  const positions = new Map(bursts.map((burst, index) => [burst, index]));
  const positionOf = (burst: LabelledBurst | undefined): number => (burst && positions.get(burst)) ?? -1;
  const complete: ViewGroup[] = [];
  for (const { bursts: members } of groups) {
    const ordered = members.toSorted((a, b) => positionOf(a) - positionOf(b));
    const views = newestViews(ordered);
    const known = former.find((group) => isEqual(newestViews(group.bursts), views));
    const reference = known ? known.reference : yield* buildViewReference(views, true);
    complete.push({ reference, bursts: ordered });
  }
  return complete.sort((a, b) => positionOf(b.bursts.at(-1)) - positionOf(a.bursts.at(-1)));
}

/** The former group of each burst whose view signature is still the same. */
function findFormerGroups(
  bursts: readonly LabelledBurst[],
  former: readonly ViewGroup[],
): ReadonlyMap<LabelledBurst, ViewGroup> {
  const known = new Map(
    former.flatMap((group) =>
      group.bursts.map(({ label, view }) => [label.observationId, { group, view }] as const),
    ),
  );
  const groupOf = new Map<LabelledBurst, ViewGroup>();
  for (const burst of bursts) {
    const before = known.get(burst.label.observationId);
    if (before && isSameImage(before.view, burst.view)) groupOf.set(burst, before.group);
  }
  return groupOf;
}

/** True if all these bursts clearly show the only view of a grouping. */
function* showOnlyView(
  bursts: readonly LabelledBurst[],
  [only, ...others]: readonly ViewGroup[],
): Steps<boolean> {
  if (only === undefined || others.length > 0) return false;
  const reference = only.reference && { ...only.reference, scratch: newScratch() };
  for (const burst of bursts) {
    const found = yield* findViewSteps([{ reference }], burst.view);
    if (found?.check.state !== 'same') return false;
  }
  return true;
}

/** Adds bursts of one view (newest first) to the view that the newest one shows. */
function* addBursts(groups: OpenGroup[], bursts: readonly LabelledBurst[]): Steps<void> {
  const found = yield* findViewSteps(groups, bursts[0]?.view ?? null);
  const group = found?.view ?? { reference: null, bursts: [] };
  if (!found?.view) groups.push(group);
  group.bursts.push(...bursts);
  // Build the reference again at each doubling. That is often enough: each further view changes it less.
  const size = group.bursts.length;
  if (!found?.view || (size <= MAX_REFERENCE_VIEWS && Number.isInteger(Math.log2(size))))
    group.reference = yield* buildViewReference(newestViews(group.bursts.toReversed()), false);
}

/** The views from which the reference of a group is built, newest first. `bursts` are ordered oldest first. */
export const newestViews = (bursts: readonly LabelledBurst[]): readonly ViewSignature[] =>
  bursts
    .toReversed()
    .flatMap(({ view }) => (view === null ? [] : [view]))
    .slice(0, MAX_REFERENCE_VIEWS);

const isEqual = (a: readonly ViewSignature[], b: readonly ViewSignature[]): boolean =>
  a.length === b.length && a.every((view, index) => isSameImage(view, b[index] ?? null));

function isSameImage(a: ViewSignature | null, b: ViewSignature | null): boolean {
  if (a === null || b === null || a === b) return a === b;
  return a.width === b.width && a.height === b.height && Buffer.compare(a.luma, b.luma) === 0;
}
