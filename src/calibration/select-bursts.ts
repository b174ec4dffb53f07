import type { FitOutcome, LabelledBurst } from './types.ts';

/** Only the newest labelled bursts are fitted: a beach changes over the years, and a fit must stay cheap. */
export const NEWEST_LABELS = 200;
/** No breaking wave on record is higher; a larger reading is a slip of the finger. */
export const HIGHEST_LABEL_M = 25;

export interface Selection {
  /** Oldest first, one per observation, at most `NEWEST_LABELS`. */
  readonly bursts: readonly LabelledBurst[];
  readonly ignored: FitOutcome['ignored'];
  readonly tooOld: number;
}

/**
 * What can be fitted among the labels given: in an order that does not depend on how they came, the last of several
 * labels of one observation, without absurd readings and without embeddings that are broken or of another length
 * than the newest sound one.
 */
export function selectBursts(labelled: readonly LabelledBurst[]): Selection {
  const ordered = labelled.toSorted(
    (a, b) =>
      a.label.createdAtMs - b.label.createdAtMs ||
      compare(a.label.observationId, b.label.observationId) ||
      a.label.heightM - b.label.heightM,
  );
  const byObservation = new Map(ordered.map((burst) => [burst.label.observationId, burst]));
  const latest = ordered.filter((burst) => byObservation.get(burst.label.observationId) === burst);
  const length = latest.findLast(({ embedding }) => isSound(embedding))?.embedding.length;

  const bursts: LabelledBurst[] = [];
  const ignored: FitOutcome['ignored'][number][] = [];
  for (const burst of latest) {
    const { observationId, heightM } = burst.label;
    if (!(heightM >= 0 && heightM <= HIGHEST_LABEL_M))
      ignored.push({ observationId, reason: 'height_absurd' });
    else if (burst.embedding.length !== length || !isSound(burst.embedding))
      ignored.push({ observationId, reason: 'embedding_invalid' });
    else bursts.push(burst);
  }
  const tooOld = Math.max(0, bursts.length - NEWEST_LABELS);
  return { bursts: bursts.slice(tooOld), ignored, tooOld };
}

/** An embedding that arithmetic can be done with: not empty, every value finite. */
export const isSound = (embedding: Float32Array): boolean =>
  embedding.length > 0 && embedding.every((value) => Number.isFinite(value));

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
