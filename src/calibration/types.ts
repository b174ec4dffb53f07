import type { CalibrationSummary } from '../contract/observation.ts';
import type { ViewSignature } from '../vision/protocol.ts';

/** One person's reading of one burst. */
export interface Label {
  readonly observationId: string;
  readonly camera: string;
  readonly heightM: number;
  readonly observer: string | null;
  readonly note: string | null;
  readonly createdAtMs: number;
  /** Labels of one group never stand on both sides of a validation split: the same clip, the same session. */
  readonly group: string;
}

/** A label with what the model saw: all that a fit needs. */
export interface LabelledBurst {
  readonly label: Label;
  /** Mean of the burst's embeddings. */
  readonly embedding: Float32Array;
  readonly view: ViewSignature | null;
}

/** The answer of a site calibration for one burst. */
export interface HeightEstimate {
  readonly heightM: number | null;
  readonly lowM: number | null;
  readonly highM: number | null;
  /** Nominal coverage of the interval, 0..1. */
  readonly coverage: number | null;
  readonly basis: 'site_calibrated' | 'site_median' | null;
  /** Set when the height is null. */
  readonly reason: 'uncalibrated' | 'view_changed' | null;
  readonly summary: CalibrationSummary;
}
