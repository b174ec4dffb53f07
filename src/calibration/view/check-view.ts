import type { ViewSignature } from '../../vision/protocol.ts';
import { Fourier, type ComplexGrid } from './fourier.ts';
import { runNow, type Steps } from '../steps.ts';
import { frameField, matchSpectra, newScratch, whiten, type Match, type Scratch } from './correlation.ts';
import { drawnMask, GRID_HEIGHT, GRID_WIDTH, sampleGrid } from './edge-field.ts';

/** The static structure that the views of one place have in common. */
export interface ViewReference {
  readonly fourier: Fourier;
  readonly scratch: Scratch;
  /** Of the summed edge fields: what moves is averaged away. */
  readonly spectrum: ComplexGrid;
  /** Cells that are drawn into the picture by the camera; null when none were found. */
  readonly drawn: Float64Array | null;
  /** Mean strength of edges in its views, 0..1. */
  readonly strength: number;
  /** Lowest agreement of one of its views with the others; null with fewer than `JUDGED_VIEWS`. */
  readonly ownScore: number | null;
}

/** Where a frame's static structure lies against the calibrated view's. */
export interface ViewCheck {
  /** `unknown` is no evidence either way: it suspends nothing. */
  readonly state: 'same' | 'changed' | 'unknown';
  /** Shift of the picture against the reference, share of its width and height; null when none was found. */
  readonly shiftX01: number | null;
  readonly shiftY01: number | null;
  /** Magnification against the reference; null when none was found. */
  readonly zoom: number | null;
  /** Agreement at the calibrated place, 0..1; noise alone gives about 0.03. */
  readonly score: number;
}

/** Magnifications tried when a frame does not agree at 1; between them a twelfth of a step still agrees. */
const ZOOMS = [0.8, 0.84, 0.88, 0.92, 1.08, 1.13, 1.18, 1.24];
/** Agreement that noise, waves and other beaches do not reach: docs/calibration.md has the table. */
const SAME_SCORE = 0.1;
const FOUND_SCORE = 0.11;
/** Structure found elsewhere must agree this much better than at the calibrated place. */
const CLEARLY = 1.3;
/** The same for a neighbouring place, where one peak covers both. */
const SLIGHTLY = 1.1;
const NEIGHBOUR_X = 7;
const NEIGHBOUR_Y = 4;
/** Views from which the reference knows how well its own views agree with it. */
const JUDGED_VIEWS = 6;
/** Below this share of its own views' lowest agreement, with plenty of edges in the frame, the structure is gone. */
const LOST = 0.55;
const CLEAR_STRENGTH = 0.6;

/** The reference of one or more views of one place; null without views. With `judge` it learns its own agreement. */
export function* buildViewReference(
  views: readonly ViewSignature[],
  judge: boolean,
): Steps<ViewReference | null> {
  if (views.length === 0) return null;
  const fourier = new Fourier(GRID_WIDTH, GRID_HEIGHT);
  const drawn = drawnMask(views.map((view) => sampleGrid(view, 1)));
  yield;
  const fields: ComplexGrid[] = [];
  let strength = 0;
  for (const view of views) {
    const frame = frameField(view, 1, drawn);
    fields.push(frame.field);
    strength += frame.strength / views.length;
    yield;
  }
  const sum = sumOf(fields);
  let ownScore: number | null = null;
  if (judge && views.length >= JUDGED_VIEWS)
    for (const field of fields) {
      const others = whiten(fourier, { re: minus(sum.re, field.re), im: minus(sum.im, field.im) });
      const { near } = matchSpectra(fourier, others, whiten(fourier, field));
      ownScore = Math.min(ownScore ?? 1, near);
      yield;
    }
  return { fourier, scratch: newScratch(), spectrum: whiten(fourier, sum), drawn, strength, ownScore };
}

/** Compares a frame with the calibrated view: about 2 ms, and ten times that when it must look for other zooms. */
export function checkView(reference: ViewReference | null, view: ViewSignature | null): ViewCheck {
  return runNow(checkViewSteps(reference, view));
}

/** The same in pieces of about 2 ms. Nothing else may compare with this reference in between. */
export function* checkViewSteps(
  reference: ViewReference | null,
  view: ViewSignature | null,
): Steps<ViewCheck> {
  if (reference === null || view === null)
    return { state: 'unknown', shiftX01: null, shiftY01: null, zoom: null, score: 0 };
  const { fourier, scratch, spectrum, drawn } = reference;
  const frame = frameField(view, 1, drawn, scratch);
  const match = matchSpectra(fourier, spectrum, whiten(fourier, frame.field), scratch.surface);
  const score = Math.max(0, match.near);
  if (match.near >= SAME_SCORE && match.near >= match.far * CLEARLY && match.near >= expected(reference))
    return found('same', score, match.nearX, match.nearY, 1);

  const elsewhere = yield* lookElsewhere(reference, view, match);
  const needed = elsewhere.neighbour ? SLIGHTLY : CLEARLY;
  if (elsewhere.score >= FOUND_SCORE && elsewhere.score >= needed * match.inner)
    return found('changed', score, elsewhere.x, elsewhere.y, elsewhere.zoom);
  const clear = frame.strength >= CLEAR_STRENGTH * reference.strength;
  if (reference.ownScore !== null && match.near < LOST * reference.ownScore && clear)
    return { state: 'changed', shiftX01: null, shiftY01: null, zoom: null, score };
  if (match.near >= SAME_SCORE && match.near >= elsewhere.score)
    return found('same', score, match.nearX, match.nearY, 1);
  return { state: 'unknown', shiftX01: null, shiftY01: null, zoom: null, score };
}

/** Agreement above which a frame need not be compared at other zooms. */
const expected = (reference: ViewReference): number => reference.ownScore ?? 2 * SAME_SCORE;

interface Elsewhere {
  readonly score: number;
  readonly x: number;
  readonly y: number;
  readonly zoom: number;
  readonly neighbour: boolean;
}

function* lookElsewhere(
  reference: ViewReference,
  view: ViewSignature,
  { far, farX, farY }: Match,
): Steps<Elsewhere> {
  const { fourier, scratch, spectrum, drawn } = reference;
  let best: Elsewhere = {
    score: far,
    x: farX,
    y: farY,
    zoom: 1,
    neighbour: Math.abs(farX) <= NEIGHBOUR_X && Math.abs(farY) <= NEIGHBOUR_Y,
  };
  for (const zoom of ZOOMS) {
    yield;
    const { field } = frameField(view, zoom, drawn, scratch);
    const match = matchSpectra(fourier, spectrum, whiten(fourier, field), scratch.surface);
    const near = match.near >= match.far;
    const score = near ? match.near : match.far;
    if (score <= best.score) continue;
    const [x, y] = near ? [match.nearX, match.nearY] : [match.farX, match.farY];
    best = { score, x, y, zoom, neighbour: false };
  }
  return best;
}

function found(state: 'same' | 'changed', score: number, x: number, y: number, zoom: number): ViewCheck {
  return { state, shiftX01: x / GRID_WIDTH, shiftY01: y / GRID_HEIGHT, zoom, score };
}

function sumOf(fields: readonly ComplexGrid[]): ComplexGrid {
  const re = new Float64Array(GRID_WIDTH * GRID_HEIGHT);
  const im = new Float64Array(GRID_WIDTH * GRID_HEIGHT);
  for (const field of fields)
    for (let i = 0; i < re.length; i += 1) {
      re[i] = (re[i] ?? 0) + (field.re[i] ?? 0);
      im[i] = (im[i] ?? 0) + (field.im[i] ?? 0);
    }
  return { re, im };
}

const minus = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value - (b[i] ?? 0));
