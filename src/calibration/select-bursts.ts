import type { FitOutcome, LabelledBurst } from './types.ts';

/** Only the newest labelled bursts are fitted: a beach changes over the years, and the cost of a fit grows with n^3. */
export const MAX_LABELS = 200;
/** A label above this is a typing error, metres: no higher breaking wave was ever measured. */
export const MAX_LABEL_M = 25;

export interface Selection {
  /** Oldest first, one for each observation, at most `MAX_LABELS`. */
  readonly bursts: readonly LabelledBurst[];
  readonly ignored: FitOutcome['ignored'];
  readonly tooOld: number;
}

/**
 * Selects the labels to fit. Keeps the last of several labels of one observation. Ignores heights outside
 * 0..`MAX_LABEL_M`, and embeddings that are broken or whose length differs from the newest valid one. The result does
 * not depend on the order of `labelled`.
 */
export function selectBursts(labelled: readonly LabelledBurst[]): Selection {
  const ordered = labelled.toSorted(
    (a, b) =>
      a.label.createdAtMs - b.label.createdAtMs ||
      compareText(a.label.observationId, b.label.observationId) ||
      a.label.heightM - b.label.heightM,
  );
  const lastOf = new Map(ordered.map((burst) => [burst.label.observationId, burst]));
  const latest = ordered.filter((burst) => lastOf.get(burst.label.observationId) === burst);
  const length = latest.findLast(({ embedding }) => isValidEmbedding(embedding))?.embedding.length;

  const bursts: LabelledBurst[] = [];
  const ignored: FitOutcome['ignored'][number][] = [];
  for (const burst of latest) {
    const { observationId, heightM } = burst.label;
    if (!(heightM >= 0 && heightM <= MAX_LABEL_M)) ignored.push({ observationId, reason: 'height_absurd' });
    else if (burst.embedding.length !== length || !isValidEmbedding(burst.embedding))
      ignored.push({ observationId, reason: 'embedding_invalid' });
    else bursts.push(burst);
  }
  const tooOld = Math.max(0, bursts.length - MAX_LABELS);
  return { bursts: bursts.slice(tooOld), ignored, tooOld };
}

/** True if the embedding is not empty and every value is finite. */
export const isValidEmbedding = (embedding: Float32Array): boolean =>
  embedding.length > 0 && embedding.every(Number.isFinite);

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
