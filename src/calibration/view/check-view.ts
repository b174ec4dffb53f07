import type { ViewSignature } from '../../vision/protocol.ts';
import { Fourier, type ComplexGrid } from './fourier.ts';
import { runNow, type Steps } from '../steps.ts';
import { frameField, matchSpectra, newScratch, whiten, type ViewMatch, type Scratch } from './correlation.ts';
import { GRID_HEIGHT, GRID_WIDTH, overlayWeights, sampleGrid } from './edge-field.ts';

/** The static structure that all views of one camera position show. */
export interface ViewReference {
  readonly fourier: Fourier;
  readonly scratch: Scratch;
  /** Whitened spectrum of the sum of the edge fields. In the sum, moving content (waves, people) almost disappears. */
  readonly spectrum: ComplexGrid;
  /** 0 for cells with an overlay, 1 elsewhere; null without overlays. */
  readonly weights: Float64Array | null;
  /** Mean edge strength of its views, 0..1. */
  readonly strength: number;
  /** Lowest score of any of its views compared with the others; null with fewer than `MIN_OWN_SCORE_VIEWS` views. */
  readonly ownScore: number | null;
}

/** Comparison of a frame with the calibrated view. */
export interface ViewCheck {
  /** `unknown` means no evidence for or against a move: the agent continues to publish heights. */
  readonly state: 'same' | 'changed' | 'unknown';
  /** Shift relative to the reference, as a share of width and height; null if no match was found. */
  readonly shiftX01: number | null;
  readonly shiftY01: number | null;
  /** Magnification relative to the reference; null if no match was found. */
  readonly zoom: number | null;
  /** Correlation with the reference without a shift, 0..1; noise gives about 0.03. */
  readonly score: number;
}

// Scores are correlations, 0..1. The limits were set on the frames in the view check table of docs/calibration.md.
/** Magnifications to try if a frame does not match without magnification. */
const ZOOMS = [0.8, 0.84, 0.88, 0.92, 1.08, 1.13, 1.18, 1.24];
/** Smallest score at which the frame shows an unchanged view. Noise, waves and other beaches have lower scores. */
const MIN_SAME_SCORE = 0.1;
/** Smallest score at which a frame counts as shifted or zoomed. */
const MIN_ELSEWHERE_SCORE = 0.11;
/** To decide between two shifts, the higher score must be this many times the lower one. */
const CLEAR_RATIO = 1.3;
/** As `CLEAR_RATIO`, for a small shift: there a single correlation peak covers both shifts. */
const NEIGHBOUR_RATIO = 1.1;
/** Largest shift for which `NEIGHBOUR_RATIO` applies, cells. */
const NEIGHBOUR_X = 7;
const NEIGHBOUR_Y = 4;
/** Smallest number of views for `ownScore`. With 4 views, two of 24 frames of an unchanged view counted as changed. */
const MIN_OWN_SCORE_VIEWS = 6;
/** A frame with clear edges and a score below this share of `ownScore` does not show the static structure. */
const LOST_SHARE = 0.55;
/** A frame with at least this share of the reference's edge strength has clear edges. */
const CLEAR_STRENGTH_SHARE = 0.6;

/** Builds the reference from views of one camera position; null without views. `withOwnScore` computes `ownScore` too. */
export function* buildViewReference(
  views: readonly ViewSignature[],
  withOwnScore: boolean,
): Steps<ViewReference | null> {
  if (views.length === 0) return null;
  const fourier = new Fourier(GRID_WIDTH, GRID_HEIGHT);
  const weights = overlayWeights(views.map((view) => sampleGrid(view, 1)));
  yield;
  const fields: ComplexGrid[] = [];
  let strength = 0;
  for (const view of views) {
    const frame = frameField(view, 1, weights);
    fields.push(frame.field);
    strength += frame.strength / views.length;
    yield;
  }
  const sum = sumFields(fields);
  let ownScore: number | null = null;
  if (withOwnScore && views.length >= MIN_OWN_SCORE_VIEWS)
    for (const field of fields) {
      const others = whiten(fourier, { re: subtract(sum.re, field.re), im: subtract(sum.im, field.im) });
      const { near } = matchSpectra(fourier, others, whiten(fourier, field));
      ownScore = Math.min(ownScore ?? 1, near);
      yield;
    }
  return { fourier, scratch: newScratch(), spectrum: whiten(fourier, sum), weights, strength, ownScore };
}

/** A view that was found for a frame, or null if the frame shows none of the views; then the check is that of the first one. */
export interface FoundView<T> {
  readonly view: T | null;
  readonly check: ViewCheck;
}

/**
 * Finds the view that a frame shows: the one with the best score among those in state `same`, otherwise the first one in
 * state `unknown`. Null without views. Takes about 1 ms for each view, and up to 6 ms more for each view that the frame
 * could show but does not match without a shift or another zoom; in steps of 1 ms. No other check may use these references
 * until it ends: they share buffers.
 */
export function* findViewSteps<T extends { readonly reference: ViewReference | null }>(
  views: readonly T[],
  frame: ViewSignature | null,
): Steps<FoundView<T> | null> {
  const started: StartedCheck<T>[] = [];
  for (const view of views) {
    started.push(startCheck(view, frame));
    yield;
  }
  const possible = started.filter(({ score }) => score >= MIN_SAME_SCORE);
  for (const one of possible.toSorted((a, b) => b.score - a.score)) {
    const check = yield* endCheck(one);
    if (check.state === 'same') return { view: one.view, check };
  }
  for (const one of started) {
    const check = yield* endCheck(one);
    if (check.state === 'unknown') return { view: one.view, check };
  }
  const [first] = started;
  return first === undefined ? null : { view: null, check: yield* endCheck(first) };
}

/** As `findViewSteps`, without pauses. */
export const findView = <T extends { readonly reference: ViewReference | null }>(
  views: readonly T[],
  frame: ViewSignature | null,
): FoundView<T> | null => runNow(findViewSteps(views, frame));

/** Compares a frame with one calibrated view. */
export function checkView(reference: ViewReference | null, view: ViewSignature | null): ViewCheck {
  return runNow(endCheck(startCheck({ reference }, view)));
}

/** A check after the comparison without another zoom. */
interface StartedCheck<T> {
  readonly view: T;
  /** That of the check, whatever its state will be. */
  readonly score: number;
  /** The result; null if other zooms must be tried. */
  check: ViewCheck | null;
  readonly pending: {
    readonly reference: ViewReference;
    readonly frame: ViewSignature;
    readonly match: ViewMatch;
    readonly strength: number;
  } | null;
}

function startCheck<T extends { readonly reference: ViewReference | null }>(
  view: T,
  frame: ViewSignature | null,
): StartedCheck<T> {
  const { reference } = view;
  if (reference === null || frame === null)
    return { view, score: 0, check: { ...UNKNOWN_PLACE, state: 'unknown', score: 0 }, pending: null };
  const { fourier, scratch, spectrum, weights } = reference;
  const { field, strength } = frameField(frame, 1, weights, scratch);
  const match = matchSpectra(fourier, spectrum, whiten(fourier, field), scratch.surface);
  const score = Math.max(0, match.near);
  const isSame =
    match.near >= MIN_SAME_SCORE &&
    match.near >= match.far * CLEAR_RATIO &&
    match.near >= expectedScore(reference);
  const check = isSame ? checkAt('same', score, match.nearX, match.nearY, 1) : null;
  return { view, score, check, pending: { reference, frame, match, strength } };
}

function* endCheck<T>(started: StartedCheck<T>): Steps<ViewCheck> {
  if (started.check === null && started.pending !== null)
    started.check = yield* checkElsewhere(started.score, started.pending);
  return started.check ?? { ...UNKNOWN_PLACE, state: 'unknown', score: started.score };
}

function* checkElsewhere(
  score: number,
  { reference, frame, match, strength }: NonNullable<StartedCheck<unknown>['pending']>,
): Steps<ViewCheck> {
  const elsewhere = yield* searchElsewhere(reference, frame, match);
  const ratio = elsewhere.isNeighbour ? NEIGHBOUR_RATIO : CLEAR_RATIO;
  if (elsewhere.score >= MIN_ELSEWHERE_SCORE && elsewhere.score >= ratio * match.inner)
    return checkAt('changed', score, elsewhere.x, elsewhere.y, elsewhere.zoom);
  const hasClearEdges = strength >= CLEAR_STRENGTH_SHARE * reference.strength;
  if (reference.ownScore !== null && match.near < LOST_SHARE * reference.ownScore && hasClearEdges)
    return { ...UNKNOWN_PLACE, state: 'changed', score };
  if (match.near >= MIN_SAME_SCORE && match.near >= elsewhere.score)
    return checkAt('same', score, match.nearX, match.nearY, 1);
  return { ...UNKNOWN_PLACE, state: 'unknown', score };
}

const UNKNOWN_PLACE = { shiftX01: null, shiftY01: null, zoom: null };

/** A frame with this score or a higher one need not be compared at other zooms. */
const expectedScore = (reference: ViewReference): number => reference.ownScore ?? 2 * MIN_SAME_SCORE;

/** The best match with another shift or magnification; the shift is in cells. */
interface Elsewhere {
  readonly score: number;
  readonly x: number;
  readonly y: number;
  readonly zoom: number;
  readonly isNeighbour: boolean;
}

function* searchElsewhere(
  reference: ViewReference,
  view: ViewSignature,
  { far, farX, farY }: ViewMatch,
): Steps<Elsewhere> {
  const { fourier, scratch, spectrum, weights } = reference;
  let best: Elsewhere = {
    score: far,
    x: farX,
    y: farY,
    zoom: 1,
    isNeighbour: Math.abs(farX) <= NEIGHBOUR_X && Math.abs(farY) <= NEIGHBOUR_Y,
  };
  for (const zoom of ZOOMS) {
    yield;
    const { field } = frameField(view, zoom, weights, scratch);
    const match = matchSpectra(fourier, spectrum, whiten(fourier, field), scratch.surface);
    const isNear = match.near >= match.far;
    const score = isNear ? match.near : match.far;
    if (score <= best.score) continue;
    const [x, y] = isNear ? [match.nearX, match.nearY] : [match.farX, match.farY];
    best = { score, x, y, zoom, isNeighbour: false };
  }
  return best;
}

function checkAt(state: 'same' | 'changed', score: number, x: number, y: number, zoom: number): ViewCheck {
  return { state, shiftX01: x / GRID_WIDTH, shiftY01: y / GRID_HEIGHT, zoom, score };
}

function sumFields(fields: readonly ComplexGrid[]): ComplexGrid {
  const re = new Float64Array(GRID_WIDTH * GRID_HEIGHT);
  const im = new Float64Array(GRID_WIDTH * GRID_HEIGHT);
  for (const field of fields)
    for (let i = 0; i < re.length; i += 1) {
      re[i] = (re[i] ?? 0) + (field.re[i] ?? 0);
      im[i] = (im[i] ?? 0) + (field.im[i] ?? 0);
    }
  return { re, im };
}

const subtract = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value - (b[i] ?? 0));
