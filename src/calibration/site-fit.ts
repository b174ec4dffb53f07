import { createHash } from 'node:crypto';
import type { TrainingSample } from './leave-one-group-out.ts';
import { RIDGE_ALPHA } from './ridge.ts';
import { selectBursts, type Selection } from './select-bursts.ts';
import { assignSessions } from './sessions.ts';
import type { Steps } from './steps.ts';
import type { LabelledBurst } from './types.ts';
import { calibrateView, solutionsOf, type ViewCalibration } from './view-calibration.ts';
import { buildViewReference, type ViewReference } from './view/check-view.ts';
import { groupByView, newestViews, type ViewGroup } from './view/group-by-view.ts';

/** Increase this when the same labels give another fit, so that a stored fit of an earlier agent is not used. */
const RECIPE = 2;
const HEX_CHARS = 64;

export interface FitOptions {
  /** Identifies the model that made the embeddings. */
  readonly embeddingDigest: string;
  readonly sessionHours: number;
}

export interface LabelledView extends ViewGroup {
  /** What the calibration was fitted to. */
  readonly samples: readonly TrainingSample[];
  readonly calibration: ViewCalibration;
}

/** Everything that is fitted to the labels of one camera; immutable. */
export interface SiteFit {
  /** All labelled views; the view with the newest label comes first. */
  readonly groups: readonly LabelledView[];
  readonly selection: Selection;
  /** Digest of all that the fit depends on: labels, embeddings, views, model and recipe. */
  readonly digest: string;
}

/**
 * Fits all labels. Returns `former` if it is up to date; otherwise uses it to group the labels by view, and for the views
 * whose labels are still the same.
 */
export function* fitSite(
  labelled: readonly LabelledBurst[],
  options: FitOptions,
  former: SiteFit | null = null,
): Steps<SiteFit> {
  const selection = selectBursts(labelled);
  const { bursts } = selection;
  const digest = yield* digestOf(bursts, options);
  if (digest === former?.digest) return former;
  const groups = yield* groupByView(bursts, former?.groups);
  const sessionOf = assignSessions(bursts, options.sessionHours);
  const views: LabelledView[] = [];
  for (const group of groups) {
    const samples = trainingSamples(group.bursts, sessionOf);
    const same = former?.groups.find((view) => isEqual(view.samples, samples));
    views.push({ ...group, samples, calibration: same?.calibration ?? (yield* calibrateView(samples)) });
  }
  return { groups: views, selection, digest };
}

/** A fit as text, from which `restoreSite` makes it again without solving an equation. Less than half a megabyte. */
export function storeSite({ groups, selection, digest }: SiteFit): string {
  const positions = new Map(selection.bursts.map(({ label }, index) => [label.observationId, index]));
  const positionOf = (id: string): number => positions.get(id) ?? -1;
  const body: StoredFit = {
    digest,
    ids: selection.bursts.map(({ label }) => label.observationId),
    views: groups.map(({ bursts, reference, calibration }) => ({
      bursts: bursts.map(({ label }) => positionOf(label.observationId)),
      ownScore: reference?.ownScore ?? null,
      solutions: solutionsOf(calibration).map(encodeNumbers),
    })),
  };
  const json = JSON.stringify(body);
  return `${sha256(json)}${json}`;
}

/** The body of a stored fit. Bursts are given by their position in `ids`. */
interface StoredFit {
  readonly digest: string;
  readonly ids: readonly string[];
  readonly views: readonly {
    readonly bursts: readonly number[];
    readonly ownScore: number | null;
    /** See `solutionsOf`; float64, little-endian, base64. */
    readonly solutions: readonly string[];
  }[];
}

/**
 * The stored fit; null if it is damaged, or if a label that it used was changed or removed since. Labels that came later
 * are not in it, so the caller must still call `fitSite` if `isCurrent` is false.
 */
export function* restoreSite(
  text: string,
  labelled: readonly LabelledBurst[],
  options: FitOptions,
): Steps<{ readonly fit: SiteFit; readonly isCurrent: boolean } | null> {
  const json = text.slice(HEX_CHARS);
  if (sha256(json) !== text.slice(0, HEX_CHARS)) return null;
  const stored = JSON.parse(json) as StoredFit;
  const selection = selectBursts(labelled);
  const present = new Map(labelled.map((burst) => [burst.label.observationId, burst]));
  const bursts = stored.ids.flatMap((id) => present.get(id) ?? []);
  if ((yield* digestOf(bursts, options)) !== stored.digest) return null;
  const sessionOf = assignSessions(bursts, options.sessionHours);
  const groups: LabelledView[] = [];
  for (const view of stored.views) {
    const members = view.bursts.flatMap((position) => bursts[position] ?? []);
    const reference: ViewReference | null = yield* buildViewReference(newestViews(members), false);
    const solutions = view.solutions.map(decodeNumbers);
    const samples = trainingSamples(members, sessionOf);
    const calibration = yield* calibrateView(samples, solutions);
    groups.push({
      bursts: members,
      reference: reference && { ...reference, ownScore: view.ownScore },
      samples,
      calibration,
    });
  }
  const isCurrent =
    bursts.length === selection.bursts.length &&
    bursts.every((burst, index) => burst === selection.bursts[index]);
  return {
    fit: {
      groups,
      selection: isCurrent ? selection : { bursts, ignored: [], tooOld: 0 },
      digest: stored.digest,
    },
    isCurrent,
  };
}

const trainingSamples = (bursts: readonly LabelledBurst[], sessionOf: ReadonlyMap<string, string>) =>
  bursts.map(({ embedding, label }) => ({
    embedding,
    heightM: label.heightM,
    group: sessionOf.get(label.observationId) ?? label.group,
  }));

const isEqual = (a: readonly TrainingSample[], b: readonly TrainingSample[]): boolean =>
  a.length === b.length &&
  a.every((one, index) => {
    const other = b[index];
    return (
      other?.heightM === one.heightM &&
      other.group === one.group &&
      Buffer.compare(asBytes(other.embedding), asBytes(one.embedding)) === 0
    );
  });

const asBytes = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

function* digestOf(bursts: readonly LabelledBurst[], options: FitOptions): Steps<string> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([RECIPE, RIDGE_ALPHA, options.embeddingDigest, options.sessionHours]));
  for (const [index, { label, embedding, view, capturedAtMs }] of bursts.entries()) {
    hash.update(JSON.stringify([label, capturedAtMs]));
    hash.update(JSON.stringify([embedding.length, view?.width ?? null, view?.height ?? null]));
    hash.update(embedding);
    if (view) hash.update(view.luma);
    if (index % 32 === 31) yield;
  }
  return hash.digest('hex');
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const encodeNumbers = (values: Float64Array): string =>
  Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');

function decodeNumbers(base64: string): Float64Array {
  const bytes = Buffer.from(base64, 'base64');
  return new Float64Array(new Uint8Array(bytes).buffer, 0, bytes.length >> 3);
}
