import type { ViewSignature } from '../vision/protocol.ts';

/** What the labelled bursts of one view have in common. */
export interface ViewReference {
  readonly views: number;
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
  /** Agreement at the calibrated place, 0..1. */
  readonly score: number;
}

export function buildViewReference(views: readonly ViewSignature[]): ViewReference | null {
  return views.length === 0 ? null : { views: views.length };
}

export function checkView(reference: ViewReference | null, view: ViewSignature | null): ViewCheck {
  return {
    state: reference === null || view === null ? 'unknown' : 'same',
    shiftX01: null,
    shiftY01: null,
    zoom: null,
    score: 0,
  };
}
